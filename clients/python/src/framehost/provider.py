"""`RustFileProvider`: files of models from the host's cache."""

from __future__ import annotations

import grpc

from . import huggingface
from .models import Models
from .target import target_of


class RustFileProvider:
    """Model files from the framehost hub, for this process.

    `rust_grpc_channel`: a channel of grpc.aio or grpc, a stub of ModelManagementService on either, an address
    ("localhost:50052"), or nothing for the hub that `framehost.connect()` would find. Where nobody answers on port
    50052 of this machine the user's hub is started.

    Methods may be called from any thread, also from one whose event loop runs: they wait, and need nothing of it.
    """

    def __init__(self, rust_grpc_channel: grpc.aio.Channel | grpc.Channel | str | object | None = None) -> None:
        self._models = _models_of(rust_grpc_channel)
        self._installed = None

    def get_file(self, model_id: str, file_path: str) -> bytes:
        """The bytes of a model's file, checked against its digest.

        `model_id`: "org/name" or "name"; `file_path`: inside the model, "onnx/model.onnx". Of revision "main".

        Raises ModelNotFound (a FileNotFoundError), ModelDamaged, InvalidRequest, Denied, HubUnavailable and
        HubNotInstalled.
        """
        return self._models.read(model_id, file_path)

    def get_file_path(self, model_id: str, file_path: str) -> str:
        """The absolute path of a model's file in the host's cache, checked against its digest; nothing is copied.

        Read it, never write to it. Arguments and errors: as `get_file`.
        """
        return self._models.resolve(model_id, file_path).path

    def install(self) -> RustFileProvider:
        """From now on `from_pretrained`, `hf_hub_download` and `snapshot_download` of this process get models from it.

        They answer with paths in the host's cache; `cache_dir` and `force_download` count no more. Datasets, spaces and
        uploads go on as before. Until `uninstall`, or the end of a `with provider.install():`.

        Raises ImportError without huggingface_hub, and RuntimeError where another provider is installed.
        """
        if self._installed is None:
            self._installed = huggingface.install(self._models)
        return self

    def uninstall(self) -> None:
        """Takes `install` back."""
        if self._installed is not None:
            self._installed.uninstall()
            self._installed = None

    def __enter__(self) -> RustFileProvider:
        return self

    def __exit__(self, *_) -> None:
        self.uninstall()


def _models_of(given):
    if given is None or isinstance(given, str):
        return Models(target=given)
    if isinstance(given, grpc.Channel):
        return Models(channel=given, target=target_of(given))
    if isinstance(given, grpc.aio.Channel):
        # Where its target cannot be told the hub that is found is the best guess.
        return Models(target=target_of(given))
    if not hasattr(given, "GetModelFile"):
        raise TypeError(f"a channel of grpc or grpc.aio, a stub or an address, not {type(given).__name__}")
    # Stubs of other generated code take other classes of messages than ours, but each call knows its channel.
    target = target_of(given.GetModelFile)
    is_asynchronous = isinstance(given.GetModelFile, grpc.aio.UnaryStreamMultiCallable)
    return Models(target=target) if target is not None or is_asynchronous else Models(stub=given)
