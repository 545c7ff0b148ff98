"""Room for whole images that the access service makes itself."""

import os

import pytest

from residua.access.making.here import let_oldest_go


@pytest.mark.parametrize(
    ("most", "left"),
    [
        (400, {"0.fits", "0.hollow", "1.fits", "2.fits"}),
        (399, {"0.hollow", "1.fits", "2.fits"}),
        (250, {"1.fits", "2.fits"}),
        (0, {"2.fits"}),
    ],
)
def test_what_was_not_asked_for_longest_goes_first_and_the_newest_stays(tmp_path, most, left):
    for seconds, name in enumerate(("0.fits", "0.hollow", "1.fits", "2.fits")):
        path = tmp_path / name
        path.write_bytes(bytes(100))
        os.utime(path, (seconds, seconds))
    let_oldest_go(tmp_path, tmp_path / "2.fits", most)
    assert {path.name for path in tmp_path.iterdir()} == left


def test_a_file_that_another_replica_removes_meanwhile_is_no_error(tmp_path):
    # A name that is listed and whose file is gone.
    (tmp_path / "gone.fits").symlink_to(tmp_path / "nowhere")
    newest = tmp_path / "new.fits"
    newest.write_bytes(bytes(100))
    let_oldest_go(tmp_path, newest, 100)
    assert newest.exists()
