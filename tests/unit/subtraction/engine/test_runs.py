"""Connected regions, against scipy's."""

import numpy as np
import pytest
from scipy import ndimage

from residua.subtraction.engine.runs import connect, runs


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shape", [(1, 5), (40, 63), (90, 200)])
def test_regions_are_those_of_a_labelling_with_diagonals(shape, sign):
    sn = np.random.default_rng(shape[1]).normal(0.0, 1.0, shape).astype(np.float32)
    sn[0, 3] = np.nan
    rows, first, last, starts = runs(sn, np.float32(sign), np.float32(0.6))
    roots = connect(first, last, starts)
    labels, number = ndimage.label(sign * sn >= 0.6, np.ones((3, 3)))
    covered = np.zeros(shape, bool)
    partners = set()
    for row, a, b, root in zip(rows, first, last, roots, strict=True):
        covered[row, a : b + 1] = True
        partners.add((int(root), int(labels[row, a])))
    np.testing.assert_array_equal(covered, labels > 0)
    # One root for each label, and the other way round.
    assert len(partners) == number == len({r for r, _ in partners}) == len({n for _, n in partners})
    assert starts[-1] == len(rows)


def test_nothing_beyond_the_threshold_is_no_run():
    rows, *_, starts = runs(np.zeros((7, 9), np.float32), np.float32(1), np.float32(1))
    assert len(rows) == 0
    assert not starts.any()
