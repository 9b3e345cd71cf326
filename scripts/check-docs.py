#!/usr/bin/env python3
"""Checks what compilers do not: links in the documents, paths of one machine, the contract's layout, JSON files.

Usage: scripts/check-docs.py [DIRECTORY]. Exit code 1 if anything was found.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

MAX_LINE = 120
# A link or picture: [text](target), and [text]: target. Not those in code.
LINK = re.compile(r"(?<!\\)\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*<?([^()\s>]+(?:\([^()]*\))?)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\[[^\]^]+\]:\s+<?(\S+?)>?(?:\s|$)", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
# Where somebody's work tree or home is: true on one machine only. Written so that it does not match itself.
MACHINE = re.compile(r"(?<![\w.~$}])(?:/wor[k]/|/roo[t]/|/User[s]/|/home/(?!ü|u/|user/|runner/)\w+/)")
TEXT = {".md", ".rs", ".toml", ".py", ".sh", ".js", ".mjs", ".html", ".css", ".json", ".proto", ".txt", ".ini", ""}


def tracked(root):
    """The files that git knows or would add; without git, all that are not in a folder of built things."""
    try:
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True, check=True,
        ).stdout  # fmt: skip
        names = [name for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        skipped = {"target", "node_modules", ".venv", ".git"}
        names = [str(path.relative_to(root)) for path in root.rglob("*") if not skipped & set(path.parts)]
    return sorted(path for name in names if (path := root / name).is_file())


def anchors(text):
    """The anchors of a document's headings, as GitHub makes them."""
    found, counts = set(), {}
    for heading in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = counts.get(slug, 0)
        counts[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


def check_links(path, text):
    prose = CODE.sub("", FENCE.sub("", text))
    for target in LINK.findall(prose) + REFERENCE.findall(prose):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        if not file.exists():
            yield f"the link to {target} leads nowhere"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield f"the link to {target}: {file.name} has no such heading"


def check_machine(text):
    for number, line in enumerate(text.splitlines(), 1):
        if match := MACHINE.search(line):
            yield f"line {number} names a path of one machine: {match.group()}"


def check_proto(text):
    for number, line in enumerate(text.splitlines(), 1):
        indent = len(line) - len(line.lstrip(" "))
        if line != line.rstrip() or "\t" in line or indent % 2 or len(line) > MAX_LINE:
            yield f"line {number}: two spaces a level, no tabs, nothing at the end, at most {MAX_LINE} characters"
    if not text.endswith("}\n"):
        yield "it does not end with a line break"


def check_json(text):
    try:
        json.loads(text)
    except ValueError as error:
        yield f"not JSON: {error}"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
    files = tracked(root)
    found = []
    for path in files:
        if path.suffix not in TEXT or path.name.endswith(".lock"):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        problems = list(check_machine(text))
        if path.suffix == ".md":
            problems += check_links(path, text)
        if path.suffix == ".proto":
            problems += check_proto(text)
        if path.suffix == ".json":
            problems += check_json(text)
        found += [f"{path.relative_to(root)}: {problem}" for problem in problems]
    print("\n".join(found) or f"documents: {len(files)} files, nothing to complain about")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
