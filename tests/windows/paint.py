"""Paints the pattern of tests/elsewhere.rs on an X server's root window: paint.py DISPLAY."""

import sys

import numpy as np
import Xlib.display
from PIL import Image

display = Xlib.display.Display(sys.argv[1])
screen = display.screen()
y, x = np.mgrid[0 : screen.height_in_pixels, 0 : screen.width_in_pixels]
pixels = np.stack([x % 256, y % 256, (x * 3 + y * 7) % 256], -1).astype(np.uint8)
screen.root.put_pil_image(screen.root.create_gc(), 0, 0, Image.fromarray(pixels))
display.sync()
display.close()
