"""The instruments known to an installation: shipped YAML files, and an operator's own."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from residua.errors import UnknownInstrumentError
from residua.instruments.file import instrument_from_yaml
from residua.instruments.model import Instrument

__all__ = ["InstrumentRegistry", "load_instrument"]


class InstrumentRegistry:
    """The instruments known to this installation.

    Parameters
    ----------
    directories
        Directories with more YAML files; a description there replaces a shipped one of the same
        name.
    strict
        Refuse unknown instruments instead of describing them generically.

    Raises
    ------
    residua.errors.UnknownInstrumentError
        A directory is missing, or a YAML file in it is not an instrument description.
    """

    def __init__(self, directories: Iterable[Path] = (), *, strict: bool = False) -> None:
        self._instruments = {i.name: i for i in _shipped()}
        own: dict[str, Instrument] = {}
        for directory in directories:
            if not Path(directory).is_dir():
                raise UnknownInstrumentError(
                    f"there is no directory {directory} of instrument descriptions; make it, or "
                    "leave it out of RESIDUA_INSTRUMENT_DIRECTORIES"
                )
            for path in sorted(Path(directory).glob("*.y*ml")):
                instrument = instrument_from_yaml(path.read_text(encoding="utf-8"), str(path))
                own[instrument.name] = instrument
        # An operator's own descriptions are asked first when a header is recognised.
        self._instruments = own | {n: i for n, i in self._instruments.items() if n not in own}
        self._strict = strict

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._instruments.values())

    def get(self, name: str) -> Instrument:
        """Return an instrument by name; one that is not described is ``generic``.

        Raises
        ------
        residua.errors.UnknownInstrumentError
            Unknown, and the registry is strict.
        """
        if name in self._instruments:
            return self._instruments[name]
        if self._strict:
            known = ", ".join(sorted(self._instruments))
            raise UnknownInstrumentError(
                f"instrument {name} has no description here (known: {known}); add a YAML file"
            )
        return Instrument(name=name, facility_name=name, generic=True)

    def recognise(self, words: str, cards: Mapping[str, str] | None = None) -> str | None:
        """Return the name of the instrument that header cards speak of, or `None`.

        Parameters
        ----------
        words
            The values of the cards that may name it, joined.
        cards
            All cards of the header as text, for descriptions that ask for several.
        """
        found = (i.name for i in self._instruments.values() if i.is_named(words, cards or {}))
        return next(found, None)


@cache
def _shipped() -> tuple[Instrument, ...]:
    folder = files("residua.instruments")
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".yaml"))
    return tuple(
        instrument_from_yaml(folder.joinpath(name).read_text(encoding="utf-8"), name)
        for name in names
    )


@cache
def _default_registry() -> InstrumentRegistry:
    return InstrumentRegistry()


def load_instrument(name: str) -> Instrument:
    """Return a shipped instrument by name; a generic description if there is none."""
    return _default_registry().get(name)
