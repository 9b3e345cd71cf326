"""A model hub in one file: enough of the Hugging Face Hub's read protocol for huggingface_hub to download from it.

Files of `LARGE` bytes and more are "large": their ETag is the sha256 and X-Linked-* headers say so, as on the real hub.
"""

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hf_cache import commit_of, git_sha1, sha256

LARGE = 1 << 20


class HubStandIn:
    """Serves models (model id -> path -> bytes) on a free port while it is used in a `with`."""

    def __init__(self, models):
        self.models = models
        self.requests = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                hub._answer(self)

            def do_GET(self):
                hub._answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, name="hub-stand-in", daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def commit(self, model_id):
        return commit_of(f"{model_id}@main")

    def _answer(self, request):
        path = urllib.parse.unquote(urllib.parse.urlsplit(request.path).path)
        self.requests.append((request.command, path))
        if path.startswith("/api/models/"):
            return self._answer_api(request, path.removeprefix("/api/models/"))
        model_id, _, rest = path[1:].partition("/resolve/")
        revision, _, file_path = rest.partition("/")
        files = self.models.get(model_id)
        if files is None:
            return self._fail(request, 404, "RepoNotFound")
        if revision not in ("main", self.commit(model_id)):
            return self._fail(request, 404, "RevisionNotFound")
        if file_path not in files:
            return self._fail(request, 404, "EntryNotFound", {"X-Repo-Commit": self.commit(model_id)})
        return self._send_file(request, model_id, files[file_path])

    def _send_file(self, request, model_id, data):
        headers = {"X-Repo-Commit": self.commit(model_id), "Accept-Ranges": "bytes"}
        if len(data) >= LARGE:
            headers["ETag"] = f'"{sha256(data)}"'
            headers["X-Linked-ETag"] = headers["ETag"]
            headers["X-Linked-Size"] = str(len(data))
        else:
            headers["ETag"] = f'"{git_sha1(data)}"'
        asked = request.headers.get("Range")
        if asked is None:
            return self._send(request, 200, data, headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last) if last else len(data) - 1, len(data) - 1)
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
        return self._send(request, 206, data[begin : end + 1], headers)

    def _answer_api(self, request, rest):
        model_id, kind, revision = rest, "", "main"
        for separator in ("/revision/", "/tree/"):
            if separator in rest:
                model_id, _, revision = rest.partition(separator)
                kind = separator.strip("/")
        files = self.models.get(model_id)
        if files is None:
            return self._fail(request, 404, "RepoNotFound")
        if revision not in ("main", self.commit(model_id)):
            return self._fail(request, 404, "RevisionNotFound")
        if kind == "tree":
            return self._send_json(request, [self._tree_entry(path, data) for path, data in files.items()])
        info = {
            "_id": "0" * 24,
            "id": model_id,
            "modelId": model_id,
            "sha": self.commit(model_id),
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

    @staticmethod
    def _tree_entry(path, data):
        entry = {"type": "file", "oid": git_sha1(data), "size": len(data), "path": path}
        if len(data) >= LARGE:
            entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
        return entry

    def _send_json(self, request, value):
        self._send(request, 200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _fail(self, request, status, code, headers=None):
        message = {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})}
        self._send(request, status, json.dumps({"error": code}).encode(), message)

    @staticmethod
    def _send(request, status, body, headers):
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)
