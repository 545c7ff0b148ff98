"""Where libraries may write: in a container with another user, no home and a read-only root.

astropy asks for a home when it is imported, and numba compiles nothing that it cannot keep. What
is missing is given to them in a directory of the process's own; where nothing is missing, nothing
is done.
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["prepare"]

_CACHE = "NUMBA_CACHE_DIR"


def prepare() -> None:
    """Give this process and its children a home, and a compile cache that may be written.

    A cache that may only be read (filled when the image was made) is used all the same: what is
    compiled beyond it is kept beside it until the process ends.
    """
    try:
        if not _has_home():
            os.environ["HOME"] = str(_own_directory())
        cache = os.environ.get(_CACHE)
        if cache is not None and not _may_write(cache):
            _use(_linked(cache))
    except OSError as e:
        # Not even a temporary directory: whoever needs one says so.
        print(f"residua: no directory may be written: {e}", file=sys.stderr)  # noqa: T201


def _has_home() -> bool:
    home = os.path.expanduser("~")  # noqa: PTH111 pathlib costs importing residua twenty modules
    return home != "~" and os.path.isdir(home)  # noqa: PTH112


def _may_write(directory: str) -> bool:
    """Whether it may be written, or be made."""
    place = os.path.abspath(directory)  # noqa: PTH100
    while not os.path.exists(place):  # noqa: PTH110
        place = os.path.dirname(place)  # noqa: PTH120
    return os.access(place, os.W_OK | os.X_OK)


def _own_directory() -> "Path":
    import atexit
    import shutil
    import tempfile
    from pathlib import Path

    made = Path(tempfile.mkdtemp(prefix="residua-"))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(made, ignore_errors=True)

    atexit.register(remove)
    return made


def _linked(cache: str) -> "Path":
    """Return a directory with a link to every file of a cache; numba replaces them whole."""
    from contextlib import suppress
    from pathlib import Path

    made = _own_directory() / "numba"
    made.mkdir()
    for folder, _, names in os.walk(cache):
        own = made / Path(folder).relative_to(cache)
        own.mkdir(exist_ok=True)
        for name in names:
            with suppress(FileExistsError):
                (own / name).symlink_to(Path(folder) / name)
    return made


def _use(cache: "Path") -> None:
    os.environ[_CACHE] = str(cache)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(cache)
