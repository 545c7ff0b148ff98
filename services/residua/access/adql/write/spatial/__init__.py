"""Geometry in the words of one database."""
