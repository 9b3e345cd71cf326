"""A user with framehost installed, in whose directories something is wrong in one way at a time."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ID = "abcdefghijklmnopabcdefghijklmnop"
OTHER_ID = "ponmlkjihgfedcbaponmlkjihgfedcba"
# What a machine without a desktop and without devices lacks, whatever else is right.
OF_THE_MACHINE = {"camera", "screen", "portal"}
IS_ROOT = os.getuid() == 0

# What mends a case.
ADVICE = "what is advised"
NOTHING = None  # Nothing that a test could do.


class World:
    """A user's directories with framehost installed for Chrome, and a root directory for what is the machine's."""

    def __init__(self, hub, is_ordinary=False):
        self.hub = hub
        # All that is the user's is in the home, where what sudo has left may be taken back.
        hub.home = hub.root
        hub.env["HOME"] = str(hub.home)
        hub.home.chmod(0o755)
        self.root = hub.root / "machine"
        self.chrome = hub.home / ".config/google-chrome"
        self.manifest = self.chrome / "NativeMessagingHosts/com.framehost.host.json"
        self.arguments = []
        for folder in (self.root, self.chrome):
            folder.mkdir(parents=True)
        if is_ordinary:
            hub.become_ordinary()
        self.program = Path(hub.binary)
        self.install()

    def install(self):
        done = self.hub.run("install", "--extension-id", ID, "--root", str(self.root))
        assert done.returncode == 0, done.stderr

    def edit(self, **members):
        self.manifest.write_text(json.dumps({**json.loads(self.manifest.read_text()), **members}))

    def put(self, path, text):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def configure(self, text):
        path = self.hub.config_dir / "config.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        path.chmod(0o600)

    def run(self, *command):
        return subprocess.run(
            list(map(str, command)), env=self.hub.env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def doctor(self, *arguments):
        return self.run(*self.hub.prefix, self.program, "doctor", "--root", self.root, *self.arguments, *arguments)

    def findings(self):
        """What is wrong, by its name, and whether the exit code says so."""
        done = self.doctor("--json")
        assert done.stderr == "", done.stderr
        report = json.loads(done.stdout)
        wrong = [finding for finding in report["findings"] if finding["level"] != "ok"]
        assert all(finding["advice"] and finding["message"] and finding["subject"] for finding in wrong), wrong
        errors = sum(finding["level"] == "error" for finding in wrong)
        assert report["errors"] == errors and report["warnings"] == len(wrong) - errors
        assert done.returncode == (1 if errors else 0)
        wrong = [finding for finding in wrong if finding["check"] not in OF_THE_MACHINE]
        found = {finding["check"]: finding for finding in wrong}
        assert len({(finding["check"], finding["subject"], finding["message"]) for finding in wrong}) == len(wrong), wrong
        return found

    def follow(self, advice):
        """Runs the command that the advice begins with, as people would in a shell."""
        stubs = self.hub.root / "stubs"
        stubs.mkdir(exist_ok=True)
        user = "nobody" if self.hub.prefix else "$(/usr/bin/id -un)"
        for name, text in {
            "sudo": 'exec "$@"\n',
            "framehost": f'exec {shlex.join([*self.hub.prefix, str(self.program)])} "$@"\n',
            "id": f'[ "$*" = -un ] && echo "{user}"\n',
        }.items():
            (stubs / name).write_text(f"#!/bin/sh\n{text}")
            (stubs / name).chmod(0o755)
        [command, *_] = advice.split("; ")
        if command.startswith(("/", "'/")):
            # No shell finds this framehost by its name.
            program, *arguments = shlex.split(command)
            assert program == str(self.program)
            command = shlex.join(["framehost", *arguments])
        command = re.sub(r"\bID\b", ID, command)
        done = subprocess.run(
            ["sh", "-c", command], env={**self.hub.env, "PATH": f"{stubs}:{os.environ['PATH']}"}, capture_output=True,
            text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.fixture
def world(make_hub):
    return World(make_hub(start=False))


@pytest.fixture
def ordinary(make_hub):
    """A user whom modes hold back, and files that can be somebody else's."""
    if not IS_ROOT:
        pytest.skip("gives files to another user: run it as root")
    return World(make_hub(start=False), is_ordinary=True)


def variables(**values):
    return lambda world: world.hub.env.update(values)


def config(**members):
    return lambda world: world.configure(members)


def alone(world, *names):
    """A folder with some of framehost's programs."""
    folder = world.hub.root / "al'one"
    folder.mkdir()
    for name in names:
        shutil.copy(world.program.with_name(name), folder)
    return folder


def closed_folder(world):
    folder = world.hub.root / "closed"
    folder.mkdir(mode=0o700)
    return folder


def each(cases):
    """A test for each: how it is spoilt, the finding's name, how bad that is, and what mends it."""
    return pytest.mark.parametrize(("spoil", "check", "level", "mend"), cases, ids=[check for _, check, _, _ in cases])


def check_case(world, spoil, check, level, mend):
    spoil(world)
    findings = world.findings()
    assert list(findings) == [check], findings
    assert findings[check]["level"] == level
    if callable(mend):
        mend(world)
    elif mend:
        world.follow(findings[check]["advice"])
    if mend:
        assert set(world.findings()) == (mend if isinstance(mend, set) else set())


def in_a_mount_namespace(world, script):
    """The doctor's findings where `script` has changed what is mounted, for it alone."""
    doctor = shlex.join([*world.hub.prefix, str(world.program), "doctor", "--json", "--root", str(world.root)])
    done = world.run("unshare", "--mount", "sh", "-ec", f"{script}\nexec {doctor}")
    if not done.stdout:
        pytest.skip(f"nothing may be mounted here: {done.stderr}")
    return {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
