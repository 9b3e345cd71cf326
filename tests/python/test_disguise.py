"""A browser whose extension has taken the headers out that tell of it is still a browser: it needs a token."""

import shutil
import subprocess

import pytest

CURL = shutil.which("curl")


def ask(hub, tmp_path, name, *arguments):
    """What a program of that name is answered with: no Origin, no Sec-Fetch-*."""
    program = tmp_path / name
    shutil.copy(CURL, program)
    program.chmod(0o755)
    done = subprocess.run(
        [program, "--silent", "--include", "--max-time", "20", *arguments], capture_output=True, text=True, timeout=30, check=True
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(CURL is None, reason="curl is what disguises itself")
def test_a_browser_without_its_headers_is_still_one(hub, tmp_path):
    url = f"http://{hub.address}/healthz"
    assert " 200 OK" in ask(hub, tmp_path, "python3", url)
    for name in ("chrome", "chromium", "msedge", "firefox"):
        assert " 403 Forbidden" in ask(hub, tmp_path, name, url), name
        token = ["--header", f"Authorization: Bearer {hub.token}"]
        assert " 200 OK" in ask(hub, tmp_path, name, *token, url), name


@pytest.mark.skipif(CURL is None, reason="curl is what disguises itself")
def test_grpc_is_served_over_http_2_alone(hub, tmp_path):
    """Browsers speak HTTP/1.1 to this port, so that no page and no extension reaches a service by `fetch`."""
    call = ["--header", "Content-Type: application/grpc", "--data-binary", "@/dev/null"]
    url = f"http://{hub.address}/ml.StreamService/ListStreams"
    answer = ask(hub, tmp_path, "program", "--http1.1", *call, url)
    assert "grpc-status: 7" in answer and "permission_denied" in answer, answer
