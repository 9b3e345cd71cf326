"""An upstream that says what cannot be: refused with the reason, in bounded time and memory, and nothing of it is kept."""

import hashlib
import json
import time
import urllib.error
import urllib.parse

import grpc
import pytest

import client
from hub_stand_in import HubStandIn
from stubs import pb, pb_grpc
from test_http_attacks import resident_mib
from test_pull import get

MODEL = "org/name"
OID = "a" * 40


class Hostile(HubStandIn):
    """Answers a listing with what `pages` says: a function of the query and this hub, to a body and the next page."""

    def __init__(self, pages):
        super().__init__({MODEL: {"a": b"a"}})
        self.pages = pages

    def _send_tree(self, request, files):
        path, _, query = request.path.partition("?")
        body, following = self.pages(query)
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {} if following is None else {"Link": f'<{self.url}{path}?{following}>; rel="next"'}
        self._send(request, 200, body, {"Content-Type": "application/json", **headers})


def file(path, size=1, **more):
    return {"type": "file", "oid": OID, "size": size, "path": path} | more


def one(*entries):
    return lambda query: (list(entries), None)


def page_of(query):
    return int(query.removeprefix("page=")) if query.startswith("page=") else 0


def endless(query):
    return [], f"page={page_of(query) + 1}"


def many_pages(query):
    page = page_of(query)
    return [file(f"{page}/{number}") for number in range(9000)], f"page={page + 1}"


def long_pages(query):
    page = page_of(query)
    return [file(f"{page}/{number}/{'a' * 200}/{'b' * 200}") for number in range(9000)], f"page={page + 1}"


CASES = {
    "long": (lambda query: (b"[" + b" " * (17 << 20) + b"]", None), "longer than 16777216 bytes"),
    "long in pages": (long_pages, "longer than 16777216 bytes"),
    "many in pages": (many_pages, "more than 50000 files and folders"),
    "many": (lambda query: ([file(str(number)) for number in range(100_000)], None), "more than 50000 files and folders"),
    "many folders": (
        lambda query: (b'[{"type":"directory","path":"a"}' + b',{"type":"","path":""}' * 300_000 + b"]", None),
        "more than 50000 files and folders",
    ),
    "large": (one(file("a", 1 << 60)), "a file larger than any"),
    "large behind a pointer": (one(file("a", lfs={"oid": "b" * 64, "size": 1 << 60})), "a file larger than any"),
    "negative": (one(file("a", -1)), "no JSON as expected"),
    "larger than a number": (lambda query: (b'[{"type":"file","path":"a","size":1e999}]', None), "no JSON as expected"),
    "parent": (one(file("../../a")), "a file name that cannot be"),
    "parent inside": (one(file("a/../../b")), "a file name that cannot be"),
    "absolute": (one(file("/etc/passwd")), "a file name that cannot be"),
    "backslash": (one(file("..\\a")), "a file name that cannot be"),
    "zero byte": (one(file("a\0b")), "a file name that cannot be"),
    "empty name": (one(file("")), "a file name that cannot be"),
    "long name": (one(file("a" * 100_000)), "a file name that cannot be"),
    "no digest": (one(file("a") | {"oid": "../../../etc/passwd"}), "a file without its git digest"),
    "digest with a path": (one(file("a", lfs={"oid": "../" * 21 + "a", "size": 1})), "a large file without its sha256"),
    "twice": (one(file("a"), file("b"), file("a", 2)), "it lists a file twice"),
    "file and folder": (one(file("a/b/c"), file("a")), "it lists a file and what is in it"),
    "circle of one": (lambda query: ([], query or "x"), "the pages of the listing lead in a circle"),
    "circle of two": (lambda query: ([], "x" if query == "y" else "y"), "the pages of the listing lead in a circle"),
    "endless": (endless, "more than 500 pages"),
    "long address": (lambda query: ([], "x" * 3000), "the next page's address is longer than 2048 bytes"),
    "deep": (lambda query: (b"[" * 1_000_000, None), "no JSON as expected"),
    "another host": (lambda query: ([], "x>; rel=\"prev\", <http://198.51.100.1/x"), "the next page is elsewhere"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_listing_is_refused_with_the_reason(make_hub, case):
    pages, reason = CASES[case]
    with Hostile(pages) as upstream:
        hub = make_hub(upstream=upstream.url)
        before, began = resident_mib(hub), time.monotonic()
        with client.channel(hub.address, local_subchannels=True) as channel:
            stub = pb_grpc.ModelManagementServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                list(stub.PullModel(pb.PullModelRequest(model_id=MODEL), timeout=100))
        details = caught.value.details()
        assert caught.value.code() == grpc.StatusCode.DATA_LOSS, details
        assert reason in details
        assert len(details) < 1000
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(hub, f"{MODEL}/resolve/main/a")
        assert refused.value.code == 502
        assert peak_mib(hub) - before < 200
        print(f"{case}: {time.monotonic() - began:.1f} s, {peak_mib(hub) - before:.0f} MiB")
        assert get(hub, "healthz").status == 200
        assert [path for path in hub.cache.rglob("*") if path.is_file()] == []


def test_a_file_that_not_every_system_can_have_is_left_out_and_the_rest_is_served(make_hub):
    odd = ["a:b.png", "aux.txt", "what?"]
    with Hostile(one(file("a", oid=git_oid(b"a")), *map(file, odd))) as upstream:
        hub = make_hub(upstream=upstream.url)
        with client.channel(hub.address, local_subchannels=True) as channel:
            stub = pb_grpc.ModelManagementServiceStub(channel)
            assert list(stub.PullModel(pb.PullModelRequest(model_id=MODEL), timeout=30))[-1].snapshot_path
        assert get(hub, f"{MODEL}/resolve/main/a").read() == b"a"
        for name in odd:
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(hub, f"{MODEL}/resolve/main/{urllib.parse.quote(name)}")
            assert refused.value.code == 400, name
        # Of what is in the commit, a listing without them would tell others a lie.
        assert not list(hub.cache.rglob("trees/*"))


def git_oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def peak_mib(hub):
    with open(f"/proc/{hub.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
