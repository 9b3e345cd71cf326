"""Models as a whole: which of their files can be run, how they come into the cache, and what changes there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

import grpc

from . import errors, hub, messages
from .connection import CHANNEL_OPTIONS
from .models import default
from .services import ModelManagementServiceStub


def describe(model_id: str, revision: str | None = None) -> messages.ModelDescription:
    """What the cache has of a model, in variants that can be run: nothing is fetched for it.

    `revision`: branch, tag or commit (40 hex digits); None: "main". `complete` says whether every file is here,
    `size_bytes` how much that is, `variants` which ONNX data types, safetensors and GGUF quantizations there are, each
    with its `files` (shards and external data included), those that are `missing`, and whether it is `complete`;
    `unreadable` what looks like weights and is none.

    Raises ModelNotFound, RevisionNotFound, InvalidRequest, HubUnavailable, HubNotInstalled.
    """
    return default().describe(model_id, revision)


def pull(
    model_id: str,
    revision: str | None = None,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    progress: Callable[[messages.PullModelProgress], object] | None = None,
) -> messages.PullModelProgress:
    """Brings a model's revision into the cache as upstream has it now, and answers when it is whole.

    `include`, `exclude`: patterns of paths ("*.safetensors", "onnx/*"; "*" stands for "/", too); None: all, and none.
    `progress` is called ten times a second at most, in this thread, with `file_path`, `bytes_done` of `bytes_total` and
    `files_done` of `files_total`; what it raises ends the pull, and what has arrived is kept for the next.

    The answer is the last of them, with `snapshot_path`, the directory of the files, and `commit`. `from_cache`: upstream
    could not be asked, and the cache had all that was wanted.

    Raises ModelNotFound, RevisionNotFound, Denied (its authors grant access), ModelDamaged (what upstream sent, too),
    InvalidRequest, HubUnavailable (upstream cannot be reached), HubNotInstalled; FramehostError with the code
    "resource_exhausted" where the disk is full.
    """
    return default().pull(model_id, revision, include, exclude, progress)


async def watch_models(model_id: str | None = None) -> AsyncGenerator[messages.ModelChange, None]:
    """What the cache holds, and then what changes in it, whoever changes it.

    `model_id`: only this one, which need not be there yet; None: all. Each change has a `kind`
    (`framehost.messages.ModelChange.KIND_PRESENT`, `KIND_CHANGED`, `KIND_REMOVED`) and the `model` as it is then; one
    with more than 200 files has none of them, and `files_left_out`. Whoever reads slowly gets the latest state of each
    model, and may miss those in between.

    A generator that is closed, also by cancellation, ends the watch. Raises HubUnavailable when the hub ends;
    InvalidRequest, HubNotInstalled.
    """
    # A thread, as a hub may have to be started.
    found = await asyncio.to_thread(hub.find)
    async with grpc.aio.insecure_channel(found.address, options=CHANNEL_OPTIONS) as channel:
        wanted = messages.WatchModelsRequest(model_id=model_id or "")
        call = ModelManagementServiceStub(channel).WatchModels(wanted, metadata=found.metadata())
        try:
            while (change := await call.read()) is not grpc.aio.EOF:
                yield change
        except grpc.aio.AioRpcError as error:
            raise errors.of_model(error) from error
        finally:
            call.cancel()
