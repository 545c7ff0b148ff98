"""Files that are given together never become one: identities are distinct, or we stop."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from residua.errors import SharedIdentityError
from residua_schemas import TemplateCoadd, VisitArrival

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
        {a.image_uri: str(a.visit_detector) for a in arrivals},
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
        {t.uri: t.key.decode() for t in templates},
        "template",
        "give them other file names, or TRACT and PATCH cards of their own",
    )


def _distinct(identities: Mapping[str, str], what: str, remedy: str) -> None:
    by_identity: dict[str, list[str]] = {}
    for uri, identity in identities.items():
        by_identity.setdefault(identity, []).append(PurePosixPath(uri).name)
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
