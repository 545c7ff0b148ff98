"""Image-sized buffers kept between subtractions.

A fresh plane of a full detector costs more, in page faults, than most of the arithmetic done
on it. A worker that subtracts one detector after another therefore keeps its planes.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["PlanePool"]


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
