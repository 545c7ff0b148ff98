"""Image-sized buffers kept between subtractions.

A fresh plane of a full detector costs more, in page faults, than most of the arithmetic done
on it. A worker that subtracts one detector after another therefore keeps its planes.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["Loans", "PlanePool"]


class PlanePool:
    """Named planes of 4-byte pixels, made on first use and handed out again afterwards.

    Not thread-safe: one pool serves one subtraction at a time. Planes handed out under a name
    share memory with those handed out under the same name before.
    """

    def __init__(self) -> None:
        self._planes: dict[str, npt.NDArray[np.int32]] = {}

    def float_plane(self, name: str, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        """float32 plane with undefined content."""
        return self.mask_plane(name, shape).view(np.float32)

    def mask_plane(self, name: str, shape: tuple[int, int]) -> npt.NDArray[np.int32]:
        """int32 plane with undefined content."""
        plane = self._planes.get(name)
        if plane is None or plane.size < shape[0] * shape[1]:
            plane = self._planes[name] = np.empty(shape[0] * shape[1], np.int32)
        return plane[: shape[0] * shape[1]].reshape(shape)

    @property
    def n_bytes(self) -> int:
        """Memory held, bytes."""
        return sum(plane.nbytes for plane in self._planes.values())


class Loans:
    """Planes lent by the name of what they hold, and given back when nobody needs it any more.

    Parameters
    ----------
    pool
        Whose memory is lent.
    shape
        (ny, nx) of all planes.
    """

    def __init__(self, pool: PlanePool, shape: tuple[int, int]) -> None:
        self._pool = pool
        self._shape = shape
        self._lent: dict[str, str] = {}
        self._free: list[str] = []
        self._made = 0

    def mask_plane(self, content: str) -> npt.NDArray[np.int32]:
        """int32 plane with undefined content."""
        if content in self._lent:
            raise ValueError(f"a plane for {content!r} is lent already")
        if not self._free:
            self._made += 1
            self._free.append(f"plane {self._made}")
        self._lent[content] = self._free.pop()
        return self._pool.mask_plane(self._lent[content], self._shape)

    def float_plane(self, content: str) -> npt.NDArray[np.float32]:
        """float32 plane with undefined content."""
        return self.mask_plane(content).view(np.float32)

    def give_back(self, content: str) -> None:
        """Let the memory be used for something else."""
        self._free.append(self._lent.pop(content))
