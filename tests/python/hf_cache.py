"""Writes models into a Hugging Face cache directory, in the layout that huggingface_hub uses."""

import hashlib
from pathlib import Path


def git_sha1(data):
    """The name of a small file's bytes: git's."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def commit_of(text):
    """Forty hex digits that stand for a revision."""
    return hashlib.sha1(text.encode()).hexdigest()


def write_model(cache, model_id, files, revision="main", commit=None, blob_name=sha256):
    """Puts `files` (path: bytes) there as `revision` of `model_id`, and answers with the commit.

    `blob_name` names the bytes: sha256 as for large files, git_sha1 as for small ones.
    """
    commit = commit or commit_of(f"{model_id}@{revision}")
    folder = Path(cache) / ("models--" + model_id.replace("/", "--"))
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "blobs").mkdir(exist_ok=True)
    (folder / "refs" / revision).write_text(commit)
    for file_path, data in files.items():
        blob = folder / "blobs" / blob_name(data)
        blob.write_bytes(data)
        link = folder / "snapshots" / commit / file_path
        link.parent.mkdir(parents=True, exist_ok=True)
        up = "../" * (2 + file_path.count("/"))
        link.unlink(missing_ok=True)
        link.symlink_to(f"{up}blobs/{blob.name}")
    return commit


def blob_path(cache, model_id, commit, file_path):
    """The file that holds the bytes."""
    return (Path(cache) / ("models--" + model_id.replace("/", "--")) / "snapshots" / commit / file_path).resolve()
