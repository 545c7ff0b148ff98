"""Cutouts from object storage fetch the bytes they need and no more, as the store sent them."""

import numpy as np
import pytest
from astropy.io import fits
from lsst.resources import ResourcePath
from tests.support.servers.counting_proxy import counting_proxy
from tests.support.servers.s3 import running_s3, s3_missing

from residua.access.cutouts.cutting import write_cutout
from residua.sphere.regions import Circle
from residua.testing.difference_images import difference_image_event, write_file


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "difference_image.fits"
    event = difference_image_event(2026112200101, 4, "", shape=(3000, 3000))
    return path, write_file(path, event)


@pytest.fixture(scope="module")
def store():
    missing = s3_missing()
    if missing is not None:
        pytest.skip(missing)
    with running_s3("images") as server:
        yield server


@pytest.mark.parametrize("mode", ["image", "masked-image", "exposure"])
def test_a_small_cutout_reads_a_fraction_of_the_file(store, stored, tmp_path, monkeypatch, mode):
    path, event = stored
    store.client().upload_file(str(path), "images", "difference_image.fits")
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    ra, dec = event.region.center
    circle = Circle(ra + 0.01, dec + 0.02, 0.001)
    with counting_proxy(store.port) as proxy:
        monkeypatch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        remote = ResourcePath("s3://images/difference_image.fits")
        assert write_cutout(remote, circle, mode, tmp_path / "remote.fits")
        fetched = proxy.taken()
    size = path.stat().st_size
    assert size > 6_000_000
    assert 0 < fetched < size / 5
    assert write_cutout(ResourcePath(str(path)), circle, mode, tmp_path / "local.fits")
    with fits.open(tmp_path / "remote.fits") as a, fits.open(tmp_path / "local.fits") as b:
        assert [hdu.name for hdu in a] == [hdu.name for hdu in b]
        np.testing.assert_array_equal(a["IMAGE"].data, b["IMAGE"].data)
