"""A box of an image that is made alone has the bits of the whole image."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from residua.simulation.sky import scene, simulate_pair
from residua.subtraction import SubtractionConfig
from residua.subtraction.masks import MaskBit
from residua.subtraction.solve import solve_and_apply
from residua.subtraction.steps.apply import apply
from residua.subtraction.steps.region import FILL_REACH, enclosing, margin

SHAPE = (700, 620)
PLANES = ("image", "variance", "mask", "matched_template")


@cache
def solved(convolve):
    """A solution with its image; the visit has a trail, holes, hits and NaN."""
    made = simulate_pair(scene("deep", SHAPE, stars=12000.0, transients=1500.0), 9301)
    image, mask = made.science.image.copy(), made.science.mask.copy()
    image[100:104, 80:200] = 1e6
    mask[100:104, 80:200] |= int(MaskBit.BAD)
    image[60:600, 330:332] = -50.0
    mask[60:600, 330:332] |= int(MaskBit.SATURATED)
    for k in range(40):
        image[37 + 16 * k, 30 + 14 * k] += 4000.0
    image[50:60, 400:410] = np.nan
    science = dataclasses.replace(made.science, image=image, mask=mask)
    solution, difference = solve_and_apply(
        science, made.templates, SubtractionConfig(convolve=convolve)
    )
    return solution, science, made.templates, difference


def check(convolve, box, **sources):
    solution, science, templates, whole = solved(convolve)
    made = apply(
        solution, sources.get("science", science), sources.get("templates", templates), box=box
    )
    assert (made.y0, made.x0) == (box[0].start, box[1].start)
    for name in PLANES:
        got, expected = getattr(made, name), getattr(whole, name)[box]
        assert got.shape == expected.shape
        assert got.tobytes() == np.ascontiguousarray(expected).tobytes(), (name, box)


CORNERS = [
    np.s_[0:51, 0:51],
    np.s_[649:700, 0:51],
    np.s_[0:51, 569:620],
    np.s_[649:700, 569:620],
    np.s_[0:700, 0:620],
    np.s_[699:700, 619:620],
    np.s_[300:301, 0:620],
    np.s_[64:128, 128:192],
    np.s_[63:129, 127:193],
]


@pytest.mark.parametrize("convolve", ["template", "science"])
def test_corners_and_edges(convolve):
    for box in CORNERS:
        check(convolve, box)


@pytest.mark.parametrize("convolve", ["template", "science"])
@pytest.mark.parametrize("side", [1, 51, 150])
def test_boxes_anywhere(convolve, side):
    rng = np.random.default_rng(side)
    for _ in range(12):
        y, x = rng.integers(0, SHAPE[0] - side), rng.integers(0, SHAPE[1] - side)
        check(convolve, np.s_[int(y) : int(y) + side, int(x) : int(x) + side])


@pytest.mark.parametrize("convolve", ["template", "science"])
def test_less_margin_is_too_little(convolve, monkeypatch):
    """The boxes above can tell: with an eighth of the margin they differ."""
    monkeypatch.setattr("residua.subtraction.steps.apply.margin", lambda s: margin(s) // 8)
    wrong = 0
    # A window begins at a multiple of 64: these have eight pixels around.
    for y in range(72, 500, 64):
        try:
            check(convolve, np.s_[y : y + 48, 72:120])
        except AssertionError:
            wrong += 1
    assert wrong > 0


@dataclasses.dataclass
class Recorded:
    """An image on a disk, as it were, that counts what is read of it."""

    image: object
    pixels: int = 0

    @property
    def shape(self):
        return self.image.image.shape

    def read(self, box):
        ny, nx = self.shape
        assert 0 <= box[0].start < box[0].stop <= ny
        assert 0 <= box[1].start < box[1].stop <= nx
        planes = [
            np.ascontiguousarray(getattr(self.image, name)[box])
            for name in ("image", "variance", "mask")
        ]
        self.pixels += planes[0].size
        return dataclasses.replace(self.image, **dict(zip(PLANES, planes, strict=False)))


def test_only_what_a_box_needs_is_read():
    _, science, templates, _ = solved("template")
    sources = {
        "science": Recorded(science),
        "templates": [Recorded(template) for template in templates],
    }
    check("template", np.s_[500:551, 130:181], **sources)
    everything = science.image.size + sum(t.image.size for t in templates)
    read = sources["science"].pixels + sum(t.pixels for t in sources["templates"])
    assert read < 0.5 * everything
    solution = solved("template")[0]
    window = enclosing((500, 551, 130, 181), margin(solution), SHAPE)
    assert sources["science"].pixels in (
        window.shape[0] * window.shape[1],
        window.shape[0] * window.shape[1] + _wider(window),
    )


def _wider(window):
    rows, columns = window.slices
    wider = enclosing((rows.start, rows.stop, columns.start, columns.stop), FILL_REACH, SHAPE)
    return wider.shape[0] * wider.shape[1]


@pytest.mark.parametrize(
    "box", [np.s_[0:0, 0:10], np.s_[-5:10, 0:10], np.s_[0:10, 600:621], np.s_[0:10:2, 0:10]]
)
def test_boxes_that_are_none_are_refused(box):
    solution, science, templates, _ = solved("template")
    with pytest.raises(ValueError, match="does not lie in an image"):
        apply(solution, science, templates, box=box)
