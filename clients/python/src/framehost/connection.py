"""Channels to the hub, with the limits that pictures need."""

import collections

import grpc

from . import hub, services

# Bytes of the largest message: a 1080p RGB picture has 6 MiB, and gRPC's own limit is 4 MiB.
MESSAGE_LIMIT = 64 << 20

# Milliseconds after which a silent hub is asked whether it is still there, and for its answer. Without that a call on a
# connection that has been used before would wait for ever for a hub that hangs.
KEEPALIVE_MS = 20_000

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_MS),
    ("grpc.http2.max_pings_without_data", 0),
    # What is meant for this machine is for no proxy to see: pictures, and the hub's token.
    ("grpc.enable_http_proxy", 0),
)


def channel(address: str | None = None, *, token: str | None = None) -> grpc.Channel:
    """A channel to the hub, for stubs of `framehost` or of your own.

    `address`: host:port; unset: FRAMEHOST_ADDRESS, or the user's hub, which is started if it does not run.
    `token`: of a hub of another user; unset: the one in hub.json.
    Raises HubNotInstalled and HubUnavailable.
    """
    return open_channel(hub.find(address, token))


def open_channel(found: hub.Hub) -> grpc.Channel:
    """A channel to a hub that has been found."""
    plain = grpc.insecure_channel(found.address, options=CHANNEL_OPTIONS)
    return grpc.intercept_channel(plain, _Metadata(found.metadata())) if found.token else plain


class Connection:
    """A channel and the stubs of both services on it. Use it in a `with`, or close it."""

    def __init__(self, grpc_channel: grpc.Channel) -> None:
        self.channel = grpc_channel
        self.models = services.ModelManagementServiceStub(grpc_channel)
        self.streams = services.StreamServiceStub(grpc_channel)

    def close(self) -> None:
        """Ends the connection and every call on it."""
        self.channel.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def connect(address: str | None = None, *, token: str | None = None) -> Connection:
    """Both services of the hub. Arguments and errors: as `channel`."""
    return Connection(channel(address, token=token))


class _Details(
    collections.namedtuple(
        "_Details", ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")
    ),
    grpc.ClientCallDetails,
):
    pass


class _Metadata(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds metadata to every call."""

    def __init__(self, added):
        self._added = added

    def _intercept(self, continuation, details, request):
        metadata = (*(details.metadata or ()), *self._added)
        optional = (getattr(details, name, None) for name in ("credentials", "wait_for_ready", "compression"))
        return continuation(_Details(details.method, details.timeout, metadata, *optional), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _intercept
