"""What Residua knows about instruments: one small YAML file each, see `file` for its form."""

from residua.instruments.model import Filter, Instrument, ZeroPointCard
from residua.instruments.registry import InstrumentRegistry, load_instrument

__all__ = ["Filter", "Instrument", "InstrumentRegistry", "ZeroPointCard", "load_instrument"]
