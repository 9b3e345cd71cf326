#!/usr/bin/env python3
"""Checks what compilers do not: links in the documents, paths of one machine, the contract's layout, JSON files.

Usage: scripts/check-docs.py [DIRECTORY]. Exit code 1 if anything was found.
       scripts/check-docs.py --write-browsers: writes the table of docs/install.md anew from manifests/browsers.json.
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


def browsers_table(root):
    """The table of docs/install.md: a row for each of manifests/browsers.json."""
    home = {"config_home": "~/.config/", "data_home": "~/.local/share/", "home": "~/", "root": "/",
            "application_support": "~/Library/Application Support/"}  # fmt: skip

    def cell(places):
        shown = []
        for place in places:
            path = place["key"] if "key" in place else home[place["base"]] + place["manifests"]
            notes = "" if place["verified"] else " ✱"
            shown.append(f"`{path}`{notes}{' (where it is there)' if place.get('optional') else ''}")
        return "<br>".join(shown) or "–"

    head = ["Browser", "`--browser`", "Linux, user", "Linux, system", "macOS, user", "macOS, system", "Windows"]
    lines = [" | ".join(head), "|".join("---" for _ in head)]
    for row in json.loads((root / "manifests/browsers.json").read_text(encoding="utf-8"))["browsers"]:
        places = [row[system][scope] for system in ("linux", "macos") for scope in ("user", "system")]
        cells = [row["name"], f"`{row['id']}`", *map(cell, [*places, row["windows"]])]
        lines.append(" | ".join(cells))
    return "".join(f"| {line} |\n" for line in lines)


def install_page(root):
    """docs/install.md as it is, and with the table as it has to be."""
    path = root / "docs/install.md"
    text = path.read_text(encoding="utf-8")
    begin, end = "<!-- browsers: written by scripts/check-docs.py -->\n", "<!-- end of browsers -->\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return path, text, f"{before}{begin}\n{browsers_table(root)}\n{end}{after}"


def check_browsers(root):
    if not (root / "manifests/browsers.json").exists():
        return
    _, text, wanted = install_page(root)
    if text != wanted:
        yield "docs/install.md: its table is not that of manifests/browsers.json: scripts/check-docs.py --write-browsers"


def main():
    if sys.argv[1:] == ["--write-browsers"]:
        path, _, wanted = install_page(Path(__file__).parents[1].resolve())
        path.write_text(wanted, encoding="utf-8")
        return
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
    found += check_browsers(root)
    print("\n".join(found) or f"documents: {len(files)} files, nothing to complain about")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
