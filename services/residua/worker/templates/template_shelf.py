"""A survey's templates in memory: by key, by band, and by where on the sky they are."""

import json
import zlib
from collections.abc import Callable, Sequence

from residua.messaging.records.envelopes import read_value
from residua.sphere.overlap import overlapping
from residua.sphere.sky_index import SkyIndex
from residua_schemas import SkyPolygon, TemplateCoadd
from residua_schemas.examples import examples

__all__ = ["TemplateShelf"]

type Overlaps = Callable[[SkyPolygon, Sequence[SkyPolygon]], Sequence[bool]]


class TemplateShelf:
    """Templates by key; those that overlap a footprint are found among a million in under 1 ms.

    They are kept as compressed JSON, 0.8 kB each in all, and read when they are asked for.

    Parameters
    ----------
    overlaps
        Says of each of some footprints whether it shares more than a border with the first.
    """

    def __init__(self, overlaps: Overlaps = overlapping) -> None:
        self._overlaps = overlaps
        self._values: dict[bytes, bytes] = {}
        self._bands: dict[str, SkyIndex] = {}
        self._dictionary = _dictionary()

    def __len__(self) -> int:
        return len(self._values)

    def count(self, band: str) -> int:
        """Return the number of templates of a band."""
        index = self._bands.get(band)
        return 0 if index is None else len(index)

    def put(self, key: bytes, template: TemplateCoadd, value: bytes | None = None) -> None:
        """Keep a template under a key, in place of the one it had.

        Parameters
        ----------
        value
            Its JSON, where that is at hand.
        """
        self.drop(key)
        compressor = zlib.compressobj(1, wbits=-15, memLevel=1, zdict=self._dictionary)
        text = value or template.model_dump_json(exclude_none=True).encode()
        self._values[key] = compressor.compress(text) + compressor.flush()
        self._bands.setdefault(template.band, SkyIndex()).add(key, template.region)

    def drop(self, key: bytes) -> None:
        """Forget the template under a key, if there is one."""
        if self._values.pop(key, None) is None:
            return
        for index in self._bands.values():
            if index.remove(key):
                return

    def candidates(self, band: str, region: SkyPolygon | None) -> Sequence[TemplateCoadd]:
        """Templates of a band that overlap a footprint (all of the band for `None`).

        In an order that does not depend on that of their arrival.
        """
        index = self._bands.get(band)
        if index is None:
            return []
        if region is None:
            found = [t for key in self._values if (t := self._read(key)).band == band]
        else:
            near = [self._read(key) for key in index.near(region)]
            flags = self._overlaps(region, [t.region for t in near])
            found = [t for t, flag in zip(near, flags, strict=True) if flag]
        return sorted(found, key=lambda t: (t.skymap, t.tract, t.patch, t.uri))

    def _read(self, key: bytes) -> TemplateCoadd:
        decompressor = zlib.decompressobj(wbits=-15, zdict=self._dictionary)
        text = decompressor.decompress(self._values[key])
        return read_value(text, TemplateCoadd.model_validate_json)


def _dictionary() -> bytes:
    """Words that all templates share, so that a short text shrinks as well as a long one."""
    example = examples()[TemplateCoadd]
    body = json.loads(example.model_dump_json(exclude_none=True))
    return json.dumps(body, separators=(",", ":")).encode()
