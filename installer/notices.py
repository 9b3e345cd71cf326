#!/usr/bin/env python3
"""Writes the licence texts of what is compiled into framehost's programs beside its own code: of every crate that cargo
says is in the build, and of the C and C++ that crates carry (openh264, ring). Equal texts come once, under the names of
all whose they are. The same Cargo.lock brings the same text.

Usage: installer/notices.py [--target TRIPLE] [--features LIST] [--no-default-features] [--manifest-path FILE]

Exit code 1, and the crates' names, where one has neither a licence text nor a licence in its Cargo.toml.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
TEXT_NAME = re.compile(r"(licen[cs]e|unlicen[cs]e|copying|copyright|notice|patents)([-._].*)?", re.IGNORECASE)
# Licences of what is only used to test a crate, and sources that are named for what they are about.
NOT_IN_THE_PROGRAM = {"tests", "test", "testdata", "examples", "benches", "fuzz", "ci", ".github", "target"}
SOURCES = {".rs", ".c", ".cc", ".cpp", ".h", ".go", ".py", ".sh", ".toml", ".json", ".yml", ".yaml", ".svg", ".png"}

HEAD = """\
framehost is under the MIT licence or the Apache licence 2.0, as you like. Its programs contain what is named here, by
other people, under the licences below: of each, what it brings along itself. "OR" leaves the choice to you.
"""
RUST = """\
They contain parts of Rust's standard library, too, which is The Rust Project's, under the MIT licence or the Apache
licence 2.0; the text of the latter is below.
"""
WITHOUT = """\
These bring no text along, but name their licence, and their authors where they name them. The texts of these licences
are below, as others have them.
"""


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", help="the platform's name in Rust [default: this one]")
    parser.add_argument("--features", default="", help="as the programs were built")
    parser.add_argument("--no-default-features", action="store_true")
    parser.add_argument("--manifest-path", type=Path, default=REPO / "Cargo.toml")
    return parser.parse_args()


def cargo(command, asked, *more):
    features = ["--features", asked.features] * bool(asked.features)
    features += ["--no-default-features"] * asked.no_default_features
    call = [os.environ.get("CARGO", "cargo"), command, "--locked", "--manifest-path", str(asked.manifest_path)]
    done = subprocess.run([*call, *features, *more], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"notices.py: cargo {command} failed")
    return done.stdout


def in_the_build(asked):
    """Name and version of every crate that is linked into the programs, or has written code for them."""
    target = ["--target", asked.target] if asked.target else []
    tree = cargo("tree", asked, "--edges", "normal", "--prefix", "none", "--no-dedupe", "--format", "{p}", *target)
    return {tuple(line.split(" ")[:2]) for line in tree.splitlines() if line}


def crates(asked):
    """What cargo knows of each of them, but for this project's own."""
    wanted = in_the_build(asked)
    known = json.loads(cargo("metadata", asked, "--format-version", "1"))
    own = set(known["workspace_members"])
    found = [one for one in known["packages"] if one["id"] not in own and (one["name"], f"v{one['version']}") in wanted]
    return sorted(found, key=lambda one: (one["name"], one["version"]))


def texts(crate):
    """Path in the crate, and text, of each of its licences."""
    root = Path(crate["manifest_path"]).parent
    paths = {root / crate["license_file"]} if crate["license_file"] else set()
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name.lower() not in NOT_IN_THE_PROGRAM]
        paths |= {Path(folder, name) for name in files if TEXT_NAME.fullmatch(name) and Path(name).suffix not in SOURCES}
    for path in sorted(path for path in paths if path.is_file()):
        text = path.read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\f", "\n")
        text = "\n".join(line.rstrip() for line in text.expandtabs().split("\n")).strip("\n")
        if text:
            yield path.relative_to(root), text


def main():
    asked = arguments()
    groups, without, unknown, counted = defaultdict(list), [], [], 0
    for crate in crates(asked):
        counted += 1
        name = f"{crate['name']} {crate['version']}"
        licence = f" ({crate['license']})" if crate["license"] else ""
        found = list(texts(crate))
        for path, text in found:
            # A text deeper down is somebody else's, whose code the crate carries.
            carried = f", {path.parent.as_posix()}" if len(path.parts) > 1 else licence
            if (entry := name + carried) not in groups[text]:
                groups[text].append(entry)
        if not found and crate["license"]:
            authors = ", ".join(re.sub(r" *<.*?>", "", author) for author in crate["authors"])
            without.append(f"{name}{licence}{': ' * bool(authors)}{authors}")
        elif not found:
            unknown.append(name)
    if unknown:
        sys.exit(f"notices.py: neither a licence text nor a licence in Cargo.toml: {', '.join(unknown)}")
    if not counted:
        sys.exit("notices.py: cargo names no crate in the build")

    parts = [HEAD, RUST]
    if without:
        parts.append(WITHOUT + "\n" + "\n".join(f"  {line}" for line in without) + "\n")
    general = [("The Apache licence 2.0", "LICENSE-APACHE"), ("The MIT licence, as framehost's own", "LICENSE-MIT")]
    entries = [([title], (REPO / name).read_text(encoding="utf-8").strip("\n")) for title, name in general]
    entries += sorted(((names, text) for text, names in groups.items()), key=lambda one: (one[0][0], one[1]))
    for names, text in entries:
        parts.append("=" * 80 + "\n" + "\n".join(names) + "\n" + "-" * 80 + "\n\n" + text + "\n")
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    print("\n".join(parts), end="")


if __name__ == "__main__":
    main()
