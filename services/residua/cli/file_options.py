"""Options that tell how files are to be understood, the same in every command."""

from typing import Annotated

import typer

__all__ = ["DetectorFrom", "VisitFrom"]

type VisitFrom = Annotated[
    str | None,
    typer.Option(
        help="Take the visit number from this card (EXPNUM; A/B joins two), from the start of "
        "the exposure (time) or from the file's name (name).",
    ),
]
type DetectorFrom = Annotated[
    str | None,
    typer.Option(help="Take the detector from this card (CCDNUM; CCDID/QID joins two)."),
]
