"""One template from the files of several earlier exposures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from residua.coadds.combine import combine
from residua.coadds.exposures import Matched, as_it_is, match
from residua.coadds.given_exposures import (
    ExposureFacts,
    Input,
    check_alike,
    companions_of,
    exposure_of,
    left_out,
    measured,
    too_few,
)
from residua.coadds.template_file import write_built
from residua.errors import ResiduaError, UnusableImageError
from residua.instruments import InstrumentRegistry
from residua.storage.describe import OpenedFile, open_file
from residua.storage.read.readers import refuse_too_large
from residua_schemas import ImageReading

__all__ = ["BuiltTemplate", "Input", "build_template"]


@dataclass(frozen=True)
class BuiltTemplate:
    """A template that was built.

    Parameters
    ----------
    path
        Its file.
    inputs
        What it was made of, and what was left out; the reference first.
    fwhm
        Of its PSF, arcsec.
    covered, fully_covered
        Fractions of its pixels with one exposure at least, and with all.
    noise
        Of a pixel of its sky, in ``unit``.
    correlation
        Of its noise at 1 pixel along x and y.
    unit
        Of its pixels.
    """

    path: Path
    inputs: tuple[Input, ...]
    fwhm: float
    covered: float
    fully_covered: float
    noise: float
    correlation: tuple[float, float]
    unit: str


def build_template(
    files: Sequence[str],
    output: Path,
    *,
    readings: Sequence[ImageReading | None] = (),
    instruments: InstrumentRegistry | None = None,
    zero_point: float | None = None,
    band: str | None = None,
    widest_seeing: float | None = None,
    threads: int = 1,
    on_step: Callable[[str], None] = lambda _: None,
) -> BuiltTemplate:
    """Register, warp, scale, homogenise and average exposures into a template.

    The exposure of the widest PSF is the reference: its pixels, zero point and PSF are the
    template's. The others are matched to it as the subtraction matches a template to a visit.
    The mean has one weight per exposure and leaves out what stands in one exposure alone. The
    matched exposures are kept in memory, 14 bytes a pixel each.

    Parameters
    ----------
    files
        Paths or URIs, two or more, of one filter.
    output
        Where to write the template; must not exist.
    readings
        How each is to be read, where it does not say so itself.
    instruments, zero_point, band
        As in `residua.storage.describe.HowToRead`.
    widest_seeing
        Exposures with a wider PSF, arcsec, are left out.
    threads
        Threads to use; never change a bit.
    on_step
        Told, with the file's name, when a file has been measured, and when it has been matched.

    Raises
    ------
    residua.errors.UnusableImageError
        Fewer than two exposures can be used; the message says why.
    residua.errors.FilterMismatchError
        They were not taken through one filter.
    residua.errors.ResiduaError
        A file cannot be read.
    """
    if output.exists():
        raise UnusableImageError(f"{output} exists; give another name, or remove it")
    known = instruments or InstrumentRegistry()
    ways = list(readings) or [None] * len(files)

    def opened_of(n: int) -> OpenedFile:
        return open_file(
            files[n],
            instruments=known,
            zero_point=zero_point,
            reading=ways[n],
            band=band,
            companions=companions_of(ways[n]),
        )

    facts: list[ExposureFacts] = []
    inputs: list[Input] = []
    for n in range(len(files)):
        opened = opened_of(n)
        refuse_too_large(opened.file)
        contents = opened.file.decode()
        facts.append(ExposureFacts.of(opened, contents))
        inputs.append(measured(opened, contents, widest_seeing))
        on_step(files[n])
    check_alike(files, facts, band)
    usable = [n for n, i in enumerate(inputs) if not i.refused]
    if len(usable) < 2:
        raise too_few(inputs)
    # Of equal seeing the first, whatever their order of measurement.
    first = max(usable, key=lambda n: inputs[n].fwhm)
    opened = opened_of(first)
    reference = exposure_of(files[first], opened.file.decode())
    matched: dict[int, Matched] = {first: as_it_is(reference, inputs[first].fwhm)}
    on_step(files[first])
    for n in usable:
        if n == first:
            continue
        try:
            exposure = exposure_of(files[n], opened_of(n).file.decode())
            matched[n] = match(reference, exposure, inputs[n].fwhm, threads=threads)
        except ResiduaError as e:
            inputs[n] = left_out(inputs[n], e.message)
        on_step(files[n])
    used = list(matched)
    if len(used) < 2:
        raise too_few(inputs, inputs[first].name)
    coadd = combine([matched[n] for n in used])
    for k, n in enumerate(used):
        inputs[n] = Input(
            inputs[n].uri,
            inputs[n].checksum,
            inputs[n].fwhm,
            coadd.weights[k],
            matched[n].scale,
            coadd.clipped[k],
        )
    others = [n for n in range(len(files)) if n not in used]
    ordered = tuple(inputs[n] for n in (*used, *others))
    chosen = band or facts[first].band
    assert chosen is not None
    write_built(output, coadd, reference, ordered, [facts[n] for n in used], chosen, threads)
    noise = float(np.sqrt(np.nanmedian(coadd.variance[::8, ::8])))
    return BuiltTemplate(
        output,
        ordered,
        inputs[first].fwhm,
        float((coadd.count > 0).mean()),
        float((coadd.count == len(used)).mean()),
        noise,
        coadd.correlation,
        reference.image.unit,
    )
