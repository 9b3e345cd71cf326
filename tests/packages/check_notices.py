#!/usr/bin/env python3
"""Judges the licence notices of a package: that what framehost's Cargo.toml takes is named, that no text comes twice, and
that a crate of which nothing is known keeps packages from being made, by name.

Usage: check_notices.py THIRD-PARTY-NOTICES
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


def check_crates(notices):
    direct = tomllib.loads((REPO / "Cargo.toml").read_text())["dependencies"]
    wanted = {name for name, how in direct.items() if isinstance(how, str) or not how.keys() & {"optional", "path"}}
    # Of the package's features.
    wanted |= {"nokhwa", "openh264", "v4l", "wayland-client", "x11rb"}
    named = set(re.findall(r"^ *([\w-]+) \d+\.\d+\.\d+", notices, re.MULTILINE))
    assert wanted <= named, wanted - named
    assert not named & {"framehost", "framehost-client", "proptest", "tempfile", "windows-registry"}, "what is not in the build"
    texts = re.findall(r"^-{80}\n\n(.*?)\n(?=\n={80}|\Z)", notices, re.MULTILINE | re.DOTALL)
    assert len(texts) == len(set(texts)) == notices.count("=" * 80 + "\n"), "texts come twice"
    cisco = re.search(r"^openh264-sys2 [\d.]+, upstream\n-{80}\n\n(.*?)\n={80}", notices, re.MULTILINE | re.DOTALL)
    assert "Cisco Systems" in cisco[1] and "Redistributions in binary form" in cisco[1], cisco
    print(f"{len(named)} crates, {len(texts)} texts")


def crate(root, name, more=""):
    (root / "src").mkdir(parents=True)
    (root / "src/lib.rs").touch()
    (root / "Cargo.toml").write_text(f'[package]\nname = "{name}"\nversion = "1.2.3"\nedition = "2021"\n{more}')


def check_unknown():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        takes = "".join(f'{name} = {{ path = "../{name}" }}\n' for name in ("nameless", "named", "written"))
        crate(root / "own", "own", f"[dependencies]\n{takes}[workspace]\n")
        crate(root / "nameless", "nameless")
        crate(root / "named", "named", 'license = "Zlib"\nauthors = ["A Person <a@example.org>"]\n')
        crate(root / "written", "written")
        (root / "written/COPYING.txt").write_text("Do what you like.\r\n")
        manifest = ["--manifest-path", str(root / "own/Cargo.toml")]
        subprocess.run(["cargo", "generate-lockfile", "--offline", *manifest], check=True, capture_output=True)

        def notices():
            return subprocess.run([REPO / "installer/notices.py", *manifest], capture_output=True, text=True)

        refused = notices()
        assert refused.returncode == 1 and refused.stdout == "", refused
        assert "nameless 1.2.3" in refused.stderr and "named 1.2.3," not in refused.stderr, refused
        (root / "nameless/LICENSE").write_text("Do what you like.\n")
        made = notices()
        assert made.returncode == 0, made
        assert "\n  named 1.2.3 (Zlib): A Person\n" in made.stdout, made
        assert "\nnameless 1.2.3\nwritten 1.2.3\n" in made.stdout, made
    print("a crate of which nothing is known is named")


if __name__ == "__main__":
    check_crates(Path(sys.argv[1]).read_text(encoding="utf-8"))
    check_unknown()
