"""Preparing a Butler for a file that goes: from then on it makes the image when it is not there."""

from lsst.daf.butler import Butler

from residua.butler.failures import translated
from residua.butler.repository import RECREATING
from residua.errors import ResiduaError
from residua.identity import number_of_key
from residua.inner_names import record_file
from residua_schemas import DifferenceImageCreated

__all__ = ["prepare_butler"]


def prepare_butler(butler: Butler, created: DifferenceImageCreated) -> bool:
    """Have an image read by what makes it again, before its file goes.

    Safe to do twice, and beside a registrar: where that has a later image already, nothing is
    done.

    Returns
    -------
    prepared
        False where the repository has no such dataset, or a later image of it.

    Raises
    ------
    residua.errors.TransientError
        The database does not answer.
    """
    try:
        with butler.transaction():
            ref = butler.get_dataset(created.dataset_id)
            if ref is None or not butler.stored(ref):
                return False
            location = butler.getURI(ref)
            named = number_of_key(location.path)
            if named is None or named[0] != created.revision:
                return False
            record_file(butler, ref, location, RECREATING)
    except ResiduaError:
        raise
    except Exception as e:
        raise translated(e) from e
    return True
