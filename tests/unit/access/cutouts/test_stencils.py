"""Boxes of pixels around regions, against every pixel asked for itself."""

import numpy as np
import pytest
from astropy.wcs import WCS

from residua.access.cutouts.stencils import pixel_box
from residua.sphere.regions import Point, parse_region
from residua.sphere.relations import contains

NY, NX = 30, 40
FINE = 4


def tangent_plane(ra, dec):
    """Pixels of 10 arcsec, a little turned."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [NX / 2 + 0.5, NY / 2 + 0.5]
    wcs.wcs.cd = np.array([[-1.0, 0.1], [0.1, 1.0]]) * 10.0 / 3600.0
    wcs.wcs.set()
    return wcs


def inside(region, wcs):
    """Columns and rows (n, 2) of all points of a fine grid over the image that lie in a region."""
    x, y = np.meshgrid(*((np.arange(n * FINE) + 0.5) / FINE - 0.5 for n in (NX, NY)))
    pixels = np.column_stack([x.ravel(), y.ravel()])
    sky = wcs.all_pix2world(pixels, 0)
    held = [contains(Point(float(ra), float(dec)), region) for ra, dec in sky]
    return pixels[np.array(held)]


@pytest.mark.parametrize(
    ("center", "text"),
    [
        ((53.1, -27.8), "CIRCLE 53.1 -27.8 0.02"),
        ((53.1, -27.8), "CIRCLE 53.1 -29 1.19"),
        ((53.1, -27.8), "CIRCLE 53.15 -27.83 0.03"),
        ((53.1, -27.8), "CIRCLE 233.1 27.8 179.99"),
        ((53.1, -27.8), "POLYGON 53.09 -27.81 53.11 -27.81 53.12 -27.78"),
        # Sides that leave the image at once, and go far.
        ((53.1, -27.8), "POLYGON 53.1 -27.8 60 -27.8 60 -20"),
        ((53.1, -27.8), "RANGE 53.09 53.11 -27.81 -27.80"),
        # Sides without an end.
        ((53.1, -27.8), "RANGE -Inf 53.1 -27.81 -27.80"),
        ((53.1, -27.8), "RANGE 53.12 +Inf -27.81 -27.80"),
        ((53.1, -27.8), "RANGE 53.09 53.1 -Inf +Inf"),
        ((53.1, -27.8), "RANGE 0 360 -27.81 -27.80"),
        ((0.0, 80.0), "RANGE 350 10 79.98 79.99"),
        ((0.0, 89.99), "RANGE 0 90 89.97 90"),
        ((0.0, 90.0), "RANGE 0 360 89.98 89.99"),
    ],
)
def test_a_box_holds_the_part_of_the_region_on_the_image_and_no_more(center, text):
    wcs, region = tangent_plane(*center), parse_region(text)
    box = pixel_box(region, wcs, (NY, NX))
    held = inside(region, wcs)
    assert len(held)
    rows, columns = box
    low, high = held.min(axis=0), held.max(axis=0)
    assert (low >= (columns.start - 0.5, rows.start - 0.5)).all()
    assert (high <= (columns.stop - 0.5, rows.stop - 0.5)).all()
    # A corner of the region may come into a pixel without coming to a point of the grid.
    assert (low <= (columns.start + 1.0, rows.start + 1.0)).all()
    assert (high >= (columns.stop - 2.0, rows.stop - 2.0)).all()


@pytest.mark.parametrize(
    "text",
    ["CIRCLE 53.3 -27.8 0.1", "CIRCLE 233.1 27.8 90", "RANGE 54 53 -27.79 -27.7", "RANGE 0 1 0 1"],
)
def test_off_the_image_there_is_none(text):
    wcs, region = tangent_plane(53.1, -27.8), parse_region(text)
    assert (pixel_box(region, wcs, (NY, NX)) is None) == (len(inside(region, wcs)) == 0)
