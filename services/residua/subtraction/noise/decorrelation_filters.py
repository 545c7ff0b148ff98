"""The decorrelation's filters in the form in which they are applied and kept."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.filter_tables import FilterTables, node_tables
from residua.subtraction.images import PsfModel
from residua.subtraction.noise.decorrelation_nodes import DecorrelationNodes

__all__ = ["PSF_BITS", "DecorrelationFilters", "decorrelation_filters"]

_PSI_TOLERANCE = 6e-4
_VARIANCE_TOLERANCE = 4e-3
_LOOSEST_TOLERANCE = 5e-2
"""Errors of the filters' low-rank form, relative rms; looser for the lesser part of V'."""
_NARROW, _BITS_NARROW, _BITS_WIDE = 7, 24, 20
"""Taps of psi are multiples of 2^-24, of the wide one 2^-20: 5e-5 sigma at most."""
PSF_BITS = 26
"""The difference's PSF is in multiples of 2^-26."""


@dataclass(frozen=True)
class DecorrelationFilters:
    """What whitens a difference and propagates its variance.

    Parameters
    ----------
    psi
        What the difference is convolved with.
    science_square, template_square
        What the variances VS and VT are convolved with.
    science_variance, template_variance
        float32 (n_nodes,): medians around the nodes.
    psf
        PSF of the decorrelated difference.
    """

    psi: FilterTables
    science_square: FilterTables
    template_square: FilterTables
    science_variance: npt.NDArray[np.float32]
    template_variance: npt.NDArray[np.float32]
    psf: PsfModel


def decorrelation_filters(nodes: DecorrelationNodes) -> DecorrelationFilters:
    """Bring filters at the nodes to their low-rank, rounded form."""
    half = nodes.psi.shape[-1] // 2
    inputs = (
        (nodes.science_square, nodes.science_variance),
        (nodes.template_square, nodes.template_variance),
    )
    shares = [np.sum(stamps.sum(axis=(1, 2)) * medians) for stamps, medians in inputs]
    squares = [
        node_tables(
            stamps,
            tolerance=min(_VARIANCE_TOLERANCE * sum(shares) / share, _LOOSEST_TOLERANCE),
        )
        for (stamps, _), share in zip(inputs, shares, strict=True)
    ]
    psi = node_tables(nodes.psi, tolerance=_PSI_TOLERANCE, exact_sums=True)
    return DecorrelationFilters(
        psi.rounded(_BITS_NARROW if half <= _NARROW else _BITS_WIDE),
        squares[0],
        squares[1],
        nodes.science_variance.astype(np.float32),
        nodes.template_variance.astype(np.float32),
        nodes.psf.rounded(PSF_BITS),
    )
