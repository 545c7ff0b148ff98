"""Cards of a difference image's primary header, for those who read no JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from astropy.io.fits import Header

from residua.ports import Provenance
from residua.storage.forms.wcs import center, pixel_scale
from residua.storage.write.observation_info import set_card
from residua.subtraction.images import DifferenceImage

__all__ = ["image_cards", "provenance_cards", "quality_cards"]


def image_cards(
    header: Header, difference: DifferenceImage, shape: tuple[int, int], version: str
) -> None:
    """Add cards about the pixels: centre, unit, scale, PSF; and Residua's version."""
    ra, dec = center(difference.wcs, shape)
    set_card(header, "RA", ra, "[deg] Centre of the image, ICRS")
    set_card(header, "DEC", dec, "[deg] Centre of the image, ICRS")
    set_card(header, "RADESYS", "ICRS", "Reference frame of RA and DEC")
    set_card(header, "BUNIT", difference.unit, "Unit of the image plane")
    set_card(header, "PIXSCALE", pixel_scale(difference.wcs, shape), "[arcsec] Pixel scale")
    set_card(header, "PSFFWHM", difference.psf.fwhm(), "[pix] PSF of the difference")
    set_card(header, "ORIGIN", "Residua", "Made by")
    set_card(header, "PROGRAM", f"residua {version}", "Software and version")


def provenance_cards(header: Header, provenance: Provenance, names: Mapping[str, str]) -> None:
    """Add cards about what the image was made of; ``names`` are those of the files by URI."""
    header["LONGSTRN"] = ("OGIP 1.0", "The OGIP long string convention may be used")
    set_card(header, "DATASET", provenance.dataset_id, "Dataset id")
    set_card(header, "RUN", provenance.run, "")
    set_card(header, "PUBDID", provenance.obs_publisher_did, "")
    set_card(header, "CONFHASH", provenance.configuration_hash, "")
    set_card(header, "TMPLSET", provenance.template_set, "Template set")
    science = provenance.visit_image
    set_card(header, "SCIFILE", names.get(science.uri, science.uri), "")
    set_card(header, "SCISUM", science.checksum, "")
    references: Sequence[Any] = provenance.templates
    set_card(header, "NTMPL", len(references), "Number of template coadds")
    for n, reference in enumerate(references[:99], start=1):
        set_card(header, f"TMPL{n:02d}", names.get(reference.uri, reference.uri), "")
        set_card(header, f"TSUM{n:02d}", reference.checksum, "")


def quality_cards(header: Header, difference: DifferenceImage) -> None:
    """Add the quality record; numbers that could not be measured leave no card."""
    q = difference.quality
    cards: list[tuple[str, float | str, str]] = [
        ("CONVOLVD", difference.convolved, "Image that was convolved"),
        ("KSUM", q.kernel_sum, "Kernel sum: photometric scale"),
        ("KSUMVAR", q.kernel_sum_variation, "Relative variation of the kernel sum"),
        ("KSTARS", q.kernel_stars, "Stars in the kernel fit"),
        ("KREJECT", q.kernel_stars_rejected, "Stars clipped from the kernel fit"),
        ("KHALF", q.kernel_half_width, "[pix] Half width of the kernel"),
        ("KORDER", q.kernel_spatial_order, "Order of the kernel's variation"),
        ("KCHI2", q.kernel_chi2, "Median reduced chi^2 of the kernel stamps"),
        ("KCHI2P90", q.kernel_chi2_p90_ratio, "90th percentile over median of the same"),
        # No card where one kernel does: such files are as they were.
        ("KPIECES", q.kernel_pieces or float("nan"), "Pieces of the template with own kernels"),
        ("KBASIS", q.kernel_basis_functions, "Basis functions of the kernel"),
        ("REGSTARS", q.registration_stars, "Stars that agree with the registration"),
        ("REGOFFER", q.registration_stars_offered, "Stars measured in both images"),
        ("REGX", q.registration_offset_x, "[pix] Shift applied to the template, x"),
        ("REGY", q.registration_offset_y, "[pix] Shift applied to the template, y"),
        ("REGRMS", q.registration_rms, "[pix] rms of the shift over the image"),
        ("REGMAX", q.registration_maximum, "[pix] Largest shift"),
        ("REGSCALE", q.registration_scale, "[pix] Correlation length of the shift"),
        ("QTSNOISE", q.template_to_science_noise, "Template over science variance, matched"),
        ("QSCILAG1", q.science_lag1_autocorrelation, "The visit image's own, at 1 pixel"),
        ("QVARSCAL", q.variance_scale, "Noise over what the variances say"),
        ("QNLAG1", q.noise_lag1, "Autocorrelation before correction"),
        ("QNEXCESS", q.noise_excess, "What both do to std of S/N, beyond 1"),
        ("QNEXCERR", q.noise_excess_error, "Error of QNEXCESS"),
        ("QNCORR", q.noise_corrected, "Whether QNEXCESS was taken into account"),
        ("QRESLOW", q.relative_residual_low, "What is certain of QRESID"),
        ("QRESFERR", q.flux_residual_error, "Error of QRESFLX"),
        ("QRESWERR", q.wing_residual_error, "Error of QRESWNG"),
        ("QWIDSCAT", q.psf_width_scatter, "Scatter of QWIDTH from star to star"),
        ("QCOVER", q.coverage, "Fraction of usable pixels with template"),
        ("QMASKED", q.masked_fraction, "Fraction of pixels masked"),
        ("QSCIFWHM", q.science_fwhm, "[pix] PSF FWHM of the visit image"),
        ("QTMPFWHM", q.template_fwhm, "[pix] PSF FWHM of the warped template"),
        ("QPULLRMS", q.pull_rms, "rms of difference / sigma, free sky"),
        ("QSNSTD", q.matched_filter_sn_std, "std of the matched-filter S/N, free sky"),
        ("QLAG1", q.lag1_autocorrelation, "Noise autocorrelation at 1 pixel"),
        ("QBRIGHT", q.bright_pull_ratio, "rms pull on bright template flux / sky"),
        ("QSTARFR", q.star_detection_fraction, "Detections on bright template flux"),
        ("QNSTARS", q.stars_judged, "Stars on which residuals were measured"),
        ("QRESID", q.relative_residual, "Residual over image of the stars"),
        ("QRESFLX", q.flux_residual, "Residual flux over flux of the stars"),
        ("QRESWNG", q.wing_residual, "The same at 1.5 to 3.5 FWHM"),
        ("QSHIFT", q.astrometric_shift, "[pix] Shift that the stars' residuals show"),
        ("QWIDTH", q.psf_width_residual, "Relative width error of the matched PSF"),
        ("QNOISE", q.noise_ratio, "Noise of the free sky over what is claimed"),
        ("QSTRUCT", q.sky_structure, "std of S/N over QNOISE, free sky"),
        ("QDIPOLE", q.dipole_fraction, "Detections beside one of the other sign"),
        ("LIMFLUX", q.limiting_flux, "PSF flux of 5 sigma, unit of the image"),
        ("LIMMAG", q.limiting_magnitude, "[mag] The same, AB"),
        ("QFLAGS", ",".join(f.name for f in q.flags), "What is not as it should be"),
        ("NDETPOS", q.detections_positive, "Positive detections"),
        ("NDETNEG", q.detections_negative, "Negative detections"),
    ]
    for key, value, comment in cards:
        set_card(header, key, value, comment)
