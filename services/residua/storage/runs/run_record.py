"""What a run is made with, written down once beside its images: it cannot change silently.

``RUN/run.json`` is put only if it is absent, by the worker that comes first. Whoever finds another
one there has other settings under the same name, and must not go on.
"""

import json
from dataclasses import asdict, dataclass
from functools import cache

from lsst.resources import ResourcePath
from pydantic import JsonValue

from residua.errors import MissingFileError, ResiduaError, TransientError
from residua.storage.exclusive import put_if_absent
from residua.storage.objects import read_object

__all__ = ["RunChangedError", "RunRecord", "keep_run", "read_run"]


class RunChangedError(ResiduaError):
    """The settings are not those the run was begun with."""

    responsible = "operator"


@dataclass(frozen=True)
class RunRecord:
    """All that decides the bytes of a run's images beside their inputs and the software.

    Parameters
    ----------
    run
        Name of the run.
    configuration
        Of the subtraction, as a JSON object.
    configuration_hash
        sha256 of its canonical JSON.
    template_set
        Name of the template set.
    authority
        IVOA authority of the publisher DIDs.
    zero_point
        AB magnitude of one unit of the images, for files that do not say.
    lossless
        Whether pixels are compressed without loss.
    """

    run: str
    configuration: dict[str, JsonValue]
    configuration_hash: str
    template_set: str
    authority: str
    zero_point: float | None
    lossless: bool


def keep_run(output_root: str, record: RunRecord) -> None:
    """Write a run down, or find that it was written down the same.

    Raises
    ------
    RunChangedError
        It was begun with other settings.
    residua.errors.TransientError
        The store does not answer.
    """
    text = json.dumps(asdict(record), sort_keys=True, indent=1)
    if put_if_absent(_place(output_root, record.run), text.encode()):
        return
    there = read_run(output_root, record.run)
    if there is None:
        raise TransientError(f"{_place(output_root, record.run)} is there and cannot be read")
    then, now = asdict(there), asdict(record)
    changed = [
        f"{name} {then[name]!r}, now {now[name]!r}" for name in now if then[name] != now[name]
    ]
    if changed:
        raise RunChangedError(
            f"the run {record.run} was begun with {'; '.join(changed)}: set it back, or give a "
            "RESIDUA_RUN_LABEL of its own to what is to be another run"
        )


def read_run(output_root: str, run: str) -> RunRecord | None:
    """Return what a run is made with; `None` for runs that releases before 1.4 alone worked in.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer, or the record is damaged.
    """
    place = _place(output_root, run)
    try:
        content, _ = read_object(place, None)
    except MissingFileError:
        return None
    try:
        return RunRecord(**json.loads(content))
    except (ValueError, TypeError) as e:
        raise TransientError(
            f"{place} cannot be read ({e}): it was damaged, or a newer release wrote it"
        ) from e


@cache
def _place(output_root: str, run: str) -> ResourcePath:
    root = ResourcePath(output_root, forceDirectory=True, forceAbsolute=True)
    return root.join(f"{run}/run.json")
