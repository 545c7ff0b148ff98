"""What can be wrong with an ADQL query."""

__all__ = ["AdqlError"]


class AdqlError(ValueError):
    """The query is not ADQL, or asks for what is not offered; the message is for its author."""
