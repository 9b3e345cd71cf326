"""A process that publishes pictures, as a worker would."""

import threading


class Publisher:
    """A PublishFrames call that sends what it is given."""

    def __init__(self, stub, stream_id, metadata=()):
        self.frames = []
        self.more = threading.Condition()
        self.is_over = False
        self.call = stub.PublishFrames.future(self._sent(), metadata=(("stream-id", stream_id), *metadata), timeout=60)

    def _sent(self):
        while True:
            with self.more:
                self.more.wait_for(lambda: self.frames or self.is_over, 60)
                if not self.frames:
                    return
                frame = self.frames.pop(0)
            yield frame

    def send(self, *frames):
        with self.more:
            self.frames.extend(frames)
            self.more.notify()

    def close(self):
        with self.more:
            self.is_over = True
            self.more.notify()
        return self.call.result(60)
