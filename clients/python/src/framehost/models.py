"""Model files, by the hub's word: bytes, paths, listings."""

import fnmatch
import os
import threading
import time

import grpc

from . import errors, hub, messages
from .connection import open_channel
from .services import ModelManagementServiceStub

# A file that somebody writes to is asked for again: times, and seconds between them.
CHANGING_RETRIES = 5
CHANGING_PAUSE = 0.2

DEFAULT_PORT = "50052"

# Seconds in which upstream has to answer where the cache has what is wanted, and seconds for which it is left alone
# after it has not: a machine without a network works, too.
UPSTREAM_PATIENCE = 2
UPSTREAM_PAUSE = 60

# Seconds for which a listing holds: one from_pretrained looks for a dozen files of one model, most of which it has not.
LISTING_HOLDS = 1.0


class Models:
    """Calls about models, from any thread, also from one that runs an event loop.

    On a synchronous `channel` or `stub`, else on a channel of our own to `target`, else to the hub that is found.
    """

    def __init__(self, channel=None, target=None, stub=None):
        self._lock = threading.Lock()
        self._is_own = channel is None and stub is None
        self._target = target
        self._silent_until = 0.0
        self._listings = {}
        self._channel = channel
        self._stub = stub if channel is None else ModelManagementServiceStub(channel)

    def read(self, model_id, file_path, revision=""):
        """The bytes of a file."""
        request = messages.ModelFileRequest(model_id=model_id, file_path=file_path, revision=revision or "")
        return self._call("GetModelFile", request, _joined)

    def resolve(self, model_id, file_path, revision=""):
        """Where a file is, whose bytes have been checked: a ResolvedModelFile."""
        request = messages.ResolveModelFileRequest(model_id=model_id, file_path=file_path, revision=revision or "")
        resolved = self._call("ResolveModelFile", request)
        _, listed = self._listings.get(model_id, (0, ()))
        if not any(file.file_path == file_path for model in listed for file in model.files):
            # It has just been fetched.
            self._listings.pop(model_id, None)
        return resolved

    def revision(self, model_id, revision=""):
        """What the cache holds of a revision (branch, tag or commit): a Model. Raises ModelNotFound."""
        wanted = revision or "main"
        listed = self._listed(model_id)
        for model in listed:
            if wanted in (model.revision, model.commit):
                return model
        if listed:
            what = f"model {model_id} has no revision {wanted!r} in the cache"
            raise errors.not_found(errors.RevisionNotFound, what)
        raise errors.not_found(errors.ModelNotFound, f"model {model_id} is not in the cache")

    def _listed(self, model_id):
        at, listed = self._listings.get(model_id, (0, None))
        if listed is None or time.monotonic() - at > LISTING_HOLDS:
            listed = self._call("ListModels", messages.ListModelsRequest(model_id=model_id)).models
            self._listings[model_id] = (time.monotonic(), listed)
        return listed

    def cached(self, model_id, file_path, revision=""):
        """As `resolve`, of what is in the cache now: nothing is fetched for it. Raises ModelNotFound."""
        model = self.revision(model_id, revision)
        if all(file.file_path != file_path for file in model.files):
            what = f"model {model_id} at {model.commit} has no file {file_path!r} in the cache"
            raise errors.not_found(errors.ModelFileNotFound, what)
        return self.resolve(model_id, file_path, model.commit)

    def describe(self, model_id, revision=""):
        """What of a revision can be run: a ModelDescription."""
        return self._call("DescribeModel", messages.DescribeModelRequest(model_id=model_id, revision=revision or ""))

    def pull(self, model_id, revision="", include=None, exclude=None, progress=None):
        """Has the hub bring a revision into the cache: the last PullModelProgress. `progress` is called with each."""
        request = messages.PullModelRequest(
            model_id=model_id, revision=revision or "", include=_listed(include), exclude=_listed(exclude)
        )
        try:
            return self._call("PullModel", request, lambda steps: _last_step(steps, progress))
        finally:
            self._listings.pop(model_id, None)

    def bring(self, model_id, revision="", include=None, exclude=None):
        """A revision as upstream has it now, where the hub can ask, else as the cache has it.

        The snapshot's path, its files that match, all of them checked, its commit, and whether nothing is missing.
        """
        refusal = None
        try:
            pulled = self._pull(model_id, revision, include, exclude)
        except (errors.ModelNotFound, errors.HubUnavailable, errors.Denied) as error:
            # Upstream cannot be asked, or does not know a model of this machine's own.
            pulled, refusal = None, error
        try:
            path, names, model = self.snapshot(
                model_id, os.path.basename(pulled) if pulled else revision, include, exclude
            )
        except errors.ModelNotFound as error:
            raise refusal or error from None
        return path, names, model.commit, model.complete or pulled is not None

    def _pull(self, model_id, revision, include, exclude):
        """Has the hub bring a revision into the cache; the snapshot's path, or None where it fetches nothing."""
        # No pattern at all is no choice in the contract.
        if include == []:
            return None
        patience = UPSTREAM_PATIENCE if self._has_all(model_id, revision) else None
        if patience and time.monotonic() < self._silent_until:
            return None
        request = messages.PullModelRequest(
            model_id=model_id, revision=revision or "", include=_listed(include), exclude=_listed(exclude)
        )
        try:
            return self._call("PullModel", request, lambda progress: _last_snapshot(progress, patience))
        except errors.FramehostError as error:
            if error.code not in ("unavailable", "cancelled", "unimplemented"):
                raise
            self._silent_until = time.monotonic() + UPSTREAM_PAUSE
            if error.code == "unavailable":
                raise
            return None
        finally:
            self._listings.pop(model_id, None)

    def _has_all(self, model_id, revision):
        try:
            return self.revision(model_id, revision).complete
        except errors.ModelNotFound:
            return False

    def snapshot(self, model_id, revision="", include=None, exclude=None):
        """The path of what the cache has of a revision, its files that match, all of them checked, and its Model."""
        model = self.revision(model_id, revision)
        names = [file.file_path for file in model.files]
        chosen = [name for name in names if matches(name, include, exclude)]
        root = None
        for name in chosen or names[:1]:
            root = self.resolve(model_id, name, model.commit).path.removesuffix(f"/{name}")
        if root is None:
            raise errors.ModelNotFound(
                f"model {model_id} at {model.commit} has no files in the cache", code="not_found"
            )
        return root, chosen, model

    def close(self):
        """Closes the channel, if it is our own."""
        with self._lock:
            if self._is_own and self._channel is not None:
                self._channel.close()
                self._channel = self._stub = None

    def _call(self, name, request, take=lambda answer: answer):
        for attempt in range(CHANGING_RETRIES):
            try:
                return self._call_once(name, request, take)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.ABORTED or attempt == CHANGING_RETRIES - 1:
                    raise errors.of_model(error) from error
            time.sleep(CHANGING_PAUSE)

    def _call_once(self, name, request, take):
        stub = self._connected()
        try:
            return take(getattr(stub, name)(request))
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE or _is_said_by_hub(error) or not self._may_start():
                raise
        # Nobody answers where the user's hub would be: there may be one elsewhere, or none yet.
        stub = self._connected(hub.ensure(), instead_of=stub)
        return take(getattr(stub, name)(request))

    def _connected(self, found=None, instead_of=None):
        with self._lock:
            if self._stub is None or (found is not None and self._stub is instead_of):
                found = found or hub.find(self._target)
                # A channel that is not in use any more closes when its last call has ended.
                self._channel = open_channel(found)
                self._is_own, self._stub = True, ModelManagementServiceStub(self._channel)
            return self._stub

    def _may_start(self):
        if self._target is None:
            return self._is_own and not os.environ.get("FRAMEHOST_ADDRESS")
        return hub.is_loopback(self._target) and hub.port_of(self._target) == DEFAULT_PORT


def matches(name, include, exclude):
    """Whether a file is wanted, by huggingface_hub's rules for patterns. None: all, or none."""

    def any_of(patterns):
        return any(
            fnmatch.fnmatch(name, f"{pattern}*" if pattern.endswith("/") else pattern) for pattern in _listed(patterns)
        )

    return (include is None or any_of(include)) and not (exclude is not None and any_of(exclude))


def _is_said_by_hub(error):
    """Whether the hub has answered, and says that upstream does not: what it says comes with a date."""
    return bool(error.trailing_metadata() or error.initial_metadata())


def _listed(patterns):
    return [patterns] if isinstance(patterns, str) else patterns or ()


def _joined(chunks):
    parts, received, total = [], 0, None
    for chunk in chunks:
        if chunk.offset != received:
            raise errors.FramehostError(f"a chunk begins at {chunk.offset}, expected {received}", code="data_loss")
        parts.append(chunk.data)
        received += len(chunk.data)
        total = chunk.total_size
    if received != total:
        raise errors.FramehostError(f"the file ended after {received} of {total} bytes", code="data_loss")
    return b"".join(parts)


def _last_step(steps, progress):
    """A pull's last message."""
    last = None
    try:
        for last in steps:
            if progress is not None:
                progress(last)
    finally:
        # What `progress` raises ends the pull.
        steps.cancel()
    if last is None or not last.snapshot_path:
        raise errors.FramehostError("the hub has pulled the model and named no path", code="internal")
    return last


def _last_snapshot(progress, patience):
    """The path in a pull's last message. `patience`: seconds in which upstream has to answer; None: any time."""
    timer = threading.Timer(patience, progress.cancel) if patience else None
    path = ""
    try:
        if timer:
            timer.start()
        for step in progress:
            path = step.snapshot_path or path
            if timer and step.commit:
                timer.cancel()
    finally:
        if timer:
            timer.cancel()
    if not path:
        raise errors.FramehostError("the hub has pulled the model and named no path", code="internal")
    return path


_default = None
_default_lock = threading.Lock()


def default():
    """The calls to the hub that is found, shared by whoever names no other."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Models()
        return _default


def load(model_id: str, revision: str | None = None) -> str:
    """The path of a model's snapshot directory in the host's cache: `from_pretrained(framehost.load("org/name"))`.

    `revision`: branch, tag or commit (40 hex digits); None: "main". As upstream has it now, where the hub can ask, else
    as the cache has it; every file has been checked against its digest. Read it, never write to it.

    Raises ModelNotFound, ModelDamaged, InvalidRequest, Denied, HubUnavailable, HubNotInstalled.
    """
    path, _, commit, is_whole = default().bring(model_id, revision)
    if not is_whole:
        raise errors.ModelNotFound(f"model {model_id} at {commit} is not whole in the cache", code="not_found")
    return path
