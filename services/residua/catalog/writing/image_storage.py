"""Which images are not kept for ever, as their outcomes say; `residua expire` writes the rest."""

from residua_schemas import DifferenceImageCreated, DifferenceImageOutcome

__all__ = ["StorageRow", "storage_row"]

type StorageRow = tuple[str, int, str, str]
"""Dataset id, number, storage and run, as `residua.obscore.set_storage` takes them."""

_STATES = {"recent": "recent", "none": "on demand"}


def storage_row(outcome: DifferenceImageOutcome) -> StorageRow | None:
    """Row of `image_storage` for an outcome; `None` for images that are kept for ever."""
    if not isinstance(outcome, DifferenceImageCreated) or outcome.store is None:
        return None
    state = _STATES[outcome.store]
    return str(outcome.dataset_id), outcome.revision, state, outcome.run
