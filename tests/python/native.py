"""A native-messaging client in a few lines: what a browser does with the host's pipes. docs/protocol.md has the types."""

import json
import queue
import struct
import subprocess
import threading
import time


class HostError(Exception):
    """An answer with `error` instead of `ok`."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = error["code"]
        self.details = error.get("details", {})


class NativeClient:
    """Starts the host and speaks to it. Use it in a `with`."""

    def __init__(self, binary, env, arguments=()):
        self.process = subprocess.Popen(
            [binary, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
        )
        self.events = []
        self._messages = queue.SimpleQueue()
        self._answers = {}
        self._last_id = 0
        self._reader = threading.Thread(target=self._read, name="native-reader", daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self):
        pipe = self.process.stdout
        while len(prefix := pipe.read(4)) == 4:
            (length,) = struct.unpack("=I", prefix)
            body = pipe.read(length)
            if len(body) < length:
                break  # The host was killed.
            self._messages.put(json.loads(body))
        self._messages.put(None)

    def send(self, message):
        body = json.dumps(message).encode()
        self.process.stdin.write(struct.pack("=I", len(body)) + body)
        self.process.stdin.flush()

    def _receive(self, deadline):
        """Takes one message in; False when the host has closed its end."""
        try:
            message = self._messages.get(timeout=max(0.001, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError("the host sent nothing") from None
        if message is None:
            return False
        if "event" in message:
            self.events.append(message)
        else:
            self._answers[message["id"]] = message
        return True

    def request(self, kind, timeout=20, **fields):
        """Sends a request and waits for its answer."""
        self._last_id += 1
        self.send({"id": self._last_id, "type": kind, **fields})
        answer = self.wait_answer(self._last_id, timeout)
        if "error" in answer:
            raise HostError(answer["error"])
        return answer["ok"]

    def wait_answer(self, id, timeout=20):
        """Waits for the answer to what was sent with this id."""
        deadline = time.monotonic() + timeout
        while id not in self._answers:
            if not self._receive(deadline):
                raise ConnectionError(f"the host closed before it answered {id!r}")
        return self._answers.pop(id)

    def wait_events(self, name, count=1, timeout=20):
        """Waits until `count` events of that name have come since the start, and answers with all of them."""
        deadline = time.monotonic() + timeout
        while len(found := [event for event in self.events if event["event"] == name]) < count:
            if not self._receive(deadline):
                raise ConnectionError(f"the host closed before {count} {name} events")
        return found

    def close(self, timeout=10):
        """Closes the host's input, as a browser does, and answers with its exit code."""
        if self.process.poll() is None:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        self._reader.join(timeout)
        self.process.stdout.close()
        return self.process.returncode
