"""One template from the files of several earlier exposures."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header

from residua.coadds.combine import Coadd, combine
from residua.coadds.exposures import Exposure, Matched, as_it_is, match, seeing
from residua.errors import FilterMismatchError, ResiduaError, UnusableImageError
from residua.identity import installed_version
from residua.instruments import InstrumentRegistry
from residua.instruments.filter_names import same_filter
from residua.storage.describe import OpenedFile, open_file
from residua.storage.objects import read_object, resolve
from residua.storage.read.file_contents import FileContents
from residua.storage.read.readers import refuse_too_large
from residua.storage.write.observation_info import set_card
from residua.storage.write.template import write_template
from residua.subtraction.images import ScienceImage, TemplateImage
from residua_schemas import ImageReading

__all__ = ["BuiltTemplate", "Input", "build_template"]

SKYMAP = "exposures"
"""Sky map of templates that are built: each has a tract of its own."""


@dataclass(frozen=True)
class Input:
    """One exposure that was given.

    Parameters
    ----------
    uri, checksum
        Of its file.
    fwhm
        Of its PSF, arcsec.
    weight, scale, clipped
        Its part in the mean; what its fluxes were multiplied with; fraction of its pixels left out
        as outliers. 0 where it was not used.
    refused
        Why it was left out; empty if it was not.
    """

    uri: str
    checksum: str
    fwhm: float = float("nan")
    weight: float = 0.0
    scale: float = float("nan")
    clipped: float = 0.0
    refused: str = ""

    @property
    def name(self) -> str:
        """Name of its file, without its folders."""
        return self.uri.rsplit("/", 1)[-1]


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
        As in `residua.storage.describe.describe_visit_image`.
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
            known,
            zero_point=zero_point,
            reading=ways[n],
            band=band,
            companions=_companions(ways[n]),
        )

    facts: list[_Facts] = []
    inputs: list[Input] = []
    for n in range(len(files)):
        opened = opened_of(n)
        refuse_too_large(opened.file)
        contents = opened.file.decode()
        facts.append(_Facts.of(opened, contents))
        inputs.append(_measured(opened, contents, widest_seeing))
        on_step(files[n])
    _check_alike(files, facts, band)
    usable = [n for n, i in enumerate(inputs) if not i.refused]
    if len(usable) < 2:
        raise _too_few(inputs)
    # Of equal seeing the first, whatever their order of measurement.
    first = max(usable, key=lambda n: inputs[n].fwhm)
    opened = opened_of(first)
    reference = _exposure(files[first], opened.file.decode())
    matched: dict[int, Matched] = {first: as_it_is(reference, inputs[first].fwhm)}
    on_step(files[first])
    for n in usable:
        if n == first:
            continue
        try:
            exposure = _exposure(files[n], opened_of(n).file.decode())
            matched[n] = match(reference, exposure, inputs[n].fwhm, threads=threads)
        except ResiduaError as e:
            inputs[n] = _left_out(inputs[n], e.message)
        on_step(files[n])
    used = list(matched)
    if len(used) < 2:
        raise _too_few(inputs, inputs[first].name)
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
    _write(output, coadd, reference, ordered, [facts[n] for n in used], chosen, threads)
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


@dataclass(frozen=True)
class _Facts:
    unit: str
    band: str | None
    physical_filter: str | None
    instrument: str | None
    exposure_time: float | None
    begin: str

    @classmethod
    def of(cls, opened: OpenedFile, contents: FileContents) -> "_Facts":
        found = opened.file.metadata
        begin = "" if found.begin_tai is None else found.begin_tai.isoformat()
        return cls(
            contents.unit,
            found.band,
            found.physical_filter,
            found.instrument,
            found.exposure_time,
            begin,
        )


def _companions(reading: ImageReading | None) -> dict[str, bytes]:
    found = {}
    for role in ("variance", "weight", "mask"):
        uri = getattr(reading, f"{role}_uri", None)
        if uri is not None:
            folder = uri.rpartition("/")[0]
            found[role] = read_object(resolve(uri, [folder]), None)[0]
    return found


def _exposure(name: str, contents: FileContents) -> Exposure:
    image = ScienceImage(
        contents.image,
        contents.variance,
        contents.mask,
        contents.wcs,
        contents.psf,
        contents.unit,
    )
    return Exposure(name, image)


def _measured(opened: OpenedFile, contents: FileContents, widest: float | None) -> Input:
    found = Input(str(opened.location.geturl()), opened.checksum)
    try:
        fwhm = seeing(_exposure(opened.label, contents))
    except ResiduaError as e:
        return _left_out(found, e.message)
    found = Input(found.uri, found.checksum, fwhm)
    if widest is not None and fwhm > widest:
        return _left_out(found, f"its PSF of {fwhm:.2f} arcsec is wider than {widest:g} arcsec")
    return found


def _left_out(found: Input, why: str) -> Input:
    return Input(found.uri, found.checksum, found.fwhm, refused=why)


def _too_few(inputs: Sequence[Input], reference: str | None = None) -> UnusableImageError:
    reasons = "; ".join(f"{i.name}: {i.refused}" for i in inputs if i.refused)
    usable = sum(not i.refused for i in inputs)
    return UnusableImageError(
        f"a template needs two exposures or more, {usable} of {len(inputs)} can be used"
        + (f" with {reference} as the reference" if reference else "")
        + (f": {reasons}" if reasons else ""),
        given=len(inputs),
        usable=usable,
    )


def _check_alike(files: Sequence[str], facts: Sequence[_Facts], band: str | None) -> None:
    units = {f.unit for f in facts}
    if len(units) > 1:
        which = ", ".join(f"{n} in {f.unit}" for n, f in zip(files, facts, strict=True))
        raise UnusableImageError(
            f"the exposures have no unit in common ({which}); give the zero point of those that "
            "state none (--zero-point)"
        )
    if band is not None:
        return
    first = facts[0]
    for name, other in zip(files, facts, strict=True):
        same = other.band == first.band and same_filter(
            first.physical_filter, other.physical_filter, first.band or ""
        )
        if not same:
            raise FilterMismatchError(
                f"{name} was taken through {other.physical_filter or other.band!r}, {files[0]} "
                f"through {first.physical_filter or first.band!r}; if they may be averaged, give "
                "their band (--band)",
                templates=len(files),
                coverage=0.0,
            )
    if first.band is None:
        raise UnusableImageError(f"{files[0]} names no band: give one (--band)")


def _write(
    output: Path,
    coadd: Coadd,
    reference: Exposure,
    inputs: Sequence[Input],
    facts: Sequence[_Facts],
    band: str,
    threads: int,
) -> None:
    used = [i for i in inputs if not i.refused]
    digest = hashlib.sha256(" ".join(i.checksum for i in used).encode()).hexdigest()
    times = [f.exposure_time for f in facts if f.exposure_time is not None]
    begins = sorted(f.begin for f in facts if f.begin)
    physical = {f.physical_filter for f in facts}
    cameras = {f.instrument for f in facts}

    def cards(header: Header) -> None:
        header["LONGSTRN"] = ("OGIP 1.0", "The OGIP long string convention may be used")
        if len(physical) == 1:
            set_card(header, "FILTER", physical.pop(), "Physical filter")
        if len(cameras) == 1:
            set_card(header, "INSTRUME", cameras.pop(), "Instrument")
        set_card(header, "PROGRAM", f"residua {installed_version('residua')}", "Made by")
        set_card(header, "EXPTIME", sum(times) if times else None, "[s] Of all exposures")
        set_card(header, "TIMESYS", "TAI" if begins else None, "Time scale")
        set_card(header, "FIRSTOBS", begins[0] if begins else None, "Begin of the first exposure")
        set_card(header, "LASTOBS", begins[-1] if begins else None, "Begin of the last exposure")
        set_card(header, "PSFFWHM", used[0].fwhm, "[arcsec] All were convolved to this PSF")
        set_card(header, "NOISEFAC", coadd.noise_factor, "Measured over predicted variance")
        set_card(header, "NCORRX", coadd.correlation[0], "Correlation of the noise at 1 pixel, x")
        set_card(header, "NCORRY", coadd.correlation[1], "Correlation of the noise at 1 pixel, y")
        set_card(header, "COVERED", float((coadd.count > 0).mean()), "Part with an exposure")
        full = float((coadd.count == len(used)).mean())
        set_card(header, "COVERALL", full, "Part with all exposures")
        set_card(header, "NINPUT", len(used), "Number of exposures; the first is the reference")
        for n, found in enumerate(used[:99], start=1):
            set_card(header, f"INP{n:02d}", found.uri.rsplit("/", 1)[-1], "")
            set_card(header, f"ISUM{n:02d}", found.checksum, "")
            set_card(header, f"IWGT{n:02d}", found.weight, "Weight")
            set_card(header, f"IFWHM{n:02d}", found.fwhm, "[arcsec] Own PSF")
            set_card(header, f"ISCAL{n:02d}", found.scale, "Factor to its fluxes")
            set_card(header, f"ICLIP{n:02d}", found.clipped, "Part left out as outliers")

    template = TemplateImage(
        coadd.image,
        coadd.variance,
        coadd.mask,
        reference.image.wcs,
        None,
        reference.image.unit,
        output.name,
    )
    write_template(
        output,
        template,
        skymap=SKYMAP,
        tract=int(digest[:7], 16),
        patch=0,
        band=band,
        threads=threads,
        more_cards=cards,
    )
    coverage = fits.ImageHDU(coadd.count, name="COVERAGE")
    coverage.header["COMMENT"] = "Exposures in each pixel."
    fits.append(output, coverage.data, coverage.header)
