"""Reads a video file by OpenCV, every picture to the bytes of RGB, once for each path on standard input, and answers
each with a line: the pictures, and the seconds from opening the file to the last one's bytes.
"""

import sys
import time

import cv2

for line in sys.stdin:
    began = time.perf_counter()
    video = cv2.VideoCapture(line.rstrip("\n"))
    count = 0
    while True:
        more, picture = video.read()
        if not more:
            break
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).tobytes()
        count += 1
    video.release()
    print(count, time.perf_counter() - began, flush=True)
