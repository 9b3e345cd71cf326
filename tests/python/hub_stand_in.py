"""A model hub in one file: enough of the Hugging Face Hub's read protocol for huggingface_hub to download from it, and
every fault that a real one, or the network before it, has shown.

Files of `LARGE` bytes and more are "large": their ETag is the sha256 and X-Linked-* headers say so, as on the real hub.
"""

import json
import threading
import time
import urllib.parse
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hf_cache import commit_of, git_sha1, sha256

LARGE = 1 << 20
CHUNK = 1 << 16
STALL_S = 12


class HubStandIn:
    """Serves models (model id -> path -> bytes) on a free port while it is used in a `with`.

    `requests`: (method, path) of each, in order. `ranges`: where each range of a file began that was asked for. `sent`:
    bytes of each file that went out. `tokens`: what was sent as Authorization. `page`: entries of one page of a listing.
    `gate`: where set, large files wait for it in the middle, and with `cuts_at_gate` they end there. `keep_alive`: seconds
    after which idle connections end.
    """

    def __init__(self, models, page=None, token=None, keep_alive=None):
        self.models = models
        self.page = page
        self.token = token
        self.gated = set()
        self.revisions = {}
        self.requests = []
        self.ranges = defaultdict(list)
        self.sent = Counter()
        self.tokens = []
        self.gate = None
        self.cuts_at_gate = False
        self._faults = {}
        self._lock = threading.Lock()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = keep_alive

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                hub._answer(self)

            def do_GET(self):
                hub._answer(self)

            def do_POST(self):
                hub._answer(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                """Clients that leave in mid-body are what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, name="hub-stand-in", daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def commit(self, model_id, revision="main"):
        return self.revisions.get((model_id, revision)) or commit_of(f"{model_id}@{revision}")

    def move(self, model_id, revision="main"):
        """Lets the revision stand for another commit."""
        self.revisions[model_id, revision] = commit_of(f"{self.commit(model_id, revision)} moved")

    def fault(self, path, kind, times=1):
        """The next `times` answers that bring the file (or the API path) have this fault."""
        self._faults[path] = [kind, times]

    def _fault(self, path):
        with self._lock:
            kind, times = self._faults.get(path, (None, 0))
            if times:
                self._faults[path][1] -= 1
            return kind if times else None

    def gets(self, file_path):
        """How often the file was asked for."""
        return sum(method == "GET" and path.endswith(f"/{file_path}") for method, path in self.requests)

    def _answer(self, request):
        path = urllib.parse.unquote(urllib.parse.urlsplit(request.path).path)
        with self._lock:
            self.requests.append((request.command, path))
            self.tokens.append(request.headers.get("Authorization"))
        if path.startswith("/api/models/"):
            return self._answer_api(request, path.removeprefix("/api/models/"))
        model_id, _, rest = path[1:].partition("/cdn/" if "/cdn/" in path else "/resolve/")
        revision, _, file_path = rest.partition("/")
        files = self.models.get(model_id)
        refused = self._refusal(model_id, files, revision)
        if refused:
            return self._fail(request, *refused)
        if file_path not in files:
            return self._fail(request, 404, "EntryNotFound", {"X-Repo-Commit": self.commit(model_id)})
        return self._send_file(request, model_id, file_path, files[file_path])

    def _refusal(self, model_id, files, revision):
        if files is None:
            return 404, "RepoNotFound"
        if model_id in self.gated:
            return 403, "GatedRepo"
        known = {"main", *(name for id, name in self.revisions if id == model_id)}
        if revision not in known | {self.commit(model_id, name) for name in known}:
            return 404, "RevisionNotFound"
        return None

    def _send_file(self, request, model_id, file_path, data):
        headers = {"X-Repo-Commit": self.commit(model_id), "Accept-Ranges": "bytes"}
        if len(data) >= LARGE:
            headers["ETag"] = f'"{sha256(data)}"'
            headers["X-Linked-ETag"] = headers["ETag"]
            headers["X-Linked-Size"] = str(len(data))
        else:
            headers["ETag"] = f'"{git_sha1(data)}"'
        kind = self._fault(file_path) if request.command == "GET" else None
        if kind == "forbidden":
            return self._send(request, 403, b"<Error>SignatureExpired</Error>", {"Content-Type": "text/xml"})
        if kind in ("busy", "down"):
            status = 429 if kind == "busy" else 503
            return self._send(request, status, b"later", {"Retry-After": "1"})
        if kind == "redirect":
            target = f"{self.url}/{model_id}/cdn/{self.commit(model_id)}/{file_path}"
            return self._send(request, 302, b"", {"Location": target})
        if kind == "no commit":
            del headers["X-Repo-Commit"]
        if kind == "other commit":
            headers["X-Repo-Commit"] = "f" * 40
        if kind == "no etag":
            del headers["ETag"]
        if kind == "wrong bytes":
            data = bytes(len(data) - 1) + b"!"
        if kind == "wrong size":
            data = data + b"!"
        asked = request.headers.get("Range")
        if asked is None or kind == "no ranges":
            return self._send_body(request, 200, file_path, data, headers, kind)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        self.ranges[file_path].append(int(first))
        begin, end = int(first), min(int(last) if last else len(data) - 1, len(data) - 1)
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
        return self._send_body(request, 206, file_path, data[begin : end + 1], headers, kind)

    def _send_body(self, request, status, file_path, body, headers, kind):
        self._start(request, status, len(body), headers)
        if request.command == "HEAD":
            return
        half = len(body) // 2
        for offset in range(0, len(body), CHUNK):
            if offset + CHUNK > half >= offset:
                if kind == "cut":
                    request.wfile.write(body[offset:half])
                    self._count(file_path, half - offset)
                    request.close_connection = True
                    return
                if kind == "stall":
                    time.sleep(STALL_S)
                if self.gate is not None and len(body) >= LARGE:
                    is_cut = self.cuts_at_gate and not self.gate.is_set()
                    self.gate.wait(60)
                    if is_cut:
                        request.close_connection = True
                        return
            chunk = body[offset : offset + CHUNK]
            request.wfile.write(chunk)
            self._count(file_path, len(chunk))

    def _count(self, file_path, length):
        with self._lock:
            self.sent[file_path] += length

    def _answer_api(self, request, rest):
        model_id, kind, revision = rest, "", "main"
        for separator in ("/revision/", "/tree/", "/paths-info/", "/refs"):
            if separator in rest:
                model_id, _, revision = rest.partition(separator)
                kind = separator.strip("/")
        fault = self._fault(f"/{kind}")
        if fault in ("busy", "down"):
            return self._send(request, 429 if fault == "busy" else 503, b"later", {"Retry-After": "1"})
        if fault == "nonsense":
            return self._send(request, 200, b"<html>log in to the wireless network</html>", {})
        files = self.models.get(model_id)
        refused = self._refusal(model_id, files, revision or "main")
        if refused:
            return self._fail(request, *refused)
        if kind == "tree":
            return self._send_tree(request, files)
        info = {
            "_id": "0" * 24,
            "id": model_id,
            "modelId": model_id,
            "sha": revision if revision == self.commit(model_id) else self.commit(model_id, revision or "main"),
            "lastModified": "2024-01-01T00:00:00.000Z",
            "private": False,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": path} for path in files],
        }
        return self._send_json(request, info)

    def _send_tree(self, request, files):
        entries = [self._tree_entry(path, data) for path, data in files.items()]
        split = urllib.parse.urlsplit(request.path)
        query = urllib.parse.parse_qs(split.query)
        begin = int(query.get("cursor", ["0"])[0])
        end = begin + (self.page or len(entries))
        headers = {}
        if end < len(entries):
            headers["Link"] = f'<{self.url}{split.path}?recursive=true&expand=false&cursor={end}>; rel="next"'
        return self._send_json(request, entries[begin:end], headers)

    @staticmethod
    def _tree_entry(path, data):
        entry = {"type": "file", "oid": git_sha1(data), "size": len(data), "path": path}
        if len(data) >= LARGE:
            entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
            entry["xetHash"] = "e" * 64
        return entry

    def _send_json(self, request, value, headers=None):
        self._send(request, 200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _fail(self, request, status, code, headers=None):
        message = {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})}
        self._send(request, status, json.dumps({"error": code}).encode(), message)

    def _send(self, request, status, body, headers):
        self._start(request, status, len(body), headers)
        if request.command != "HEAD":
            request.wfile.write(body)

    @staticmethod
    def _start(request, status, length, headers):
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(length))
        request.end_headers()


def main():
    """`hub_stand_in.py (MODEL_ID DIRECTORY)...`: serves them, prints its address; a line of JSON for each line read."""
    import sys
    from pathlib import Path

    directories = {model_id: Path(path) for model_id, path in zip(sys.argv[1::2], sys.argv[2::2], strict=True)}
    models = {
        model_id: {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
        for model_id, directory in directories.items()
    }
    with HubStandIn(models) as hub:
        print(hub.url, flush=True)
        for _ in sys.stdin:
            commit = hub.commit(next(iter(models)))
            print(json.dumps({"sent": hub.sent, "requests": hub.requests, "commit": commit}), flush=True)


if __name__ == "__main__":
    main()
