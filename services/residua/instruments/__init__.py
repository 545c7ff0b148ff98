"""What Residua knows about instruments: one small YAML file each, see `registry`."""

from residua.instruments.registry import Filter, Instrument, InstrumentRegistry, load_instrument

__all__ = ["Filter", "Instrument", "InstrumentRegistry", "load_instrument"]
