"""Options that tell how files are to be understood, the same in every command."""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from residua.errors import MissingFileError

if TYPE_CHECKING:
    from residua.instruments import InstrumentRegistry
    from residua_schemas import ImageReading

__all__ = [
    "AS_THE_FILE_SAYS",
    "DetectorFrom",
    "Extension",
    "FileOptions",
    "Instruments",
    "VisitFrom",
    "companions",
    "plain_path",
    "registry_of",
    "with_file_options",
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


@dataclass(frozen=True)
class FileOptions:
    """What the options say of how files are to be read; the defaults say nothing."""

    extension: Extension = None
    variance: VarianceFile = None
    weight: WeightFile = None
    mask: MaskFile = None
    bad_bits: BadBits = None
    gain: Gain = None
    saturation: Saturation = None
    instruments: Instruments = None

    def registry(self) -> "InstrumentRegistry":
        """Return the instruments that are known."""
        return registry_of(self.instruments)

    def beside_another(self) -> "FileOptions":
        """Return what goes for further images: no extension, no file that belongs to the first."""
        own = [role for role, given in self._companions() if given and "=" not in given]
        nothing = dict.fromkeys(("extension", "gain", "saturation", *own))
        return replace(self, **nothing)

    def reading(self, file: Path) -> "ImageReading | None":
        """Return how a file is to be read; `None` where the options say nothing.

        Raises
        ------
        residua.errors.MissingFileError
            A companion is not there.
        """
        from residua_schemas import ImageReading

        own = {f.name: getattr(self, f.name) for f in fields(self)}
        values: dict[str, object] = {
            name: own[name] for name in ImageReading.model_fields if name in own
        }
        values["gain"] = self.gain or None
        for role, given in self._companions():
            if given is not None:
                beside = _beside(plain_path(file), given, role)
                values[f"{role}_uri"] = beside.as_uri()
                with beside.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                values[f"{role}_checksum"] = f"sha256:{digest}"
        if all(value is None for value in values.values()):
            return None
        return ImageReading.model_validate(values)

    def _companions(self) -> list[tuple[str, str | None]]:
        from residua_schemas.reading import COMPANION_ROLES

        return [(role, getattr(self, role)) for role in COMPANION_ROLES]


AS_THE_FILE_SAYS = FileOptions()


def with_file_options[**P, R](command: Callable[P, R]) -> Callable[..., R]:
    """Give a command the options of `FileOptions` in the place of its parameter of that type."""
    names = [f.name for f in fields(FileOptions)]
    options = inspect.signature(FileOptions).parameters
    shown: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        here = options.values() if parameter.annotation is FileOptions else (parameter,)
        shown += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in here]
        if parameter.annotation is FileOptions:
            taken = parameter.name

    @wraps(command)
    def with_options(**given: Any) -> R:
        said = {name: given.pop(name) for name in names if name in given}
        return command(**{**given, taken: FileOptions(**said)})  # type: ignore[call-arg]

    with_options.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in shown}
    return with_options


def companions(reading: "ImageReading | None") -> dict[str, Path]:
    """Return the files that lie beside an image, by their role."""
    beside = {} if reading is None else reading.companions
    return {role: Path(unquote(urlsplit(uri).path)) for role, (uri, _) in beside.items()}


def _beside(file: Path, given: str, role: str) -> Path:
    old, equals, new = given.partition("=")
    path = file.with_name(file.name.replace(old, new)) if equals else Path(given)
    if equals and old not in file.name:
        raise MissingFileError(f"{file.name} holds no {old!r} to be replaced for its {role} file")
    if not path.is_file():
        raise MissingFileError(f"{path}, the {role} file of {file.name}, does not exist")
    return path.resolve()
