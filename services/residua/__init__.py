"""Residua: difference imaging as a service."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__: str = version("residua")
