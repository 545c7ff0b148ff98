"""The template coadds in force, read from the compacted topic ``template-coadds``."""

from collections.abc import Sequence
from typing import override

from residua.messaging.records.events import IncomingRecord, parse_event
from residua.messaging.records.newest import NewestByKey
from residua.ports import TemplateIndex
from residua.worker.templates.template_shelf import TemplateShelf
from residua_schemas import SkyPolygon, TemplateCoadd

__all__ = ["Templates"]


class Templates(TemplateIndex):
    """An index in memory: the newest record under a key is in force, a tombstone withdraws it.

    Newest by event, not by the order in which partitions are read.

    Parameters
    ----------
    template_set
        The set that is served; others are ignored.
    """

    def __init__(self, template_set: str) -> None:
        self._template_set = template_set
        self.clear()

    def __len__(self) -> int:
        return len(self._shelf)

    def clear(self) -> None:
        """Forget all there is."""
        self._shelf = TemplateShelf()
        self._newest = NewestByKey()

    def apply(self, record: IncomingRecord) -> None:
        """Take in one record; what cannot be read changes nothing.

        Raises
        ------
        residua.errors.ResiduaError
            It is no template coadd.
        """
        if record.is_tombstone:
            key = record.key or b""
            if self._newest.take(key, record):
                self._shelf.drop(key)
            return
        template = parse_event(record, TemplateCoadd.model_validate_json, "template coadd")
        key = record.key or template.key
        if template.template_set == self._template_set and self._newest.take(key, record):
            self._shelf.put(key, template, record.value)

    @override
    def candidates(self, band: str, region: SkyPolygon | None) -> Sequence[TemplateCoadd]:
        return self._shelf.candidates(band, region)

    @override
    def count(self, band: str) -> int:
        return self._shelf.count(band)
