"""Pieces of a template between which its PSF jumps: where they lie, and a kernel for each."""
