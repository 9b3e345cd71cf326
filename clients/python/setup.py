"""The part of building the wheel that pyproject.toml cannot say: the contract's descriptor is made anew each time."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent))
import generate  # noqa: E402


class Build(build_py):
    def run(self):
        # A source distribution carries what was made when it was packed, and no contract.
        if generate.PROTO.exists():
            generate.generate()
        super().run()


setup(cmdclass={"build_py": Build})
