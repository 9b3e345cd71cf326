"""Where a channel leads, as far as it tells."""


def target_of(channel):
    """The target of a channel, or of a stub's call ("localhost:50052"); None where it does not tell.

    grpc.aio tells since 1.85 or so. With an older one a synchronous call inside a running event loop, which cannot be
    made on that loop's channel while it waits, goes to the hub that discovery finds.
    """
    inner = getattr(channel, "_channel", None)
    # A channel with interceptors has the plain one inside.
    while not hasattr(inner, "target") and hasattr(inner, "_channel"):
        inner = inner._channel
    target = getattr(inner, "target", None)
    if callable(target):
        target = target()
    return target.decode().removeprefix("dns:///") if target else None
