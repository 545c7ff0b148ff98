"""Pixels as pictures, footprints as maps: what the pages show and no browser draws itself."""
