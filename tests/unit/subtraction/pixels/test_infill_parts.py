"""Whether a part of an image is large enough to fill its flagged pixels as the whole would."""

import numpy as np
import pytest

from residua.subtraction.pixels.infill import fill_flagged, undecided

SHAPE = (300, 280)
BIT = 4


def flagged(seed):
    """Specks, short trails, long ones, and blocks."""
    rng = np.random.default_rng(seed)
    mask = np.where(rng.random(SHAPE) < 0.003, BIT, 0).astype(np.int32)
    for _ in range(5):
        y, x = rng.integers(0, SHAPE[0]), rng.integers(0, SHAPE[1])
        tall, wide = sorted(rng.integers(1, 130, 2))[:: int(rng.choice([-1, 1]))]
        mask[y : y + tall, x : x + min(wide, 4)] = BIT
        mask[x : x + min(wide, 3), y : y + tall] = BIT
    return rng.normal(0.0, 5.0, SHAPE).astype(np.float32), mask


@pytest.mark.parametrize("seed", range(8))
def test_what_is_said_to_be_decided_is_filled_as_in_the_whole(seed):
    image, mask = flagged(seed)
    whole = image.copy()
    fill_flagged(whole, mask, BIT, cores=True)
    rng = np.random.default_rng(100 + seed)
    decided = asked = 0
    for _ in range(20):
        y, x = int(rng.integers(0, 200)), int(rng.integers(0, 180))
        y, x = y * (y > 20), x * (x > 20)
        # The box, 14 px that matter, and 6 more whose outer four are not to be believed.
        y0, y1 = max(y - 20, 0), min(y + 70, SHAPE[0])
        x0, x1 = max(x - 20, 0), min(x + 70, SHAPE[1])
        area = max(y - 14, 0) - y0, min(y + 64, SHAPE[0]) - y0, max(x - 14, 0) - x0, x + 64 - x0
        ends = y0 == 0, y1 == SHAPE[0], x0 == 0, x1 == SHAPE[1]
        part, flags = image[y0:y1, x0:x1].copy(), mask[y0:y1, x0:x1].copy()
        for k, end in enumerate(ends):
            # Wrong flags outside the inner part must not matter.
            if not end:
                edge = [np.s_[:4], np.s_[-4:], np.s_[:, :4], np.s_[:, -4:]][k]
                flags[edge] ^= np.where(rng.random(flags[edge].shape) < 0.3, BIT, 0)
        lacking = undecided(flags, BIT, area, ends, 4)
        asked += bool((flags[area[0] : area[1], area[2] : area[3]] & BIT).any())
        if any(lacking):
            continue
        decided += 1
        fill_flagged(part, flags, BIT, cores=True)
        inner = np.s_[area[0] : area[1], area[2] : area[3]]
        np.testing.assert_array_equal(part[inner], whole[y0:y1, x0:x1][inner])
    assert decided > 0
    assert asked > 10


def test_a_gap_that_leaves_the_part_names_the_side():
    mask = np.zeros((100, 100), np.int32)
    area, ends = (20, 80, 20, 80), (False,) * 4
    assert undecided(mask, BIT, area, ends, 4) == (False,) * 4
    # A column to the lower end, one pixel wide: the row decides.
    mask[50:, 40] = BIT
    assert undecided(mask, BIT, area, ends, 4) == (False,) * 4
    # Wider than what is known of the column: the row may be longer than the column.
    mask[50:, 20:80] = BIT
    assert undecided(mask, BIT, area, ends, 4) == (False, True, False, False)
    # Where the image ends there is nothing more.
    assert undecided(mask, BIT, area, (False, True, False, False), 4) == (False,) * 4
    mask[:, 30:] = BIT
    assert undecided(mask, BIT, area, ends, 4) == (True, True, False, True)
