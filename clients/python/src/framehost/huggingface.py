"""huggingface_hub, and with it transformers and all that is built on it, served by the host.

While this is installed the functions that find and fetch files of models answer with paths in the host's cache. What
else would ask the Hub about a model is told that it is offline, which its callers know how to take. Datasets, spaces,
searches and uploads go on as before.
"""

import math
import os
import re
import shutil
import threading
import time
from pathlib import Path

from . import errors
from .exchange import Exchange, Replacement

# Seconds for which the path of a branch's file holds, if that has not changed: one from_pretrained asks for the same file
# several times. What a commit has stays.
PATH_HOLDS = 1.0

_COMMIT = re.compile("[0-9a-f]{40}")

_lock = threading.Lock()
_installed = None


def install(models):
    """Installs the host as the source of models; the answer has `uninstall`."""
    global _installed
    with _lock:
        if _installed is not None:
            raise RuntimeError("another provider is installed in this process: uninstall it first")
        _installed = Installed(models)
        return _installed


class Installed:
    """What is exchanged, and how to take it back."""

    def __init__(self, models):
        # Only here, as it takes a while and not everybody needs it.
        from huggingface_hub import HfApi, _snapshot_download, file_download
        from huggingface_hub.utils import _http

        host = Host(models)
        self._exchanges = []
        try:
            for function, make in (
                (file_download.hf_hub_download, host.hf_hub_download),
                (file_download.try_to_load_from_cache, host.try_to_load_from_cache),
                (_snapshot_download.snapshot_download, host.snapshot_download),
                (HfApi.model_info, host.model_info),
                (HfApi.list_repo_tree, host.list_repo_tree),
            ):
                self._exchanges.append(Exchange(function, make))
            if hasattr(HfApi, "resolve_revision"):
                self._exchanges.append(Exchange(HfApi.resolve_revision, host.resolve_revision))
            if hasattr(_http, "hf_request_event_hook"):
                self._exchanges.append(Exchange(_http.hf_request_event_hook, host.request_hook))
            elif hasattr(_http, "UniqueRequestIdAdapter"):  # huggingface_hub before 1.0
                self._exchanges.append(Replacement(_http.UniqueRequestIdAdapter, "send", host.adapter_send))
        except BaseException:
            self._undo()
            raise

    def uninstall(self):
        global _installed
        with _lock:
            self._undo()
            if _installed is self:
                _installed = None

    def _undo(self):
        while self._exchanges:
            self._exchanges.pop().undo()


class Host:
    """huggingface_hub's functions by way of the host: each method takes the original and gives its replacement."""

    def __init__(self, models):
        self._models = models
        self._found = {}

    def hf_hub_download(self, original):
        def hf_hub_download(
            repo_id,
            filename,
            *,
            subfolder=None,
            repo_type=None,
            revision=None,
            local_dir=None,
            local_files_only=False,
            dry_run=False,
            **rest,
        ):
            if not _is_model(repo_type):
                passed = {
                    "local_dir": local_dir,
                    "local_files_only": local_files_only,
                    **({"dry_run": True} if dry_run else {}),
                }
                return original(
                    repo_id, filename, subfolder=subfolder, repo_type=repo_type, revision=revision, **passed, **rest
                )
            name = f"{subfolder}/{filename}" if subfolder else filename
            with self._translated(repo_id, name, revision, local_files_only):
                found = self._find(repo_id, name, _revision(revision), local_files_only)
            if dry_run:
                return _dry_run(found.commit, found.size_bytes, name, found.path)
            return _copied(found.path, local_dir, name) if local_dir is not None else found.path

        return hf_hub_download

    def _find(self, *asked):
        """Where a file is, checked: by what the host has said, if that holds and nobody has written to the file since."""
        until, found, seen = self._found.get(asked, (0, None, None))
        if time.monotonic() < until and _state_of(found.path) == seen:
            return found
        repo_id, name, revision, local_files_only = asked
        find = self._models.cached if local_files_only else self._models.resolve
        found = find(repo_id, name, revision)
        if len(self._found) > 1000:
            self._found.clear()
        holds = math.inf if _COMMIT.fullmatch(revision) else PATH_HOLDS
        self._found[asked] = (time.monotonic() + holds, found, _state_of(found.path))
        return found

    def try_to_load_from_cache(self, original):
        def try_to_load_from_cache(repo_id, filename, cache_dir=None, revision=None, repo_type=None):
            if not _is_model(repo_type):
                return original(repo_id, filename, cache_dir=cache_dir, revision=revision, repo_type=repo_type)
            try:
                return self._find(repo_id, filename, _revision(revision), True).path
            except (errors.ModelNotFound, errors.ModelDamaged, errors.InvalidRequest):
                # A file that is damaged is as good as none.
                return None
            except (errors.HubUnavailable, errors.Denied):
                # As is one that nobody can be asked for. The original cannot fail for that, and nobody expects it to.
                return None

        return try_to_load_from_cache

    def snapshot_download(self, original):
        def snapshot_download(
            repo_id,
            *,
            repo_type=None,
            revision=None,
            local_dir=None,
            local_files_only=False,
            allow_patterns=None,
            ignore_patterns=None,
            dry_run=False,
            **rest,
        ):
            if not _is_model(repo_type):
                passed = {
                    "local_dir": local_dir,
                    "local_files_only": local_files_only,
                    "allow_patterns": allow_patterns,
                    "ignore_patterns": ignore_patterns,
                    **({"dry_run": True} if dry_run else {}),
                }
                return original(repo_id, repo_type=repo_type, revision=revision, **passed, **rest)
            asked = (repo_id, _revision(revision), allow_patterns, ignore_patterns)
            with self._translated(repo_id, None, revision, local_files_only):
                if local_files_only:
                    path, names, model = self._models.snapshot(*asked)
                    commit, is_whole = model.commit, model.complete
                else:
                    path, names, commit, is_whole = self._models.bring(*asked)
                    # The revision may be another one now.
                    self._found.clear()
            # Of a choice it cannot be told: callers also name files that a model may have or not.
            if not is_whole and allow_patterns is None and ignore_patterns is None:
                raise _incomplete(f"model {repo_id} at {commit} is not whole in framehost's cache", path)
            if dry_run:
                return [_dry_run(commit, os.path.getsize(f"{path}/{name}"), name, f"{path}/{name}") for name in names]
            if local_dir is None:
                return path
            for name in names:
                _copied(f"{path}/{name}", local_dir, name)
            return os.path.realpath(local_dir)

        return snapshot_download

    def model_info(self, original):
        def model_info(api, repo_id, *, revision=None, **_):
            from huggingface_hub.hf_api import ModelInfo

            model = self._listed(repo_id, revision)
            siblings = [{"rfilename": file.file_path, "size": file.size_bytes} for file in model.files]
            return ModelInfo(
                id=repo_id,
                sha=model.commit,
                siblings=siblings,
                private=False,
                disabled=False,
                downloads=0,
                likes=0,
                tags=[],
            )

        return model_info

    def resolve_revision(self, original):
        """The original would note what it has found in this process's own cache."""

        def resolve_revision(api, repo_id, *, repo_type=None, revision=None, **rest):
            if not _is_model(repo_type):
                return original(api, repo_id, repo_type=repo_type, revision=revision, **rest)
            if getattr(revision, "_repo_id", None) not in (None, repo_id):
                revision = revision.initial
            if hasattr(revision, "resolved"):
                return revision
            from huggingface_hub import ResolvedRevision

            return ResolvedRevision(self._listed(repo_id, revision).commit, revision, repo_id, "model")

        return resolve_revision

    def list_repo_tree(self, original):
        def list_repo_tree(api, repo_id, path_in_repo=None, *, recursive=False, revision=None, repo_type=None, **rest):
            if not _is_model(repo_type):
                return original(
                    api, repo_id, path_in_repo, recursive=recursive, revision=revision, repo_type=repo_type, **rest
                )
            return self._tree(self._listed(repo_id, revision), path_in_repo, recursive)

        return list_repo_tree

    @staticmethod
    def _tree(model, path_in_repo, recursive):
        from huggingface_hub.hf_api import RepoFile, RepoFolder

        inside = f"{path_in_repo.strip('/')}/" if path_in_repo else ""
        folders = set()
        for file in model.files:
            if not file.file_path.startswith(inside):
                continue
            folder, separator, _ = file.file_path[len(inside) :].partition("/")
            if separator and not recursive:
                if folder not in folders:
                    folders.add(folder)
                    yield RepoFolder(path=inside + folder, oid="")
            else:
                yield RepoFile(path=file.file_path, size=file.size_bytes, oid="")

    def request_hook(self, original):
        def hf_request_event_hook(request):
            _refuse(request)
            return original(request)

        return hf_request_event_hook

    def adapter_send(self, original):
        def send(adapter, request, *args, **kwargs):
            _refuse(request)
            return original(adapter, request, *args, **kwargs)

        return send

    def _listed(self, repo_id, revision):
        with self._translated(repo_id, None, revision, False):
            return self._models.revision(repo_id, _revision(revision))

    def _translated(self, repo_id, file_path, revision, local_files_only):
        return _Translated(self._models, repo_id, file_path, revision, local_files_only)


class _Translated:
    """Errors of ours become huggingface_hub's own, which its callers know."""

    def __init__(self, models, repo_id, file_path, revision, local_files_only):
        self._models = models
        self._asked = (repo_id, file_path, revision)
        self._local = local_files_only

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, errors.FramehostError):
            raise self._translation(error) from error

    def _translation(self, error):
        from huggingface_hub import errors as hf

        repo_id, file_path, revision = self._asked
        if isinstance(error, errors.ModelDamaged):
            return hf.CorruptedCacheException(str(error))
        if isinstance(error, errors.InvalidRequest):
            return hf.HFValidationError(str(error))
        if isinstance(error, errors.Denied) and error.reason == "gated":
            return hf.GatedRepoError(str(error), response=Response(403, f"framehost:{repo_id}"))
        if not isinstance(error, errors.ModelNotFound) or self._local:
            # Nobody to ask, or nobody may be asked.
            return hf.LocalEntryNotFoundError(str(error))
        kind = {
            "no_such_model": hf.RepositoryNotFoundError,
            "no_such_revision": hf.RevisionNotFoundError,
            "no_such_file": getattr(hf, "RemoteEntryNotFoundError", hf.EntryNotFoundError),
        }[error.reason or self._missing(repo_id, revision)]
        translated = kind(str(error), response=Response(404, f"framehost:{repo_id}/{file_path or ''}"))
        translated.repo_id, translated.repo_type = repo_id, "model"
        return translated

    def _missing(self, repo_id, revision):
        """The word for what the host has not."""
        try:
            self._models.revision(repo_id, _revision(revision))
        except errors.FramehostError as error:
            return error.reason or "no_such_model"
        return "no_such_file"


class Response:
    """As much of an HTTP response as huggingface_hub's errors look at."""

    def __init__(self, status_code, url):
        self.status_code = status_code
        self.url = url
        self.headers = {}
        self.request = None
        self.text = ""
        self.content = b""


# What reads a model, or a file of one. Repositories of other kinds have their kind before their name.
_MODEL_API = re.compile(r"/api/models/[^/]+")
_MODEL_FILE = re.compile(r"/(?!(?:datasets|spaces|kernels|buckets|api)/)[^/]+(?:/[^/]+)?/resolve/")


def _refuse(request):
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    url = str(request.url)
    path = url[len(constants.ENDPOINT) :].partition("?")[0]
    # Reading, which one call does by POST.
    if not url.startswith(constants.ENDPOINT) or not (request.method in ("GET", "HEAD") or "/paths-info/" in path):
        return
    if _MODEL_API.match(path) or _MODEL_FILE.match(path):
        raise OfflineModeIsEnabled(f"cannot reach {url}: models come from framehost in this process, until uninstall()")


def _state_of(path):
    """What changes when somebody writes to a file; None if it is gone."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _is_model(repo_type):
    return repo_type in (None, "model")


def _revision(revision):
    """A revision as a plain string: one that has been resolved is its commit."""
    return str(getattr(revision, "resolved", revision) or "")


def _incomplete(message, path):
    from huggingface_hub import errors as hf

    if hasattr(hf, "IncompleteSnapshotError"):
        return hf.IncompleteSnapshotError(message, path)
    return hf.LocalEntryNotFoundError(message)


def _dry_run(commit, size, name, path):
    from huggingface_hub.file_download import DryRunFileInfo

    return DryRunFileInfo(
        commit_hash=commit, file_size=size, filename=name, local_path=path, is_cached=True, will_download=False
    )


def _copied(path, local_dir, name):
    """A copy in the directory that the caller wants one in."""
    into = Path(local_dir).expanduser().resolve() / name
    into.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, into)
    return str(into)
