"""The ledger of a visit-detector in a run: small objects beside the images; see `residua.ledger`.

``RUN/ledger/VISIT/I_V_D/N.json`` is entry N, put only if absent. ``N_HASH.draft`` is the outcome of
an image whose file was about to be put in place: a try that is killed leaves it, and whoever fails
in its stead finds the image and commits that.
"""

import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import cast

from lsst.resources import ResourcePath
from pydantic import ValidationError

from residua.errors import ChecksumMismatchError, MissingFileError, TransientError
from residua.identity import ledger_folder
from residua.ledger import Entry, Identity, Order, content_of, identity_of
from residua.storage.exclusive import list_names, probe, put_if_absent
from residua.storage.objects import publish_bytes, read_object
from residua_schemas import (
    DifferenceImageCreated,
    DifferenceImageOutcome,
    VisitDetector,
    outcome_from_json,
)

__all__ = ["LedgerFiles", "require_exclusive"]

_BEFORE_ALL: Order = (-1, -1, -1)


@dataclass(frozen=True)
class LedgerFiles:
    """The ledger of one visit-detector in one run.

    Parameters
    ----------
    output_root
        Directory or ``s3://bucket/prefix`` of the difference images.
    run
        Name of the run.
    who
        The visit-detector.
    """

    output_root: str
    run: str
    who: VisitDetector

    def read(self) -> list[Entry]:
        """Read all entries, those of releases before the ledger too; in order of their numbers.

        Raises
        ------
        residua.errors.TransientError
            The store does not answer.
        """
        folder = self._folder
        names = [name for name in list_names(folder) if name.endswith(".json")]
        entries = [_entry(folder.join(name)) for name in names]
        return sorted([*self._older(), *entries], key=lambda e: e.number)

    def commit(self, entry: Entry) -> bool:
        """Put an entry under its number; returns whether it stands there.

        Raises
        ------
        residua.errors.TransientError
            The store does not answer: it may stand there or not.
        """
        return put_if_absent(self._folder.join(f"{entry.number}.json"), _bytes_of(entry))

    def draft(self, outcome: DifferenceImageCreated) -> None:
        """Write down the outcome of a file that is about to be put in place."""
        digest = outcome.checksum.removeprefix("sha256:")[:12]
        publish_bytes(
            self._folder.join(f"{outcome.revision}_{digest}.draft"),
            outcome.model_dump_json(exclude_none=True).encode(),
            flush=False,
        )

    def salvage(self, number: int, identity: Identity) -> DifferenceImageCreated | None:
        """Return the image that an earlier try of an arrival left whole under a number.

        Any of them will do: they differ at most in bits between processors.
        """
        for name in list_names(self._folder):
            if not (name.startswith(f"{number}_") and name.endswith(".draft")):
                continue
            found = _outcome(self._folder.join(name))
            if not isinstance(found, DifferenceImageCreated) or not _is_of(found, identity):
                continue
            if _is_whole(found):
                return found
        return None

    @property
    def _folder(self) -> ResourcePath:
        root = ResourcePath(self.output_root, forceDirectory=True, forceAbsolute=True)
        return root.join(ledger_folder(self.run, self.who), forceDirectory=True)

    def _older(self) -> list[Entry]:
        root = ResourcePath(self.output_root, forceDirectory=True, forceAbsolute=True)
        if not _has_outcomes(root, self.run):
            return []
        folder = root.join(f"{self.run}/outcomes/{self.who.visit}/", forceDirectory=True)
        stem = f"{self.who.instrument}_{self.who.visit}_{self.who.detector}_"
        names = [name for name in list_names(folder) if name.startswith(stem)]
        outcomes = [o for name in names if (o := _outcome(folder.join(name))) is not None]
        first: dict[str, int] = {}
        entries = []
        for outcome in sorted(outcomes, key=lambda o: o.revision):
            known = identity_of(outcome.arrival, content_of(outcome))
            # A forced replay raised the revision of the same words: a remake, in today's terms.
            own = first.setdefault(known.words, known.revision)
            identity = replace(known, revision=own, remake=known.revision - own)
            kind = outcome.outcome
            entries.append(Entry(outcome.revision, kind, identity, _BEFORE_ALL, outcome))
        return entries


@cache
def require_exclusive(output_root: str) -> None:
    """Return when the store can put objects only if absent; asked once in a process.

    Raises
    ------
    residua.errors.TransientError
        It cannot, or does not answer.
    """
    root = ResourcePath(output_root, forceDirectory=True, forceAbsolute=True)
    if not root.isLocal:
        probe(root)


def _entry(location: ResourcePath) -> Entry:
    content, _ = read_object(location, None)
    try:
        body = json.loads(content)
        identity, outcome = body["identity"], body["outcome"]
        return Entry(
            int(body["number"]),
            body["kind"],
            None if identity is None else Identity(**identity),
            None if body["order"] is None else cast("Order", tuple(body["order"])),
            None if outcome is None else outcome_from_json(json.dumps(outcome)),
        )
    except (ValueError, KeyError, TypeError) as e:
        # Taken and not understood: no number may be given twice, whatever stands there.
        raise TransientError(
            f"{location} cannot be read as an entry of a ledger ({e}): it was damaged, or a newer "
            "release wrote it"
        ) from e


def _bytes_of(entry: Entry) -> bytes:
    outcome = entry.outcome
    body = {
        "number": entry.number,
        "kind": entry.kind,
        "identity": None if entry.identity is None else asdict(entry.identity),
        "order": entry.order,
        "outcome": None if outcome is None else outcome.model_dump(mode="json", exclude_none=True),
    }
    return json.dumps(body, separators=(",", ":")).encode()


def _outcome(location: ResourcePath) -> DifferenceImageOutcome | None:
    try:
        content, _ = read_object(location, None)
        return outcome_from_json(content)
    except (MissingFileError, ValidationError):
        return None


def _is_of(outcome: DifferenceImageCreated, identity: Identity) -> bool:
    found = identity_of(outcome.arrival, content_of(outcome))
    return replace(found, content=identity.content or found.content) == replace(
        identity, content=identity.content or found.content
    )


def _is_whole(outcome: DifferenceImageCreated) -> bool:
    try:
        read_object(ResourcePath(outcome.uri, forceAbsolute=True), outcome.checksum)
    except (MissingFileError, ChecksumMismatchError):
        return False
    return True


@cache
def _has_outcomes(root: ResourcePath, run: str) -> bool:
    """Whether a release before the ledger has worked in this run: it never will again."""
    folder = root.join(f"{run}/outcomes/", forceDirectory=True)
    if folder.isLocal:
        return Path(folder.ospath).is_dir()
    return any(True for _ in ResourcePath.findFileResources([folder]))
