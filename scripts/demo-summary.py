#!/usr/bin/env python3
"""Says in a few lines what the demo's page and worker saw. Exit code 1 if they did not see the same.

Usage: scripts/demo-summary.py PAGE.json WORKER.json
"""

import json
import sys
from pathlib import Path


def last_json_line(path):
    lines = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    if not lines:
        sys.exit(f"{path} holds no summary")
    return json.loads(lines[-1])


def main():
    page, worker = last_json_line(sys.argv[1]), last_json_line(sys.argv[2])
    page_model, worker_model = page.get("model") or {}, worker.get("model") or {}
    latency = worker["latency_ms"]
    formats = ", ".join(f"{count} {name}" for name, count in worker["formats"].items())
    rows = [
        ("pictures sent by the extension", page.get("frames_sent")),
        ("pictures seen by the worker", f"{worker['frames']} ({formats}; {worker['width']}x{worker['height']})"),
        ("pictures a second at the worker", worker["fps"]),
        ("from capture to worker", f"{latency['p50']} ms (half of them), {latency['p99']} ms (99 of 100)"),
        ("dropped for the worker", worker["dropped"]),
        ("results back in the extension", page.get("results")),
        ("last result", json.dumps(worker["last_result"])),
        ("model", f"{worker_model.get('model_id')} {worker_model.get('file_path')}, {worker_model.get('size_bytes')} bytes"),
        ("sha256 in the extension", page_model.get("sha256")),
        ("sha256 in the worker", worker_model.get("sha256")),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")

    problems = []
    if not worker["frames"]:
        problems.append("the worker saw no pictures")
    if not page.get("results"):
        problems.append("no result came back to the extension")
    if not page_model.get("sha256") or page_model["sha256"] != worker_model.get("sha256"):
        problems.append("extension and worker do not hold the same model bytes")
    print()
    print("NOT AS IT SHOULD BE: " + "; ".join(problems) if problems else "Both hold the same model bytes.")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
