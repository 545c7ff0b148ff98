"""Kept solutions, beside the images of their run: put once, by whoever solves first."""

from lsst.resources import ResourcePath

from residua.errors import MissingFileError, TransientError
from residua.ports import KeptSolution
from residua.storage.exclusive import put_if_absent
from residua.storage.forms.solution_file import read_solution, write_solution
from residua.storage.objects import checksum_of, read_object, resolve
from residua.subtraction.errors import DamagedSolutionError
from residua.subtraction.solution import Solution
from residua_schemas import SolutionReference

__all__ = ["SolutionFiles"]


class SolutionFiles:
    """Solutions under an output root: a `residua.ports.SolutionShelf`."""

    def __init__(self, output_root: str) -> None:
        root = ResourcePath(output_root, forceDirectory=True, forceAbsolute=True)
        self._root = root.geturl()

    def find(self, name: str) -> KeptSolution | None:
        """Return the solution of a name, if there is one that can be read."""
        location = resolve(name, [self._root])
        try:
            content, checksum = read_object(location, None)
        except MissingFileError:
            return None
        try:
            solution = read_solution(content)
        except DamagedSolutionError as e:
            raise TransientError(
                f"{location} was damaged ({e}): remove it, and the subtraction is solved again"
            ) from e
        return KeptSolution(solution, _reference(location, checksum, len(content)))

    def keep(self, name: str, solution: Solution) -> KeptSolution:
        """Put a solution, or find that another was first: whichever stands there is returned."""
        location, content = resolve(name, [self._root]), write_solution(solution)
        if put_if_absent(location, content):
            return KeptSolution(solution, _reference(location, checksum_of(content), len(content)))
        kept = self.find(name)
        if kept is None:
            raise TransientError(f"{location} was there and is gone: somebody removes solutions")
        return kept


def _reference(location: ResourcePath, checksum: str, size: int) -> SolutionReference:
    return SolutionReference(uri=location.geturl(), checksum=checksum, size_bytes=size)
