"""Geometry on the celestial sphere: unit vectors, regions, how they lie to each other."""
