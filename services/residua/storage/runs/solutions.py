"""Kept solutions, beside the images of their run: put once, by whoever solves first."""

import structlog
from lsst.resources import ResourcePath

from residua.errors import MissingFileError
from residua.ports import KeptSolution
from residua.storage.exclusive import put_if_absent
from residua.storage.forms.solution_file import read_solution, write_solution
from residua.storage.objects import checksum_of, publish_bytes, read_object, resolve
from residua.subtraction.errors import DamagedSolutionError
from residua.subtraction.steps.solution import Solution
from residua_schemas import SolutionReference

__all__ = ["SolutionFiles"]

_LOG = structlog.get_logger(__name__)


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
            _LOG.warning("solution_damaged", uri=location.geturl(), error=str(e))
            return None
        return KeptSolution(solution, _reference(location, checksum, len(content)))

    def keep(self, name: str, solution: Solution) -> KeptSolution:
        """Put a solution, or find that another was first: whichever stands there is returned.

        One that cannot be read is replaced.
        """
        location, content = resolve(name, [self._root]), write_solution(solution)
        if put_if_absent(location, content):
            return KeptSolution(solution, _reference(location, checksum_of(content), len(content)))
        kept = self.find(name)
        if kept is None:
            # Damaged, it serves nobody: images that refer to it are solved again all the same.
            publish_bytes(location, content)
            return KeptSolution(solution, _reference(location, checksum_of(content), len(content)))
        return kept


def _reference(location: ResourcePath, checksum: str, size: int) -> SolutionReference:
    return SolutionReference(uri=location.geturl(), checksum=checksum, size_bytes=size)
