"""Paints a picture on an X server's root window: paint.py DISPLAY PICTURE."""

import sys

import Xlib.display
from PIL import Image

display = Xlib.display.Display(sys.argv[1])
root = display.screen().root
root.put_pil_image(root.create_gc(), 0, 0, Image.open(sys.argv[2]))
display.sync()
display.close()
