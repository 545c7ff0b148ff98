"""A cache of decoded templates, bounded in bytes."""

from collections import OrderedDict
from threading import Lock

from residua.subtraction.images import TemplateImage

__all__ = ["TemplateCache"]


class TemplateCache:
    """Keeps the templates used last.

    Parameters
    ----------
    limit_bytes
        Most bytes of pixels kept; a template larger than that is never kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._entries: OrderedDict[tuple[str, str], TemplateImage] = OrderedDict()
        self._ahead: set[tuple[str, str]] = set()
        self._lock = Lock()

    @property
    def size_bytes(self) -> int:
        """Bytes of pixels kept now."""
        return self._size

    def get(self, uri: str, checksum: str) -> TemplateImage | None:
        """Return a template and mark it as used, or `None`."""
        with self._lock:
            template = self._entries.get((uri, checksum))
            if template is not None:
                self._entries.move_to_end((uri, checksum))
            return template

    def forget_ahead(self, uri: str, checksum: str) -> bool:
        """Whether a template was put ahead of its use; says so once."""
        with self._lock:
            was_ahead = (uri, checksum) in self._ahead
            self._ahead.discard((uri, checksum))
            return was_ahead

    def put(self, uri: str, checksum: str, template: TemplateImage, *, ahead: bool = False) -> None:
        """Keep a template; the ones unused for longest give way.

        Parameters
        ----------
        ahead
            Whether nobody has asked for it yet.
        """
        size = _size(template)
        with self._lock:
            old = self._entries.pop((uri, checksum), None)
            self._size -= 0 if old is None else _size(old)
            if size > self._limit:
                return
            self._entries[uri, checksum] = template
            self._size += size
            if ahead:
                self._ahead.add((uri, checksum))
            while self._size > self._limit:
                key, dropped = self._entries.popitem(last=False)
                self._ahead.discard(key)
                self._size -= _size(dropped)


def _size(template: TemplateImage) -> int:
    return template.image.nbytes + template.variance.nbytes + template.mask.nbytes
