"""What was done to one visit-detector and why, in sentences, from its record alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from residua_schemas import DifferenceImageCreated
from residua_schemas.quality import Quality

__all__ = [
    "QualityRow",
    "Statement",
    "explain",
    "explain_outcome",
    "quality_rows",
    "replay_command",
]


@dataclass(frozen=True)
class Statement:
    """One thing that is to be known.

    Parameters
    ----------
    topic
        What it is about.
    level
        ``note`` for what is out of order.
    """

    topic: str
    text: str
    level: Literal["plain", "note"] = "plain"


@dataclass(frozen=True)
class QualityRow:
    """A number of the quality record beside its limits.

    Parameters
    ----------
    flagged
        The limit that it is beyond; `None` if it is not.
    fails
        The limit beyond which no image is written; `None` if there is none.
    """

    name: str
    value: float | int | bool | None
    meaning: str
    flagged: float | None
    fails: float | None


# The limits of the configuration, by the field of the record that they are laid on.
_FAILS_BEYOND = {
    "relative_residual_low": "relative_residual",
    "flux_residual": "flux_residual",
    "variance_scale": "noise_factor",
    "sky_structure": "sky_structure",
}

_ADVICE = {
    "relative_residual": "stars are not taken away whole: look at registration and kernel",
    "flux_residual": "the photometric scale is off: look at the zero points of both images",
    "wing_residual": "rings are left around stars: the kernel is too small for these PSFs",
    "astrometric_shift": "stars leave dipoles: the WCS of one image is off by this much",
    "psf_width_residual": "the matched PSFs differ in width",
    "noise_ratio": "the variance planes do not say the noise there is",
    "sky_structure": "the sky has structure: background, glints or fringes",
    "kernel_chi2": "the kernel does not describe the stars",
    "variance_scale": "the variance planes are off by a factor",
    "variance_varies": "the variance planes are off by a factor that varies over the image",
    "kernel_stars_rejected": "many stars did not fit: blends, variables, or a PSF that jumps",
    "dipoles": "many detections come in pairs of both signs: a shift, or moving stars",
    "photometric_scale": "two calibrated images have different scales: clouds, or a zero point",
    "few_stars": "few stars to judge the match by: its numbers say little",
    "undersampled": "the PSF is undersampled: bright stars leave residuals",
    "streak": "a satellite's trail was found and masked",
    "psf_star_widths": "the PSF's stars have different widths: it jumps, or is that of galaxies",
    "psf_few_stars": "the PSF stands on few stars, or on few among galaxies: fluxes may be off",
    "psf_misfit": "the PSF is wider or narrower than the stars it was measured on",
    "kernel_scale": "one star alone says how the fluxes of both images compare",
    "sharp_in_both": "pixels sharper than the PSF are in both images: hot ones, or stars among "
    "galaxies that the PSF was measured on",
    "pieces_without_kernel": "pieces of the template have too few stars for a kernel of their own",
    "saturation_unknown": "nobody said where pixels saturate; cores of stars were looked at",
}


def explain(event: DifferenceImageCreated) -> list[Statement]:
    """Say what was done to make a difference image."""
    found = [_templates(event), _registration(event.quality), _side(event), _kernel(event)]
    found += [_noise(event.quality), _stars(event.quality), _detections(event), _depth(event)]
    flags = event.quality.flags
    if flags is None:
        found.append(Statement("Flags", "it was made before flags were recorded"))
    elif not flags:
        found.append(Statement("Flags", "none: every number is within its limits"))
    for flag in flags or ():
        advice = _ADVICE.get(flag.name, "see the quality record")
        text = f"{flag.name}: {flag.value:.4g}, beyond {flag.limit:.4g}: {advice}"
        found.append(Statement("Flag", text, "note"))
    return found


def explain_outcome(row: Mapping[str, Any]) -> list[Statement]:
    """Say why there is no difference image, from the row of ``visit_detector``."""
    found = [
        Statement("Outcome", f"{row['outcome']}: {row['reason'] or 'no reason given'}", "note")
    ]
    if row["message"]:
        found.append(Statement("Why", str(row["message"])))
    if row["responsible"]:
        found.append(Statement("Who should act", str(row["responsible"])))
    found.append(Statement("Try again", replay_command(row)))
    return found


def replay_command(row: Mapping[str, Any]) -> str:
    """Return the command that has a visit-detector made again."""
    return (
        f"residua replay --instrument {row['instrument']} --visits {row['visit']} "
        f"--detector {row['detector']} --force"
    )


def quality_rows(event: DifferenceImageCreated) -> Sequence[QualityRow]:
    """Return the quality record, number by number, beside its limits."""
    values = vars(event.quality)
    flags = {flag.name: flag.limit for flag in event.quality.flags or ()}
    limits: Any = event.configuration.get("limits") or {}
    return [
        QualityRow(
            name,
            values[name],
            field.description or "",
            flags.get(name),
            limits.get(_FAILS_BEYOND.get(name, "")),
        )
        for name, field in Quality.model_fields.items()
        if name != "flags" and values[name] is not None
    ]


def _templates(event: DifferenceImageCreated) -> Statement:
    patches: dict[tuple[str, int], list[int]] = {}
    for t in event.templates:
        patches.setdefault((t.skymap, t.tract), []).append(t.patch)
    where = "; ".join(
        f"{skymap} tract {tract} patch{'es' if len(p) > 1 else ''} {', '.join(map(str, sorted(p)))}"
        for (skymap, tract), p in patches.items()
    )
    least: Any = event.configuration.get("minimum_coverage")
    needed = "" if least is None else f"; {100.0 * least:g} % are needed"
    number = len(event.templates)
    return Statement(
        "Templates",
        f"{number} coadd{'s' if number != 1 else ''} of set {event.template_set} ({where}) cover "
        f"{100.0 * event.quality.coverage:.1f} % of the usable pixels{needed}",
    )


def _registration(q: Quality) -> Statement:
    if not q.registration_stars_offered:
        text = "no star was measured in both images: the WCSs were taken as they are"
        return Statement("Registration", text, "note")
    stars = f"{q.registration_stars} of {q.registration_stars_offered} stars agree"
    if not q.registration_maximum:
        return Statement("Registration", f"{stars}: both WCSs are right, nothing was moved")
    smooth = (
        f", with a smooth part of {q.registration_scale:.0f} pixels" if q.registration_scale else ""
    )
    return Statement(
        "Registration",
        f"{stars}; the template was moved by ({q.registration_offset_x:+.3f}, "
        f"{q.registration_offset_y:+.3f}) pixels at the centre, rms {q.registration_rms or 0:.3f}, "
        f"at most {q.registration_maximum:.3f}{smooth}",
    )


def _side(event: DifferenceImageCreated) -> Statement:
    q, side = event.quality, event.kernel.convolved
    other = "science" if side == "template" else "template"
    asked = event.configuration.get("convolve", "auto")
    reason = "as configured" if asked != "auto" else "its PSF is the sharper one"
    widths = {"science": q.science_fwhm, "template": q.template_fwhm}
    numbers = ""
    if widths[side] is not None and widths[other] is not None:
        numbers = f": FWHM {widths[side]:.2f} pixels, the {other} image's {widths[other]:.2f}"
    return Statement("Convolved", f"the {side} image, {reason}{numbers}")


def _kernel(event: DifferenceImageCreated) -> Statement:
    k = event.kernel
    chi2 = "" if k.chi2 is None else f", median reduced χ² {k.chi2:.2f}"
    vary = (
        "constant over the image"
        if k.spatial_order == 0
        else f"varying with order {k.spatial_order}, its sum by {100.0 * k.sum_variation:.2f} %"
    )
    return Statement(
        "Kernel",
        f"{k.basis_functions} basis functions in {2 * k.half_width + 1} × {2 * k.half_width + 1} "
        f"pixels, {vary}; {k.stars} stars used, {k.stars_rejected} rejected{chi2}; "
        f"photometric scale {k.sum:.4f}",
    )


def _noise(q: Quality) -> Statement:
    if q.noise_corrected:
        text = f"the variances were off by {q.variance_scale or 1:.3f} in sigma, and corrected"
    else:
        text = "the variances were taken as they are"
    if q.matched_filter_sn_std is not None:
        text += f"; S/N of the free sky has standard deviation {q.matched_filter_sn_std:.3f}"
    if q.pull_rms is not None:
        text += f", pixels over sigma {q.pull_rms:.3f} (1 is honest)"
    return Statement("Noise", text)


def _stars(q: Quality) -> Statement:
    if not q.stars_judged or q.relative_residual is None:
        return Statement("Stars", "too few to judge what is left of them")
    text = f"{100.0 * q.relative_residual:.2f} % of {q.stars_judged} stars' image is left"
    if q.astrometric_shift is not None:
        text += f"; their dipoles show a shift of {q.astrometric_shift:.3f} pixels"
    if q.flux_residual is not None:
        text += f"; their flux is off by {100.0 * q.flux_residual:+.2f} %"
    return Statement("Stars", text)


def _detections(event: DifferenceImageCreated) -> Statement:
    q = event.quality
    threshold = event.configuration.get("detection_threshold", 5.0)
    pairs = "" if not q.dipole_fraction else f"; {100.0 * q.dipole_fraction:.0f} % beside another"
    return Statement(
        "Detections",
        f"{q.detections_positive} above and {q.detections_negative} below the template, at "
        f"|S/N| of {threshold} and more{pairs}; {100.0 * q.masked_fraction:.1f} % of the "
        "pixels are masked",
    )


def _depth(event: DifferenceImageCreated) -> Statement:
    q = event.quality
    if q.limiting_magnitude is not None:
        return Statement(
            "Depth", f"5 sigma for a point source: {q.limiting_magnitude:.2f} mag (AB)"
        )
    if q.limiting_flux is not None:
        return Statement("Depth", f"5 sigma for a point source: {q.limiting_flux:.4g} {event.unit}")
    return Statement("Depth", "not measured")
