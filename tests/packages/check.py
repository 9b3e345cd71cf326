#!/usr/bin/env python3
"""Judges what guest.sh has brought: which manifests there were and what is in them, what the doctor found, what the
relay answered.

Usage: check.py RESULTS EXTENSION_ID
"""

import json
import re
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
NAME = "com.framehost.host.json"
RELAY = "/usr/bin/framehost-relay"
FIREFOX_ID = "framehost@example.org"
# What a fresh Debian lacks, and nobody has promised: video files, a camera, a display.
LACKING = {"ffmpeg", "camera", "screen", "portal"}


def expected_manifests():
    """Every place of the whole machine that the table knows, but those that are only written where they are."""
    rows = json.loads((REPO / "manifests/browsers.json").read_text())["browsers"]
    places = {}
    for row in rows:
        for cell in row.get("linux", {}).get("system", []):
            if not cell.get("optional"):
                places[f"/{cell['manifests']}/{NAME}"] = row["family"]
    return places


def check_manifests(results, extension_id):
    places = expected_manifests()
    found = (results / "list").read_text().split()
    assert found == sorted(places), (found, sorted(places))
    for path, family in places.items():
        manifest = json.loads((results / path.lstrip("/")).read_text())
        lists = {"chromium": ("allowed_origins", f"chrome-extension://{extension_id}/"),
                 "firefox": ("allowed_extensions", FIREFOX_ID)}  # fmt: skip
        member, entry = lists[family]
        wanted = {"name": "com.framehost.host", "type": "stdio", "path": RELAY, member: [entry]}
        assert {key: manifest[key] for key in wanted} == wanted, (path, manifest)
        assert set(manifest) == {*wanted, "description"}, (path, manifest)
    modes = dict(line.split(" ")[:1] + [line.split(" ")[1:4]] for line in (results / "registered").read_text().splitlines())
    for path in places:
        assert modes[path] == ["f", "644", "root:root"], (path, modes[path])
        folder = str(Path(path).parent)
        assert modes[folder] == ["d", "755", "root:root"], (folder, modes[folder])
    print(f"{len(places)} manifests are where browsers look, and name {RELAY}")


def check_doctor(results, what, errors):
    report = json.loads((results / f"doctor-{what}.json").read_text())
    code = int((results / f"doctor-{what}.code").read_text())
    of = lambda level: sorted(finding["check"] for finding in report["findings"] if finding["level"] == level)
    assert of("error") == errors, (what, report)
    assert code == (1 if errors else 0), (what, code)
    assert set(of("warning")) <= LACKING, (what, report)
    unhelpful = [finding for finding in report["findings"] if finding["level"] != "ok" and not finding["advice"]]
    assert not unhelpful, unhelpful
    print(f"framehost doctor, {what}: {len(of('ok'))} right, lacks {', '.join(of('warning')) or 'nothing'}, errors: {of('error')}")
    return report


def check_relay(results):
    output = (results / "hello.out").read_bytes()
    length = int.from_bytes(output[:4], sys.byteorder)
    answer = json.loads(output[4 : 4 + length])
    assert answer["id"] == 1 and answer["ok"]["protocol"] == 1, answer
    status = json.loads((results / "status.json").read_text())
    assert status["version"] == answer["ok"]["version"], (status, answer)
    print(f"the relay answers with framehost {status['version']}'s hello")


def main():
    results, extension_id = Path(sys.argv[1]), sys.argv[2]
    version = re.search(r'^version = "(.*)"', (REPO / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert (results / "version").read_text().strip() == f"framehost {version}"
    check_manifests(results, extension_id)
    for user in ("root", "user"):
        check_doctor(results, f"{user}-before", ["not_installed"])
        check_doctor(results, f"{user}-after", [])
    check_doctor(results, "user-hub", [])
    check_relay(results)


if __name__ == "__main__":
    main()
