"""Options that tell how files are to be understood, the same in every command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residua.errors import MissingFileError

if TYPE_CHECKING:
    from residua.instruments import InstrumentRegistry
    from residua_schemas import ImageReading

__all__ = [
    "BadBits",
    "DetectorFrom",
    "Extension",
    "Gain",
    "Instruments",
    "MaskFile",
    "Saturation",
    "VarianceFile",
    "VisitFrom",
    "WeightFile",
    "plain_path",
    "reading_of",
    "registry_of",
]

VisitFrom = Annotated[
    str | None,
    typer.Option(
        help="Take the visit number from this card (EXPNUM; A/B joins two), from the start of "
        "the exposure (time) or from the file's name (name).",
    ),
]
DetectorFrom = Annotated[
    str | None,
    typer.Option(help="Take the detector from this card (CCDNUM; CCDID/QID joins two)."),
]
_BESIDE = "a path, or FROM=TO to be replaced in each image's name (_ooi_=_oo{}_)"
VarianceFile = Annotated[
    str | None, typer.Option("--variance", help=f"File of variances: {_BESIDE.format('v')}.")
]
WeightFile = Annotated[
    str | None, typer.Option("--weight", help=f"File of weights: {_BESIDE.format('w')}.")
]
MaskFile = Annotated[
    str | None, typer.Option("--mask", help=f"File of mask bits: {_BESIDE.format('d')}.")
]
Extension = Annotated[
    str | None,
    typer.Option("--ext", help="Extension that holds the image; also FILE.fits[N4]."),
]
BadBits = Annotated[
    int | None,
    typer.Option(help="Bits of the mask that make a pixel unusable; others are ignored.", min=0),
]
Gain = Annotated[float | None, typer.Option(help="Electrons per unit of the image.", min=0)]
Saturation = Annotated[
    float | None, typer.Option(help="Pixel value from which on pixels are saturated.")
]
Instruments = Annotated[
    list[Path] | None,
    typer.Option(
        "--instruments",
        help="Directory with instrument descriptions; repeatable. "
        "Default: RESIDUA_INSTRUMENT_DIRECTORIES.",
    ),
]


def registry_of(directories: Sequence[Path] | None) -> "InstrumentRegistry":
    """Return the instruments of these directories, else of the environment's, and the shipped."""
    from residua.instruments import InstrumentRegistry
    from residua.settings import ServiceSettings

    return InstrumentRegistry(directories or ServiceSettings().instrument_directories)


def plain_path(file: Path) -> Path:
    """Return the path of ``file.fits[N4]`` without its extension."""
    from residua.storage.describe import split_extension

    return Path(split_extension(str(file))[0])


def reading_of(
    file: Path,
    *,
    extension: str | None = None,
    variance: str | None = None,
    weight: str | None = None,
    mask: str | None = None,
    bad_bits: int | None = None,
    gain: float | None = None,
    saturation: float | None = None,
    only_replaced: bool = False,
) -> "ImageReading | None":
    """Return what the options say of how a file is to be read; `None` if nothing.

    Parameters
    ----------
    file
        The image.
    variance, weight, mask
        Paths, or FROM=TO to be replaced in the image's name.
    only_replaced
        Leave out files that are given by a path, which belong to another image.

    Raises
    ------
    residua.errors.MissingFileError
        A companion is not there.
    """
    from residua_schemas import ImageReading

    values: dict[str, object] = {
        "extension": extension,
        "bad_bits": bad_bits,
        "gain": gain or None,
        "saturation": saturation,
    }
    for role, given in (("variance", variance), ("weight", weight), ("mask", mask)):
        if given is None or (only_replaced and "=" not in given):
            continue
        values[f"{role}_uri"] = _beside(plain_path(file), given, role).as_uri()
    if all(value is None for value in values.values()):
        return None
    return ImageReading.model_validate(values)


def _beside(file: Path, given: str, role: str) -> Path:
    old, equals, new = given.partition("=")
    path = file.with_name(file.name.replace(old, new)) if equals else Path(given)
    if equals and old not in file.name:
        raise MissingFileError(f"{file.name} holds no {old!r} to be replaced for its {role} file")
    if not path.is_file():
        raise MissingFileError(f"{path}, the {role} file of {file.name}, does not exist")
    return path.resolve()
