"""Where outcomes are found: in the catalog, in a log of outcomes, in the ledger beside the file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import override
from urllib.parse import unquote, urlsplit
from uuid import UUID

from sqlalchemy import Connection, Engine, select
from sqlalchemy.sql import Select

from residua.messaging.records.events import parse_event
from residua.obscore import obscore
from residua.recreation.errors import UnknownImageError
from residua.recreation.lookup.log import read_log
from residua.storage.runs.ledger_files import LedgerFiles
from residua_schemas import (
    DIFFERENCE_IMAGES,
    DifferenceImageCreated,
    TemplateCoadd,
    VisitDetector,
    outcome_from_json,
)

__all__ = [
    "Wanted",
    "created_at",
    "find_in_catalog",
    "find_in_log",
    "outcome_log",
    "templates_in_force",
]

_COLUMNS = obscore.c
_NAME = re.compile(r"difference_image_(?P<i>.+)_(?P<v>\d+)_(?P<d>\d+)_(?P<n>\d+)_[0-9a-f]{12}\.\w+")


@dataclass(frozen=True)
class Wanted:
    """Which image: by its identity, or by its visit-detector, then the newest of a run.

    Parameters
    ----------
    run
        Only images of this run; `None`: of any.
    """

    dataset_id: UUID | None = None
    visit_detector: VisitDetector | None = None
    run: str | None = None

    @override
    def __str__(self) -> str:
        who = self.dataset_id or self.visit_detector
        return f"{who}" if self.run is None else f"{who} in {self.run}"


def find_in_catalog(engine: Engine, wanted: Wanted) -> DifferenceImageCreated:
    """Return the outcome of the image in force, from its row.

    Raises
    ------
    residua.recreation.errors.UnknownImageError
        There is none; or several runs have one, and none was named.
    """
    statement: Select[tuple[dict[str, object]]] = select(_COLUMNS.event).where(
        _COLUMNS.dataset_type == "difference_image"
    )
    if wanted.dataset_id is not None:
        statement = statement.where(_COLUMNS.dataset_id == str(wanted.dataset_id))
    if wanted.visit_detector is not None:
        key = wanted.visit_detector.key.decode()
        statement = statement.where(_COLUMNS.record_key == key)
    if wanted.run is not None:
        statement = statement.where(_COLUMNS.run == wanted.run)
    with engine.connect() as connection:
        found = [_created(event) for event in connection.scalars(statement.limit(20))]
    return _only(found, wanted)


def outcome_log(path: Path) -> Iterator[DifferenceImageCreated]:
    """Yield the created outcomes of a log, see `residua.recreation.lookup.log`.

    Raises
    ------
    residua.errors.MalformedEventError
        A line cannot be read.
    """
    for record in read_log(path):
        if record.topic == DIFFERENCE_IMAGES.name:
            outcome = parse_event(record, outcome_from_json, "outcome")
            if isinstance(outcome, DifferenceImageCreated):
                yield outcome


def find_in_log(path: Path, wanted: Wanted) -> DifferenceImageCreated:
    """Return the newest outcome of an image in a log of outcomes; as `find_in_catalog`."""
    newest: dict[UUID, DifferenceImageCreated] = {}
    for outcome in outcome_log(path):
        if wanted.dataset_id not in {None, outcome.dataset_id}:
            continue
        if wanted.visit_detector not in {None, outcome.visit_detector}:
            continue
        if wanted.run not in {None, outcome.run}:
            continue
        held = newest.get(outcome.dataset_id)
        if held is None or outcome.revision >= held.revision:
            newest[outcome.dataset_id] = outcome
    return _only(list(newest.values()), wanted)


def created_at(uri: str) -> DifferenceImageCreated:
    """Return the outcome of a difference image's file by its address alone, from the ledger.

    Parameters
    ----------
    uri
        Where the file lies or lay.

    Raises
    ------
    residua.recreation.errors.UnknownImageError
        The address is none that Residua gives, or the ledger has no such entry.
    residua.errors.TransientError
        The store does not answer.
    """
    path = unquote(uri if "://" not in uri else urlsplit(uri).path)
    name = _NAME.fullmatch(PurePosixPath(path).name)
    head, found, _ = unquote(uri).rpartition("/difference_image/")
    if name is None or not found:
        raise UnknownImageError(f"{uri} is no address of a difference image of Residua's")
    who = VisitDetector(instrument=name["i"], visit=int(name["v"]), detector=int(name["d"]))
    # RUN is residua/MAJOR/SET/HASH, and a label if it has one.
    root, _, run = head.rpartition("/residua/")
    ledger = LedgerFiles(root, f"residua/{run}", who)
    for entry in ledger.read():
        if entry.number == int(name["n"]) and isinstance(entry.outcome, DifferenceImageCreated):
            return entry.outcome
    raise UnknownImageError(
        f"the ledger of {who} under {root} has no image numbered {name['n']}: was it deleted?"
    )


def templates_in_force(engine: Engine, band: str, template_set: str) -> list[TemplateCoadd]:
    """Return the templates of a band and set that are in force, as the catalog has them."""
    statement = select(_COLUMNS.event).where(
        _COLUMNS.dataset_type == "template_coadd", _COLUMNS.lsst_band == band
    )
    with engine.connect() as connection:
        found = [TemplateCoadd.model_validate(e) for e in _rows(connection, statement)]
    return [t for t in found if t.template_set == template_set]


def _rows(connection: Connection, statement: Select[tuple[object]]) -> Iterator[object]:
    yield from connection.scalars(statement.order_by(_COLUMNS.dataset_id))


def _created(event: object) -> DifferenceImageCreated:
    return DifferenceImageCreated.model_validate(event)


def _only(found: list[DifferenceImageCreated], wanted: Wanted) -> DifferenceImageCreated:
    if not found:
        raise UnknownImageError(
            f"no outcome of a difference image {wanted} is known here: was it made, and taken in?"
        )
    if len(found) > 1:
        runs = ", ".join(sorted(o.run for o in found))
        raise UnknownImageError(
            f"{wanted} has images of {len(found)} runs: name one with --run: {runs}",
            runs=len(found),
        )
    return found[0]
