"""What can go wrong, one class for each thing that a program would handle differently."""

import re

import grpc


class FramehostError(Exception):
    """Whatever goes wrong between this process and the hub.

    `code`: gRPC's name of the class of failure ("not_found"), empty where no call was made.
    `reason`: the hub's word for programs, or empty. Of a source that failed "device_busy" and others; of what was not
    found of a model "no_such_model", "no_such_revision" or "no_such_file"; "gated" where a model's authors grant access.
    """

    def __init__(self, message, *, code="", reason=""):
        super().__init__(message)
        self.code = code
        self.reason = reason


class HubNotInstalled(FramehostError, FileNotFoundError):
    """No hub runs, and the program that would be one was not found."""


class HubUnavailable(FramehostError, ConnectionError):
    """Nobody answers at the hub's address, or the hub cannot reach what it needs."""


class ModelNotFound(FramehostError, FileNotFoundError):
    """The host has no such model or, as a subclass, no such revision or file of it."""


class RevisionNotFound(ModelNotFound):
    """The model is there, and has no such branch, tag or commit."""


class ModelFileNotFound(ModelNotFound):
    """The model's revision is there, and has no such file."""


class ModelDamaged(FramehostError, OSError):
    """The file's bytes are not those that its digest stands for. It is not served."""


class Denied(FramehostError, PermissionError):
    """This process may not have that."""


class InvalidRequest(FramehostError, ValueError):
    """A name, number or range that cannot be."""


class SourceError(FramehostError):
    """A camera, screen or file cannot be opened, or has failed. `reason` says why."""


class DeviceNotFound(SourceError, LookupError):
    """No such camera, screen or window."""


class DeviceBusy(SourceError):
    """Another program has the device."""


class DeviceLost(SourceError, ConnectionError):
    """The device has gone."""


class DeviceDenied(SourceError, PermissionError):
    """The system or the user does not let this user have the device."""


class NoDisplay(SourceError):
    """There is no desktop to capture."""


class UnsupportedMode(SourceError, ValueError):
    """The device has no such size, or no such rate or format."""


class RegionOutside(SourceError, ValueError):
    """The region is not on the screen."""


class VideoNotFound(SourceError, FileNotFoundError):
    """No such video file."""


class NotAVideo(SourceError, ValueError):
    """The file is no video that ffmpeg reads, or one that only names others."""


class OpenTimeout(SourceError, TimeoutError):
    """The device or program does not answer."""


_BY_REASON = {
    "no_such_device": DeviceNotFound,
    "device_busy": DeviceBusy,
    "device_lost": DeviceLost,
    "permission_denied": DeviceDenied,
    "no_display": NoDisplay,
    "unsupported_mode": UnsupportedMode,
    "region_outside": RegionOutside,
    "not_a_video": NotAVideo,
    "open_timeout": OpenTimeout,
    "ffmpeg_hangs": OpenTimeout,
}

_BY_CODE = {
    grpc.StatusCode.NOT_FOUND: ModelNotFound,
    grpc.StatusCode.DATA_LOSS: ModelDamaged,
    grpc.StatusCode.PERMISSION_DENIED: Denied,
    grpc.StatusCode.UNAUTHENTICATED: Denied,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.UNAVAILABLE: HubUnavailable,
}


def _said(error):
    return error.details() or error.code().name.lower(), error.code().name.lower()


_OF_MODEL = {
    "no_such_model": ModelNotFound,
    "no_such_revision": RevisionNotFound,
    "no_such_file": ModelFileNotFound,
    "gated": Denied,
}


def _word(message):
    """What the hub's message begins with, where that is a word for programs."""
    return found.group(1) if (found := re.match(r"([a-z]+(?:_[a-z]+)*): ", message)) else ""


def of_model(error):
    """A failed call about models as an error of this module."""
    message, code = _said(error)
    reason = _word(message)
    if reason in _OF_MODEL:
        return _OF_MODEL[reason](message, code=code, reason=reason)
    return _BY_CODE.get(error.code(), FramehostError)(message, code=code)


def not_found(kind, message):
    """What the cache does not have, by this process's own looking. `kind`: ModelNotFound or a subclass."""
    reason = next(word for word, of_word in _OF_MODEL.items() if of_word is kind)
    return kind(message, code="not_found", reason=reason)


def of_source(error):
    """A failed call about streams as an error of this module."""
    message, code = _said(error)
    reason = _word(message)
    if reason == "file" and error.code() == grpc.StatusCode.NOT_FOUND:
        return VideoNotFound(message, code=code, reason=reason)
    if reason or error.code() == grpc.StatusCode.NOT_FOUND:
        return _BY_REASON.get(reason, SourceError)(message, code=code, reason=reason)
    return _BY_CODE.get(error.code(), FramehostError)(message, code=code)
