"""Ends of bands that no description of an instrument tells."""

__all__ = ["NOMINAL_BANDS"]

NOMINAL_BANDS: dict[str, tuple[float, float]] = {
    "u": (300.0e-9, 393.2e-9),
    "g": (402.6e-9, 548.3e-9),
    "r": (551.0e-9, 689.1e-9),
    "i": (693.6e-9, 818.8e-9),
    "z": (819.2e-9, 920.1e-9),
    "y": (927.8e-9, 1100.0e-9),
}
"""Blue and red end, m, vacuum: those of Rubin Data Preview 1."""
