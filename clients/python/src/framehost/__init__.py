"""Video frames and model files from the framehost hub of this machine.

    import framehost

    with framehost.connect() as hub:                         # every call of the contract
        hub.streams.ListStreams(framehost.messages.ListStreamsRequest())

The hub is found by an address that is named (also FRAMEHOST_ADDRESS) or by its runtime file, and started where none runs.
"""

from . import errors, messages, services
from .connection import CHANNEL_OPTIONS, Connection, channel, connect
from .errors import FramehostError, HubNotInstalled, HubUnavailable, ModelDamaged, ModelNotFound, SourceError
from .frames import planes, to_numpy
from .hub import Hub, find
from .messages import VideoFrame

__all__ = [
    "CHANNEL_OPTIONS", "Connection", "FramehostError", "Hub", "HubNotInstalled", "HubUnavailable", "ModelDamaged",
    "ModelNotFound", "SourceError", "VideoFrame", "channel", "connect", "errors",
    "find", "messages", "planes", "services", "to_numpy",
]
