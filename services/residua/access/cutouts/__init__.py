"""Cutouts: which pixels a region covers, and the file made of them."""
