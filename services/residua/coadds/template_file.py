"""The file of a template that was made of exposures: its pixels, and the cards that say of what."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from astropy.io import fits
from astropy.io.fits import Header

from residua.coadds.combine import Coadd
from residua.coadds.exposures import Exposure
from residua.coadds.given_exposures import ExposureFacts, Input
from residua.identity import installed_version
from residua.storage.write.observation_info import set_card
from residua.storage.write.template import write_template
from residua.subtraction.images import TemplateImage

__all__ = ["write_built"]

SKYMAP = "exposures"
"""Sky map of templates that are built: each has a tract of its own."""


def write_built(
    output: Path,
    coadd: Coadd,
    reference: Exposure,
    inputs: Sequence[Input],
    facts: Sequence[ExposureFacts],
    band: str,
    threads: int,
) -> None:
    """Write a template with what it was made of.

    Parameters
    ----------
    output
        Where.
    coadd, reference
        Its pixels, and the exposure whose WCS and unit they have.
    inputs
        All that were given, those that were used first.
    facts
        Of those that were used.
    band
        Of the template.
    threads
        Threads to use; never change a byte.
    """
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
