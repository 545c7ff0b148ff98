"""Electrons per unit of a plain image's pixels, when a card's gain may be that of other pixels."""

import numpy as np
import numpy.typing as npt

from residua.errors import ResiduaError
from residua.storage.conventions.flux import calibrate
from residua.storage.conventions.values import contradictions, positive, unreadable
from residua.storage.read.plain.plain_image import PlainImage

__all__ = ["gain_of", "read_noise_of"]

_GAIN_CARDS = (
    *("EGAIN", "GAIN", "GAINEFF", "ARAWGAIN", "CCDGAIN", "GAINA", "CELL.GAIN", "ATODGAIN"),
    "ESO DET OUT1 CONAD",
)
_READ_NOISE_CARDS = (
    *("RDNOISE", "READNOIS", "READNOI", "ENOISE", "RON", "RDNOISEA", "CCDRON", "CELL.READNOISE"),
    "ESO DET OUT1 RON",
)
_BRIGHT = 20.0
_FEWEST_BRIGHT = 30
_MOST = 2.0


def gain_of(
    image: PlainImage,
    flat: npt.NDArray[np.float32],
    free: npt.NDArray[np.bool_],
    notes: list[str],
) -> tuple[float | None, str]:
    """Return the electrons per unit of the pixels, and where that comes from; `None` if unknown.

    The gain of pixels that are fluxes is that of the counts the fluxes were made of. With their
    zero point it is known; without, the card is tried as it stands, and given up when it
    predicts more noise on bright pixels than they show.

    Parameters
    ----------
    image
        The image.
    flat
        float32 (ny, nx), sky subtracted; nJy if the file's unit is a flux density.
    free
        bool (ny, nx), pixels of the sky and its sources.
    notes
        Where it is said what was done.
    """
    cards = (*image.instrument.gain_from, *_GAIN_CARDS)
    found = positive(image.header, cards)
    if image.options.gain is not None:
        return image.options.gain, "given by hand"
    if image.calibration.unit_found.electrons:
        return 1.0, "pixels are electrons"
    notes.extend(unreadable(image.header, (*cards, *_READ_NOISE_CARDS)))
    if found is None:
        return None, ""
    value, card = found
    notes.extend(contradictions(image.header, (card,)))
    if image.calibration.unit_found.to_njy is None:
        return value, f"{card} = {value:g}"
    fitting = _gain_of_fluxes(image, value, card, flat, free, notes)
    return fitting, "" if fitting is None else card


def _gain_of_fluxes(
    image: PlainImage,
    value: float,
    card: str,
    flat: npt.NDArray[np.float32],
    free: npt.NDArray[np.bool_],
    notes: list[str],
) -> float | None:
    unit = image.calibration.native_unit
    scaling = _counts_in_njy(image)
    if scaling is not None:
        notes.append(
            f"{card} = {value:g} is that of counts of {scaling:.4g} nJy each, by the zero point"
        )
    per_njy = value / (scaling or image.calibration.unit_found.to_njy or 1.0)
    measured = _bright_noise(flat, free)
    if measured is None:
        notes.append(f"{card} is not used: no bright pixels tell whether it is that of fluxes")
        return None
    level, noise = measured
    predicted = float(np.sqrt(level / per_njy))
    if predicted > np.sqrt(_MOST) * noise:
        notes.append(
            f"{card} = {value:g} is not used: pixels are fluxes, and it predicts a noise of "
            f"{predicted:.4g} nJy on bright pixels where at most {noise:.4g} is measured "
            "(--gain gives the electrons per nJy)"
        )
        return None
    if scaling is None:
        notes.append(
            f"{card} = {value:g} is taken for the electrons per {unit}, which the noise of bright "
            "pixels allows; no zero point says what a count was (--gain)"
        )
    return per_njy


def read_noise_of(image: PlainImage) -> float:
    """Return the read noise in electrons; 0 where no card has it."""
    found = positive(image.header, (*image.instrument.read_noise_from, *_READ_NOISE_CARDS))
    return 0.0 if found is None else found[0]


def _counts_in_njy(image: PlainImage) -> float | None:
    try:
        return calibrate(
            "adu",
            image.header,
            image.name,
            instrument=image.instrument,
            band=image.options.band or image.metadata.band,
            exposure_time=image.metadata.exposure_time,
        ).scaling
    except ResiduaError:
        return None


def _bright_noise(
    flat: npt.NDArray[np.float32], free: npt.NDArray[np.bool_]
) -> tuple[float, float] | None:
    # Level of the bright pixels, and the scatter of their second differences: the noise and the
    # shape of the sources, hence at least the noise.
    step = 1 + flat.shape[0] // 1000
    rows, usable = flat[::step], free[::step]
    left, here, right = rows[:, :-2], rows[:, 1:-1], rows[:, 2:]
    used = usable[:, :-2] & usable[:, 1:-1] & usable[:, 2:]
    sky = here[used]
    if sky.size < _FEWEST_BRIGHT:
        return None
    sigma = 1.4826 * float(np.median(np.abs(sky - np.median(sky))))
    bright = used & (here > _BRIGHT * sigma)
    if sigma <= 0.0 or int(bright.sum()) < _FEWEST_BRIGHT:
        return None
    bend = (2.0 * here - left - right)[bright] / np.sqrt(6.0)
    return float(np.median(here[bright])), 1.4826 * float(np.median(np.abs(bend)))
