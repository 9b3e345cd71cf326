"""Takes pictures of the first monitor by mss and turns them to the bytes of RGB by numpy, one for each line on standard
input, and answers each with a line: the milliseconds that it took, and the sum of its red, green and blue.

The slice is the fastest of what numpy offers for this: picking the channels by a list, `numpy.take` and a copy of each
channel take longer, and so does mss' own `ScreenShot.rgb`.
"""

import sys
import time

import mss
import numpy as np

with mss.MSS() as screen:
    monitor = screen.monitors[1]
    for _ in sys.stdin:
        began = time.perf_counter()
        shot = screen.grab(monitor)
        rgb = np.asarray(shot)[:, :, 2::-1].tobytes()
        elapsed_ms = (time.perf_counter() - began) * 1000
        print(elapsed_ms, int(np.frombuffer(rgb, np.uint8).sum()), flush=True)
