"""What a quality record means: flags for what is not as it should be, failures for what misleads.

An image whose arithmetic is sound is written, with flags that say by name and number how good it
is. A subtraction fails only where its product would mislead: a match that leaves a large part of
the stars' light, a flux scale that is not the stars' own, a sky whose noise is not noise. All
figures are relative or robust, so that they hold for any exposure, star density and image size.

Limits come from simulated scenes of every kind of fault, on seeds that others confirmed, and from
real frames; the margin to the worst good case is given with each.
"""

import numpy as np

from residua.subtraction.config import QualityLimits
from residua.subtraction.detect.trust.sky_noise import SkyNoise
from residua.subtraction.detect.trust.star_residuals import StarResiduals
from residua.subtraction.errors import BadSubtractionError
from residua.subtraction.quality import QualityFlag, QualityRecord

__all__ = ["check_match", "check_noise", "quality_flags"]

_ERRORS = 4.0
"""Every limit is widened by so many errors of the figure: small images have large ones."""
_FWHM_PER_SIGMA = 2.3548

# Largest value of a sound subtraction: 0.024; sound but not registered: 0.035.
_RELATIVE_RESIDUAL = 0.03
_FLUX_RESIDUAL, _FLUX_ERRORS = 0.01, 3.0
_WING_RESIDUAL, _WING_ERRORS = 0.007, 3.0
_SHIFT_PER_FWHM = 0.009
_WIDTH_RESIDUAL = 0.04
_NOISE_RATIO = 0.03
_SKY_STRUCTURE = 1.04
_VARIANCE_SCALE = 0.10
# Noise alone gives 1, whatever the variance's own error, of which it is freed.
_LEAST_CHI2 = 0.2
# Without stars to compare, a kernel fitted on nothing in common is next to nothing.
_LEAST_SUM = 0.1
_KERNEL_CHI2 = 1.10
_REJECTED, _LEAST_STAMPS = 0.33, 8
_LEAST_STARS = 3
_DIPOLES, _LEAST_DETECTIONS = 0.10, 20
_SCALE = 0.2
_SAMPLED = 2.0
_EXPLAINS = 0.6
"""A shift or a width names the cause when it leaves so much of the residual found."""


def check_noise(noise: SkyNoise, limits: QualityLimits) -> None:
    """Raise if the sky is not noise of the size that the variance says, roughly.

    Parameters
    ----------
    noise
        Measured before anything is detected.
    limits
        What is tolerated.

    Raises
    ------
    BadSubtractionError
        With the cause, the measured values and the limits.
    """
    if limits.noise_factor is not None and np.isfinite(noise.noise_ratio):
        ratio = noise.noise_ratio
        allowed = limits.noise_factor * (1.0 + _ERRORS * noise.noise_ratio_error)
        if not 1.0 / allowed <= ratio <= allowed:
            small = "small" if ratio > 1.0 else "large"
            factor = ratio**2 if ratio > 1.0 else 1.0 / max(ratio, 1e-9) ** 2
            raise BadSubtractionError(
                f"the variance planes are {factor:.1f} times too {small}: the difference's sky has "
                f"{ratio:.2f} times the noise they say (limit {allowed:.2f})",
                noise_ratio=ratio,
                noise_ratio_limit=allowed,
            )
    if limits.sky_structure is not None and np.isfinite(noise.structure):
        allowed = limits.sky_structure + _ERRORS * noise.structure_error
        if noise.structure > allowed:
            raise BadSubtractionError(
                f"the difference's sky is not noise: its matched-filter S/N scatters by "
                f"{noise.structure:.2f} (limit {allowed:.2f}); {_sky_cause(noise)}",
                sky_structure=noise.structure,
                sky_structure_limit=allowed,
                background_rms=noise.background,
                noise_ratio=noise.noise_ratio,
            )


def _sky_cause(noise: SkyNoise) -> str:
    if noise.background > 0.1:
        return (
            f"a background of {noise.background:.2f} sigma rms on large scales is left: gradient, "
            "fringes or an extended source (a higher background_order may follow it: "
            "`--background-order 2`, or `background_order` in RESIDUA_SUBTRACTION)"
        )
    return "the noise of the inputs is correlated, or fine structure such as fringes is left"


def check_match(
    stars: StarResiduals,
    *,
    kernel_sum: float,
    kernel_chi2: float,
    fwhm: float,
    hints: tuple[str, ...],
    limits: QualityLimits,
) -> None:
    """Raise if the matched template does not look like the science image's stars.

    Parameters
    ----------
    stars
        Residuals of the stars.
    kernel_sum
        Photometric scale at the centre.
    kernel_chi2
        Median reduced chi^2 of the stamps, freed of the variance's own error.
    fwhm
        Of the difference's PSF, pixels.
    hints
        What else is known to be wrong with the inputs, each as a clause.
    limits
        What is tolerated.

    Raises
    ------
    BadSubtractionError
        With the cause, the measured values and the limits.
    """
    numbers = {
        "kernel_sum": kernel_sum,
        "kernel_chi2": kernel_chi2,
        "relative_residual": stars.power,
        "flux_residual": stars.flux,
        "astrometric_shift": stars.shift,
        "stars_judged": stars.stars,
    }
    if not np.isfinite(kernel_sum) or kernel_sum <= 0.0:
        raise BadSubtractionError(
            f"the matching kernel has the sum {kernel_sum:.3g}, which no pair of images of one sky "
            f"has; {_match_cause(stars, fwhm, hints)}",
            **numbers,
        )
    fitted = stars.stars == 0 and np.isfinite(kernel_chi2)
    if fitted and (kernel_chi2 < _LEAST_CHI2 or kernel_sum < _LEAST_SUM):
        raise BadSubtractionError(
            f"no star can be judged, and the kernel's stamps hold nothing that both images have: "
            f"reduced chi^2 {kernel_chi2:.3g} (least {_LEAST_CHI2}), sum {kernel_sum:.3g} (least "
            f"{_LEAST_SUM}); "
            f"{_match_cause(stars, fwhm, hints)}",
            **numbers,
        )
    broken = []
    if limits.relative_residual is not None and stars.power_low > limits.relative_residual:
        broken.append(
            f"{stars.power:.3f} of the stars' own image is left on them (relative_residual, limit "
            f"{limits.relative_residual:g})"
        )
        numbers["relative_residual_limit"] = limits.relative_residual
    if (
        limits.flux_residual is not None
        and abs(stars.flux) - 2.0 * stars.flux_error > limits.flux_residual
    ):
        broken.append(
            f"the kernel's sum {kernel_sum:.3f} is {-100.0 * stars.flux:+.1f} % off the stars' own "
            f"flux ratio (flux_residual, limit {100.0 * limits.flux_residual:g} %)"
        )
        numbers["flux_residual_limit"] = limits.flux_residual
    if limits.kernel_chi2 is not None and kernel_chi2 > limits.kernel_chi2:
        broken.append(
            f"the kernel's stars are fitted with a chi^2 of {kernel_chi2:.1f} (kernel_chi2, limit "
            f"{limits.kernel_chi2:g})"
        )
        numbers["kernel_chi2_limit"] = limits.kernel_chi2
    if broken:
        raise BadSubtractionError(
            f"the template does not match: {'; '.join(broken)}; {_match_cause(stars, fwhm, hints)}",
            **numbers,
        )


def _match_cause(stars: StarResiduals, fwhm: float, hints: tuple[str, ...]) -> str:
    """Name what explains the residuals, as far as the stars show it."""
    sigma = fwhm / _FWHM_PER_SIGMA
    found = list(hints)
    if np.isfinite(stars.shift):
        # Of a Gaussian: power of a gradient and of a Laplacian over that of the profile.
        if stars.shift / (sigma * np.sqrt(0.5)) > _EXPLAINS * stars.power:
            found.append(f"the images are shifted by {stars.shift:.2f} px against each other")
        width = stars.width / sigma**2
        if abs(width) * np.sqrt(2.0) > _EXPLAINS * stars.power:
            wider = "narrower" if width > 0 else "wider"
            found.append(
                f"the matched template's PSF is {100.0 * abs(width):.0f} % {wider} than the visit "
                "image's"
            )
    if not found:
        found.append("no single shift, width or flag explains it")
    return "cause: " + "; ".join(found)


def quality_flags(record: QualityRecord, noise: SkyNoise, unit: str) -> tuple[QualityFlag, ...]:
    """Everything about a finished difference image that is not as it should be.

    Parameters
    ----------
    record
        Measured quality.
    noise
        Noise of the sky, with its errors.
    unit
        Of the images: in ``"nJy"`` the kernel sum should be 1.
    """
    r = record
    stamps = r.kernel_stars + r.kernel_stars_rejected
    fwhm = max(r.science_fwhm, r.template_fwhm)
    sky_error = _ERRORS * noise.noise_ratio_error
    applied = r.variance_scale if r.noise_corrected else 1.0
    found = [
        _beyond("relative_residual", r.relative_residual_low, _RELATIVE_RESIDUAL),
        _beyond(
            "flux_residual",
            r.flux_residual,
            max(_FLUX_RESIDUAL, _FLUX_ERRORS * r.flux_residual_error),
        ),
        _beyond(
            "wing_residual",
            r.wing_residual,
            max(_WING_RESIDUAL, _WING_ERRORS * r.wing_residual_error),
        ),
        _beyond("astrometric_shift", r.astrometric_shift, _SHIFT_PER_FWHM * fwhm),
        _beyond("psf_width_residual", r.psf_width_residual, _WIDTH_RESIDUAL),
        _beyond("noise_ratio", r.noise_ratio, _NOISE_RATIO + sky_error, expected=1.0),
        _beyond("sky_structure", r.sky_structure, _SKY_STRUCTURE + _ERRORS * noise.structure_error),
        _beyond("kernel_chi2", r.kernel_chi2 / (r.noise_ratio * applied) ** 2, _KERNEL_CHI2),
        _beyond("variance_scale", r.variance_scale, _VARIANCE_SCALE, expected=1.0),
    ]
    if stamps >= _LEAST_STAMPS:
        found.append(_beyond("kernel_stars_rejected", r.kernel_stars_rejected / stamps, _REJECTED))
    if r.detections_positive + r.detections_negative >= _LEAST_DETECTIONS:
        found.append(_beyond("dipoles", r.dipole_fraction, _DIPOLES))
    if unit == "nJy":
        # Calibrated images have one scale: a zero point is wrong, or there are clouds.
        found.append(_beyond("photometric_scale", r.kernel_sum, _SCALE, expected=1.0))
    if r.stars_judged < _LEAST_STARS:
        found.append(QualityFlag("few_stars", r.stars_judged, _LEAST_STARS))
    sharper = min(r.science_fwhm, r.template_fwhm)
    if sharper < _SAMPLED:
        found.append(QualityFlag("undersampled", sharper, _SAMPLED))
    return tuple(flag for flag in found if flag is not None)


def _beyond(name: str, value: float, limit: float, expected: float = 0.0) -> QualityFlag | None:
    """Flag a value farther than ``limit`` from what is expected; NaN was not measured."""
    if not abs(value - expected) > limit:
        return None
    return QualityFlag(name, value, expected + limit if value > expected else expected - limit)
