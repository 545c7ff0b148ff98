"""The chains of collections that users open."""

from collections.abc import Iterable

from lsst.daf.butler import Butler, CollectionType

from residua.butler.repository import TEMPLATE_RUNS, VISIT_RUN

__all__ = ["Chains"]


class Chains:
    """What a process has put into the chains of a repository, so that it is asked once.

    Parameters
    ----------
    butler
        A writeable Butler.
    collection
        Chain that users open; new runs go to its front.
    """

    def __init__(self, butler: Butler, collection: str) -> None:
        self._butler = butler
        self._collection = collection
        self._chained: set[str] = set()

    def give_defaults(self, instruments: Iterable[str]) -> None:
        """Let every instrument have its chain of defaults, under the name Rubin gives it."""
        for instrument in instruments:
            name = f"{instrument}/defaults"
            if name in self._chained:
                continue
            collections = self._butler.collections
            collections.register(name, CollectionType.CHAINED)
            if self._collection not in collections.get_info(name).children:
                collections.extend_chain(name, [self._collection])
            self._chained.add(name)

    def extend(self, runs: set[str]) -> None:
        """Put runs into the chain that users open."""
        if runs <= self._chained:
            return
        collections = self._butler.collections
        collections.register(self._collection, CollectionType.CHAINED)
        there = set(collections.get_info(self._collection).children)
        # Inputs stay behind the runs: nobody looks for a difference image there.
        new = sorted(runs - there)
        front = [run for run in new if run != VISIT_RUN and not run.startswith(TEMPLATE_RUNS)]
        collections.prepend_chain(self._collection, front)
        collections.extend_chain(self._collection, [run for run in new if run not in front])
        self._chained |= runs
