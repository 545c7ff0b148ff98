"""Object access: local files and S3 through ``lsst.resources``, only under given roots."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from uuid import uuid4

from lsst.resources import ResourcePath

from residua.errors import (
    ChecksumMismatchError,
    MissingFileError,
    TransientError,
    UriNotAllowedError,
)
from residua.storage.waits import waiting_for_store

__all__ = [
    "attempt",
    "checksum_of",
    "local_path",
    "publish",
    "publish_bytes",
    "read_object",
    "read_start",
    "relative_name",
    "resolve",
    "root_of",
]

_ROOT_REMEDY = "move the file there or have the operator add its root"


def resolve(uri: str, roots: Sequence[str]) -> ResourcePath:
    """Return the location of a URI, if it lies under one of the roots.

    Parameters
    ----------
    uri
        ``file://``, ``s3://``, an absolute path, or a path relative to one of the roots.
    roots
        Directories or ``s3://bucket/prefix``.

    Raises
    ------
    residua.errors.UriNotAllowedError
        Outside the roots: other directory or bucket, ``..``, or a link that leads out.
    """
    if "\0" in uri or ".." in PurePosixPath(unquote(uri.split("?", 1)[0])).parts:
        raise UriNotAllowedError(f"{uri!r} contains '..' or a null byte; give a plain path")
    try:
        candidates = _candidates(uri, roots)
    except (ValueError, NotImplementedError, ImportError) as e:
        raise UriNotAllowedError(f"{uri!r} is not a URI that can be read here: {e}") from e
    allowed = [c for c, root in candidates if _is_under(c, root)]
    for location in allowed:
        # A relative path may exist under one root and not under another.
        if len(allowed) == 1 or attempt(location, location.exists):
            return location
    if allowed:
        return allowed[0]
    listed = ", ".join(roots) or "none configured"
    raise UriNotAllowedError(f"{uri} lies outside the allowed roots ({listed}); {_ROOT_REMEDY}")


def root_of(location: ResourcePath, roots: Sequence[str]) -> ResourcePath | None:
    """Return the root that a location lies under, or `None`."""
    for text in roots:
        root = ResourcePath(text, forceDirectory=True, forceAbsolute=True)
        if _is_under(location, root):
            return root
    return None


def _candidates(uri: str, roots: Sequence[str]) -> list[tuple[ResourcePath, ResourcePath]]:
    result = []
    for text in roots:
        root = ResourcePath(text, forceDirectory=True, forceAbsolute=True)
        relative = "://" not in uri and not PurePosixPath(uri).is_absolute()
        location = root.join(uri) if relative else ResourcePath(uri, forceAbsolute=True)
        result.append((location, root))
    return result


def _is_under(location: ResourcePath, root: ResourcePath) -> bool:
    if location.scheme != root.scheme or location.netloc != root.netloc:
        return False
    if location.isLocal:
        path, base = Path(location.ospath).resolve(), Path(root.ospath).resolve()
        return path != base and path.is_relative_to(base)
    relative = location.relative_to(root)
    return relative is not None and relative not in {"", ".", "./"}


def local_path(uri: str) -> Path:
    """Return the path of a local URI or path.

    Raises
    ------
    residua.errors.UriNotAllowedError
        Not a local file.
    """
    location = ResourcePath(uri, forceAbsolute=True)
    if not location.isLocal:
        raise UriNotAllowedError(f"{uri} is not a local file")
    return Path(location.ospath)


def relative_name(uri: str, roots: Sequence[str]) -> str:
    """Return the path of a URI below its root: how it is named where roots may move."""
    for location, root in _candidates(uri, roots):
        if _is_under(location, root):
            if location.isLocal:
                path = Path(location.ospath).resolve()
                return path.relative_to(Path(root.ospath).resolve()).as_posix()
            return location.relative_to(root) or uri
    return uri


def read_object(location: ResourcePath, checksum: str | None) -> tuple[bytes, str]:
    """Read an object whole.

    Parameters
    ----------
    location
        Where.
    checksum
        What its bytes must add up to, if known.

    Returns
    -------
    content, checksum
        The bytes, and ``sha256:`` of these very bytes.

    Raises
    ------
    residua.errors.MissingFileError
        No such object.
    residua.errors.ChecksumMismatchError
        Other bytes than announced.
    residua.errors.TransientError
        The store does not answer.
    """
    if location.isLocal and not Path(location.ospath).is_file():
        raise MissingFileError(f"{location} does not exist or is no file")
    content = attempt(location, location.read)
    found = checksum_of(content)
    if checksum is not None and found != checksum:
        raise ChecksumMismatchError(
            f"{location} has {found}, the event announced {checksum}",
            size_bytes=len(content),
        )
    return content, found


def read_start(location: ResourcePath, size: int) -> bytes:
    """Read the first ``size`` bytes of an object, or all when there are fewer.

    Raises
    ------
    residua.errors.MissingFileError, residua.errors.TransientError
        As for `read_object`.
    """
    if location.isLocal and not Path(location.ospath).is_file():
        raise MissingFileError(f"{location} does not exist or is no file")
    return attempt(location, lambda: location.read(size))


def attempt[T](location: ResourcePath, action: Callable[[], T]) -> T:
    """Call a store, and say what went wrong in our words.

    Raises
    ------
    residua.errors.MissingFileError
        There is no such object, or it may not be read.
    residua.errors.TransientError
        The store does not answer.
    """
    try:
        with waiting_for_store():
            return action()
    except (FileNotFoundError, IsADirectoryError) as e:
        if _code(e.__cause__ or e) == "NoSuchBucket":
            raise TransientError(f"{location}: the bucket is not there") from e
        raise MissingFileError(f"{location} does not exist") from e
    except PermissionError as e:
        raise MissingFileError(
            f"{location} may not be read by this service: {e}; grant it access"
        ) from e
    except Exception as e:
        if _code(e) == "NoSuchBucket":
            raise TransientError(f"{location}: the bucket is not there") from e
        if _is_missing(e):
            raise MissingFileError(f"{location} does not exist") from e
        if _code(e) in {"403", "AccessDenied"}:
            # What S3 says of a missing object too, to those who may not list.
            raise TransientError(
                f"{location} is refused to these credentials; they need s3:GetObject and "
                "s3:ListBucket, and s3:PutObject under the output root"
            ) from e
        # Whatever else a store raises: it cannot serve now, and may do so later.
        raise TransientError(f"{location} cannot be reached: {type(e).__name__}: {e}") from e


def _is_missing(error: Exception) -> bool:
    return _code(error) in {"404", "NoSuchKey"}


def _code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def checksum_of(content: bytes) -> str:
    """Return ``sha256:`` and the digest of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def publish(
    folder: ResourcePath,
    write: Callable[[Path], None],
    name: Callable[[str], str],
    announce: Callable[[ResourcePath, str, int], None] = lambda _location, _checksum, _size: None,
    *,
    flush: bool = True,
    put: bool = True,
) -> tuple[ResourcePath, str, int]:
    """Put a file in place whole or not at all.

    Locally: written under a temporary name in the same directory, flushed to the disk, then
    renamed. On an object store: written to a temporary file here, then sent by one PUT.

    Parameters
    ----------
    folder
        Where it goes.
    write
        Writes the file at the path it is given (which does not exist yet).
    name
        From the checksum of its bytes to its name in the folder; an object there is replaced.
    announce
        Called with place, checksum and size when the file is complete, before it is put there.
    flush
        Wait until a local disk has it: not needed for what only helps after a crash.
    put
        Whether it is put there after all; else only its checksum, size and name are had.

    Returns
    -------
    location, checksum, size_bytes
        Where, and of the bytes that were put.

    Raises
    ------
    residua.errors.TransientError
        The store cannot be written to now. Nothing is left behind.
    """
    try:
        if folder.isLocal:
            return _publish_locally(folder, write, name, announce, flush=flush, put=put)
        with tempfile.TemporaryDirectory(prefix="residua-") as temporary:
            path = Path(temporary) / "file.fits"
            write(path)
            content = path.read_bytes()
        checksum = checksum_of(content)
        location = folder.join(name(checksum))
        announce(location, checksum, len(content))
        if put:
            attempt(location, lambda: location.write(content, overwrite=True))
    except (MissingFileError, OSError) as e:
        raise TransientError(f"{folder} cannot be written to: {e}") from e
    return location, checksum, len(content)


def publish_bytes(location: ResourcePath, content: bytes, *, flush: bool = True) -> None:
    """Put a small object in place whole or not at all; see `publish`."""

    def write(path: Path) -> None:
        path.write_bytes(content)

    publish(location.dirname(), write, lambda _checksum: location.basename(), flush=flush)


def _publish_locally(
    folder: ResourcePath,
    write: Callable[[Path], None],
    name: Callable[[str], str],
    announce: Callable[[ResourcePath, str, int], None],
    *,
    flush: bool,
    put: bool,
) -> tuple[ResourcePath, str, int]:
    directory = Path(folder.ospath)
    directory.mkdir(parents=True, exist_ok=True)
    # Hidden and without the suffix: nobody takes it for the file, not even after a crash.
    temporary = directory / f".{uuid4().hex}.part"
    try:
        write(temporary)
        content = temporary.read_bytes()
        checksum = checksum_of(content)
        location = folder.join(name(checksum))
        announce(location, checksum, len(content))
        if put:
            with waiting_for_store():
                if flush:
                    _sync(temporary)
                temporary.replace(location.ospath)
                if flush:
                    _sync(directory)
    finally:
        temporary.unlink(missing_ok=True)
    return location, checksum, len(content)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
