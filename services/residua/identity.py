"""Who a difference image is: run, dataset id, object key, publisher DID. All derived."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import JsonValue

from residua_schemas import Event, ImageReading, VisitDetector

if TYPE_CHECKING:
    # At run time it would load numba into every service.
    from residua.subtraction.config import SubtractionConfig

__all__ = [
    "NAMESPACE",
    "Run",
    "configuration_dict",
    "configuration_hash",
    "dataset_id",
    "detections_dataset_id",
    "dia_source_id",
    "event_id",
    "installed_version",
    "ledger_folder",
    "number_of_key",
    "object_key",
    "outcome_key",
    "publisher_did",
    "solution_key",
    "template_dataset_id",
    "visit_image_dataset_id",
]

_INDEX_BITS = 18
_SHORT = 12
_NUMBERED = re.compile(r"_(\d+)_([0-9a-f]{12})\.[a-z]+$")

NAMESPACE = UUID("6b6a5d52-52a5-5f5c-9d0c-7d1f2a6f5e10")
"""Namespace of every uuid5 Residua derives; never changes."""

_NAMESPACE_BYTES = NAMESPACE.bytes


def _derived(name: str) -> UUID:
    # `uuid.uuid5` of the namespace, which imports and encodes the namespace at each call.
    digest = hashlib.sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).digest()
    return UUID(bytes=digest[:16], version=5)


@cache
def installed_version(name: str) -> str:
    """Version of an installed distribution; reading it takes two milliseconds the first time."""
    return version(name)


@lru_cache(maxsize=16)
def _hash_of(config: "SubtractionConfig") -> str:
    text = json.dumps(configuration_dict(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def configuration_dict(config: "SubtractionConfig") -> dict[str, JsonValue]:
    """Return the configuration as a JSON object."""
    return dataclasses.asdict(config)


def configuration_hash(config: "SubtractionConfig") -> str:
    """sha256 of the configuration's canonical JSON (sorted keys, no spaces), hexadecimal."""
    return _hash_of(config)


@dataclass(frozen=True)
class Run:
    """A consistent set of difference images: one configuration, one template set, one version.

    Parameters
    ----------
    config
        Configuration of the subtraction.
    template_set
        Name of the template set.
    version
        Version of Residua; only its major number is part of the name.
    label
        A word that sets a deliberate re-run apart; empty for the regular run.
    """

    config: "SubtractionConfig"
    template_set: str
    version: str
    label: str = ""

    @property
    def name(self) -> str:
        """For example ``residua/0/dp1/3f2a9c51d0be``; usable in paths and Butler collections."""
        major = self.version.split(".", 1)[0]
        name = f"residua/{major}/{self.template_set}/{configuration_hash(self.config)[:12]}"
        return f"{name}/{self.label}" if self.label else name


def dataset_id(run: str, visit_detector: VisitDetector) -> UUID:
    """Identity of the difference image of a visit-detector in a run."""
    v = visit_detector
    return _derived(f"difference_image|{run}|{v.instrument}|{v.visit}|{v.detector}")


def template_dataset_id(key: bytes) -> UUID:
    """Identity of the template coadd under a key of the ``template-coadds`` topic."""
    return _derived(f"template_coadd|{key.decode()}")


def visit_image_dataset_id(visit_detector: VisitDetector) -> UUID:
    """Identity of the visit image of a visit-detector, whichever runs use it."""
    v = visit_detector
    return _derived(f"visit_image|{v.instrument}|{v.visit}|{v.detector}")


def detections_dataset_id(difference_image: UUID) -> UUID:
    """Identity of the table of the detections on a difference image."""
    return _derived(f"dia_source_detector|{difference_image}")


def dia_source_id(difference_image: UUID, index: int) -> int:
    """Return the number of a detection: its dataset in 45 bits, its place in the list in 18.

    Raises
    ------
    ValueError
        There is no such place: a list holds at most 262,144.
    """
    if not 0 <= index < 1 << _INDEX_BITS:
        raise ValueError(f"a detection numbered {index}; {1 << _INDEX_BITS} can be told apart")
    return (difference_image.int >> (128 - 45)) << _INDEX_BITS | index


def object_key(
    run: str, visit_detector: VisitDetector, day_obs: int, number: int, checksum: str
) -> str:
    """Path of the FITS file under the output root: a name whose bytes never change.

    Parameters
    ----------
    number
        Of its outcome, see `residua.ledger`. Without it a name could come back while a sweeper
        deletes it.
    checksum
        ``sha256:...`` of the file.
    """
    v = visit_detector
    digest = checksum.removeprefix("sha256:")[:_SHORT]
    name = f"difference_image_{v.instrument}_{v.visit}_{v.detector}_{number}_{digest}.fits"
    return f"{run}/difference_image/{day_obs}/{v.visit}/{name}"


def solution_key(
    run: str,
    visit_detector: VisitDetector,
    day_obs: int,
    inputs: Sequence[tuple[str, ImageReading | None]],
    arithmetic: int,
) -> str:
    """Path of a solution under the output root: the same inputs, read alike, have the same name.

    Parameters
    ----------
    inputs
        Checksum of the visit image and of the templates, in their order, and how each is to be
        read where its file does not say so: another mask or gain is another input.
    arithmetic
        Number of the pixel passes it is for.
    """
    v = visit_detector
    words = [
        checksum if reading is None else f"{checksum} {reading.model_dump_json(exclude_none=True)}"
        for checksum, reading in inputs
    ]
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:_SHORT]
    name = f"solution_{v.instrument}_{v.visit}_{v.detector}_{arithmetic}_{digest}.residua"
    return f"{run}/solution/{day_obs}/{v.visit}/{name}"


def number_of_key(key: str) -> tuple[int, str] | None:
    """Return number and shortened checksum of a name by `object_key`; `None` for older names."""
    found = _NUMBERED.search(key)
    return None if found is None else (int(found[1]), found[2])


def ledger_folder(run: str, visit_detector: VisitDetector) -> str:
    """Folder, under the output root, of the outcomes of a visit-detector; ends with a slash."""
    v = visit_detector
    return f"{run}/ledger/{v.visit}/{v.instrument}_{v.visit}_{v.detector}/"


def outcome_key(run: str, visit_detector: VisitDetector, revision: int) -> str:
    """Path of what releases before the ledger wrote down about one revision of an arrival."""
    v = visit_detector
    return f"{run}/outcomes/{v.visit}/{v.instrument}_{v.visit}_{v.detector}_{revision}.json"


def publisher_did(authority: str, dataset: UUID, collection: str = "difference-images") -> str:
    """IVOA publisher dataset identifier, ``ivo://authority/difference-images?id=uuid``.

    Parameters
    ----------
    collection
        Or ``template-coadds``, ``visit-images``.
    """
    return f"ivo://{authority}/{collection}?id={dataset}"


def event_id(event: Event, key: bytes) -> str:
    """CloudEvents id: derived from the body, so that a repeat has the id of the first."""
    body = event.model_dump_json(exclude_none=True)
    return str(_derived(f"{event.ce_type}|{key.decode(errors='replace')}|{body}"))
