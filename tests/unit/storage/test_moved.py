"""Addresses of files that lie elsewhere now."""

from residua.storage.moved import find_moved_roots, moved


def test_the_longest_root_that_fits_counts_and_only_whole_names():
    roots = {"s3://old": "s3://new/a", "s3://old/templates/": "/mnt/templates"}
    assert moved("s3://old/x/y.fits", roots) == "s3://new/a/x/y.fits"
    assert moved("s3://old/templates/t.fits", roots) == "/mnt/templates/t.fits"
    assert moved("s3://older/x.fits", roots) == "s3://older/x.fits"
    assert moved("file:///a/b.fits", {}) == "file:///a/b.fits"


def test_a_moved_directory_is_found_by_a_file_that_lies_where_it_should(tmp_path):
    here = tmp_path / "new home"
    (here / "images" / "run").mkdir(parents=True)
    (here / "images" / "run" / "a b.fits").touch()
    there = "file:///gone/demo/images/run/a%20b.fits"
    roots = find_moved_roots([there, "s3://bucket/x", "file:///gone/demo/visits/c.fits"], here)
    assert roots == {"file:///gone/demo": here.as_uri()}
    assert moved(there, roots) == (here / "images" / "run" / "a b.fits").as_uri()
    assert find_moved_roots(["/gone/images/run/a b.fits"], here) == {"/gone": str(here)}


def test_what_is_still_there_or_nowhere_says_nothing(tmp_path):
    (tmp_path / "a.fits").touch()
    assert find_moved_roots([(tmp_path / "a.fits").as_uri(), "file:///gone/z.fits"], tmp_path) == {}
