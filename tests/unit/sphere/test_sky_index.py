"""The index of footprints: nothing that overlaps is missed, and the cost does not grow."""

import numpy as np
import pytest
from tests.unit.sphere.test_overlap import square

from residua.sphere.overlap import overlapping, regions_overlap
from residua.sphere.sky_index import SkyIndex
from residua.worker.templates.template_shelf import TemplateShelf
from residua_schemas import TemplateCoadd
from residua_schemas.examples import examples


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("place", ["anywhere", "pole", "wrap"])
def test_every_footprint_that_overlaps_is_found(seed, place):
    rng = np.random.default_rng(seed)

    def position():
        if place == "pole":
            return rng.uniform(0, 360), rng.choice([-1, 1]) * (90.0 - rng.exponential(1.0) % 90)
        if place == "wrap":
            return rng.normal(0.0, 2.0) % 360.0, rng.uniform(-3, 3)
        return rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1)))

    index = SkyIndex()
    regions = {}
    for n in range(400):
        # Sizes from arcseconds to tens of degrees.
        half = 10.0 ** rng.uniform(-3.0, 1.3)
        regions[b"%d" % n] = square(*position(), half, rng.uniform(0, 90))
        index.add(b"%d" % n, regions[b"%d" % n])
    for key in list(regions)[::7]:
        assert index.remove(key)
        assert not index.remove(key)
        del regions[key]
    assert len(index) == len(regions)
    for _ in range(15):
        asked = square(*position(), 10.0 ** rng.uniform(-2.0, 1.0), rng.uniform(0, 90))
        near = set(index.near(asked))
        missed = {k for k, r in regions.items() if regions_overlap(r, asked)} - near
        assert not missed


def test_a_footprint_moves_with_its_key():
    index = SkyIndex()
    index.add(b"k", square(10.0, 0.0, 0.1))
    index.add(b"k", square(200.0, 50.0, 3.0))
    assert index.near(square(10.0, 0.0, 1.0)) == []
    assert index.near(square(200.0, 50.0, 0.1)) == [b"k"]
    assert len(index) == 1


def test_many_polygons_are_tested_as_one_by_one():
    rng = np.random.default_rng(3)
    a = square(30.0, 10.0, 0.2, 20.0)
    others = [
        square(
            30.0 + rng.uniform(-0.5, 0.5), 10.0 + rng.uniform(-0.5, 0.5), 0.1, rng.uniform(0, 90)
        )
        for _ in range(100)
    ]
    triangles = [o.model_copy(update={"vertices": o.vertices[:3]}) for o in others[:30]]
    both = [x for pair in zip(others[:30], triangles, strict=True) for x in pair] + others[30:]
    found = overlapping(a, both)
    assert found == [regions_overlap(a, o) for o in both]
    assert 10 < sum(found) < 100


@pytest.mark.parametrize("number", [1_000, 20_000])
def test_the_overlap_tests_of_an_arrival_do_not_grow_with_the_survey(number):
    """A thousand patches or twenty thousand: the ones around the detector are looked at."""
    counted = []

    def overlaps(region, others):
        counted.append(len(others))
        return overlapping(region, others)

    shelf = TemplateShelf(overlaps)
    example = examples()[TemplateCoadd]
    for n in range(number):
        ra, dec = 0.2 * (n % 1000), -10.0 + 0.2 * (n // 1000)
        one = example.model_copy(update={"patch": n, "region": square(ra + 0.1, dec + 0.1, 0.1)})
        shelf.put(one.key, one)
    assert len(shelf) == number
    for ra in (33.3, 100.0, 150.05):
        detector = square(ra, -9.85, 0.11, 30.0)
        assert 1 <= len(shelf.candidates("r", detector)) <= 9
    assert max(counted) <= 12
