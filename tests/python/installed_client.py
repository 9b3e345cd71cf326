"""The Python client as its users have it: wheels, built and installed into an environment of its own."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


def build(into):
    """Builds both wheels from a copy of the sources, so that nothing is written into them; answers with their paths."""
    made = shutil.ignore_patterns("build", "*.egg-info", "*.pyi", "*.binpb")
    shutil.copytree(REPO / "clients/python", into / "clients/python", ignore=made)
    shutil.copytree(REPO / "proto", into / "proto")
    wheels = into / "wheels"
    sources = [into / "clients/python", into / "clients/python/core"]
    pip = [sys.executable, "-m", "pip", "-q", "wheel", "--no-build-isolation", "--no-deps", "--no-index"]
    run([*pip, "-w", wheels, *sources])
    return sorted(wheels.glob("*.whl"))


def run(command, **options):
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL, **options
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


class InstalledClient:
    """A virtual environment with the wheels, and with the packages of the one that runs the tests."""

    def __init__(self, folder, wheels):
        self.python = folder / "bin/python"
        run([sys.executable, "-m", "venv", "--without-pip", folder])
        self.packages = Path(run([self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
        (self.packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [sys.executable, "-m", "pip", "-q", "--python", self.python]
        run([*pip, "install", "--no-deps", "--no-index", *wheels])

    def run(self, code, *arguments, env, cwd=None):
        """Runs code in a process of its own; answers with what it printed last, as JSON."""
        output = run([self.python, "-B", "-c", code, *arguments], env=env, cwd=cwd)
        return json.loads(output.splitlines()[-1])
