"""What a short command loads, and what it need not."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["load_lsst_images_alone", "without_butler"]

_BUTLER = "lsst.daf.butler"


def load_lsst_images_alone() -> None:
    """Load ``lsst.images`` as where no Butler is installed, for a process that asks none.

    ``lsst.images`` can do without Butler and takes it along wherever it finds it; with it come
    SQLAlchemy and half of all that a subtraction of two files loads. Does nothing once either
    has been loaded; Butler itself can be loaded afterwards as ever.
    """
    if "lsst.images" not in sys.modules:
        with without_butler():
            import lsst.images  # noqa: F401


@contextmanager
def without_butler() -> Iterator[None]:
    """Let ``lsst.images``, should a file need it, be loaded without Butler meanwhile."""
    if _BUTLER in sys.modules:
        yield
        return
    # As the import statement's own documentation has it: None is a module that is not there.
    sys.modules[_BUTLER] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_BUTLER]
