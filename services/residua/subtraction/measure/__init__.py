"""Measurements of single sources on a difference image."""
