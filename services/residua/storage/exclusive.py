"""Putting an object only if its name is free, and listing names: what a ledger needs of a store."""

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from lsst.resources import ResourcePath

from residua.errors import TransientError
from residua.storage.objects import attempt, read_object
from residua.storage.waits import waiting_for_store

__all__ = ["list_names", "list_times", "probe", "put_if_absent"]

_TAKEN = {"PreconditionFailed", "412"}
_CONFLICT = {"ConditionalRequestConflict", "409"}


def put_if_absent(location: ResourcePath, content: bytes) -> bool:
    """Put an object whole, if there is none of its name.

    Returns
    -------
    put
        Whether these bytes stand there now, by us; False: the name was taken before.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer, or cannot do this.
    """
    if location.isLocal:
        return _link(Path(location.ospath), content)
    if location.scheme == "s3":
        return _put_on_s3(location, content)
    raise TransientError(f"{location}: a store of kind {location.scheme!r} cannot put if absent")


def list_names(folder: ResourcePath) -> list[str]:
    """Return the names directly in a folder, sorted; empty when there is no such folder.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    if folder.isLocal:
        return sorted(path.name for path in _local_files(folder))
    return sorted(attempt(folder, lambda: _list_s3(_listable(folder))))


def list_times(folder: ResourcePath) -> dict[str, datetime]:
    """Return when each of the files directly in a folder was written, by name.

    Of S3 a listing tells it: one request for each 1,000 of them, none for each.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    if not folder.isLocal:
        return attempt(folder, lambda: _list_s3(_listable(folder)))
    found = {}
    for path in _local_files(folder):
        # Another may remove it meanwhile.
        with waiting_for_store(), suppress(FileNotFoundError):
            found[path.name] = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return found


def _local_files(folder: ResourcePath) -> list[Path]:
    with waiting_for_store():
        try:
            found = list(Path(folder.ospath).iterdir())
        except FileNotFoundError:
            return []
        except OSError as e:
            raise TransientError(f"{folder} cannot be listed: {e}") from e
    return [path for path in found if not path.name.startswith(".")]


def _listable(folder: ResourcePath) -> ResourcePath:
    if folder.scheme != "s3":
        raise TransientError(f"{folder}: a store of kind {folder.scheme!r} cannot be listed")
    return folder


def probe(folder: ResourcePath) -> None:
    """Return if the store keeps its word: some accept the condition and ignore it.

    Raises
    ------
    residua.errors.TransientError
        It does not: use another store.
    """
    location = folder.join(f".probe-{uuid4().hex}")
    first, second = put_if_absent(location, b"first"), put_if_absent(location, b"second")
    content, _ = read_object(location, None)
    attempt(location, location.remove)
    if (first, second, content) != (True, False, b"first"):
        raise TransientError(
            f"{folder} does not put objects only if absent (S3's If-None-Match): two workers could "
            "contradict each other; use a store that does, or a directory"
        )


def _link(target: Path, content: bytes) -> bool:
    temporary = target.parent / f".{target.name}.{uuid4().hex}.part"
    try:
        with waiting_for_store():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                # One of any number of processes makes the name; a rename would replace it.
                os.link(temporary, target)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            descriptor = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as e:
        raise TransientError(f"{target} cannot be written: {e}") from e
    return True


def _put_on_s3(location: Any, content: bytes) -> bool:
    bucket, key = location.netloc.rpartition("@")[2], location.relativeToPathRoot
    for _ in range(10):
        try:
            with waiting_for_store():
                location.client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
        except Exception as e:
            response = getattr(e, "response", None) or {}
            code = str(response.get("Error", {}).get("Code", ""))
            if code in _TAKEN:
                # Also when the client's own second try met what its first had put.
                return read_object(location, None)[0] == content
            if code in _CONFLICT:
                time.sleep(0.1)
                continue
            raise TransientError(f"{location} cannot be written: {type(e).__name__}: {e}") from e
        else:
            return True
    raise TransientError(f"{location} cannot be written: others write it all the time")


def _list_s3(folder: Any) -> dict[str, datetime]:
    bucket, prefix = folder.netloc.rpartition("@")[2], folder.relativeToPathRoot
    pages = folder.client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, Delimiter="/"
    )
    return {
        item["Key"][len(prefix) :]: item["LastModified"]
        for page in pages
        for item in page.get("Contents", ())
    }
