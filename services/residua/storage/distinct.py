"""Files that are given together never become one: identities are distinct, or we stop."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from residua.errors import SharedIdentityError
from residua_schemas import ImageReading, TemplateCoadd, VisitArrival

__all__ = ["distinct_arrivals", "distinct_templates"]

_MOST_NAMED = 10


def distinct_arrivals(arrivals: Iterable[VisitArrival]) -> None:
    """Check that no two arrivals are of the same visit-detector.

    Raises
    ------
    residua.errors.SharedIdentityError
        Lists the files that would be taken for one image, and says how to tell them apart.
    """
    _distinct(
        [(_label(a.image_uri, a.reading), str(a.visit_detector)) for a in arrivals],
        "visit image",
        "say which cards tell them apart (--visit-from EXPNUM, --visit-from name, "
        "--detector-from CCDID/QID) or describe the instrument (residua instruments new FILE)",
    )


def distinct_templates(templates: Iterable[TemplateCoadd]) -> None:
    """Check that no two templates have the same key.

    Raises
    ------
    residua.errors.SharedIdentityError
        Lists the files of which one would replace the other.
    """
    _distinct(
        [(_label(t.uri, t.reading), t.key.decode()) for t in templates],
        "template",
        "give them other file names, or TRACT and PATCH cards of their own",
    )


def _label(uri: str, reading: ImageReading | None) -> str:
    name = PurePosixPath(uri).name
    extension = None if reading is None else reading.extension
    return name if extension is None else f"{name}[{extension}]"


def _distinct(identities: Sequence[tuple[str, str]], what: str, remedy: str) -> None:
    by_identity: dict[str, list[str]] = {}
    for label, identity in identities:
        by_identity.setdefault(identity, []).append(label)
    shared = {identity: files for identity, files in by_identity.items() if len(files) > 1}
    if not shared:
        return
    lines = [
        f"{', '.join(files[:_MOST_NAMED])}{', ...' if len(files) > _MOST_NAMED else ''} would all "
        f"be {identity}"
        for identity, files in list(shared.items())[:_MOST_NAMED]
    ]
    raise SharedIdentityError(
        f"{len(identities)} {what}s would be only {len(by_identity)}: {'; '.join(lines)}; {remedy}",
        files=len(identities),
        identities=len(by_identity),
    )
