"""Video frames and model files from the framehost hub of this machine.

    import framehost

    path = framehost.load("org/name")                        # a model's directory in the host's cache, no copy
    framehost.describe("org/name").variants                  # what of it can be run
    framehost.RustFileProvider().install()                   # from_pretrained("org/name") gets models from the host
    async for frame in framehost.StreamHandler().capture_camera():
        picture = framehost.to_numpy(frame)                  # height x width x 3

    with framehost.connect() as hub:                         # every call of the contract
        hub.streams.ListStreams(framehost.messages.ListStreamsRequest())

The hub is found by an address (also FRAMEHOST_ADDRESS) or by its runtime file, and started where none runs.
"""

from . import errors, messages, services
from .connection import CHANNEL_OPTIONS, Connection, channel, connect
from .errors import (
    FramehostError,
    HubNotInstalled,
    HubUnavailable,
    ModelDamaged,
    ModelFileNotFound,
    ModelNotFound,
    RevisionNotFound,
    SourceError,
)
from .frames import planes, to_numpy
from .hub import Hub, find
from .messages import VideoFrame
from .model_cache import describe, pull, watch_models
from .models import load
from .provider import RustFileProvider
from .stream_handler import StreamHandler

__all__ = [
    "CHANNEL_OPTIONS",
    "Connection",
    "FramehostError",
    "Hub",
    "HubNotInstalled",
    "HubUnavailable",
    "ModelDamaged",
    "ModelFileNotFound",
    "ModelNotFound",
    "RevisionNotFound",
    "RustFileProvider",
    "SourceError",
    "StreamHandler",
    "VideoFrame",
    "channel",
    "connect",
    "describe",
    "errors",
    "find",
    "load",
    "messages",
    "planes",
    "pull",
    "services",
    "to_numpy",
    "watch_models",
]
