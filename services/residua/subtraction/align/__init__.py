"""Bring the template onto the pixels of the science image."""
