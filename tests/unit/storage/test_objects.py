"""Object access: only under the roots, whole or not at all, and honest about who is at fault."""

import pytest
from lsst.resources import ResourcePath

from residua.errors import (
    ChecksumMismatchError,
    MissingFileError,
    TransientError,
    UriNotAllowedError,
)
from residua.storage.objects import (
    checksum_of,
    local_path,
    publish,
    read_object,
    relative_name,
    resolve,
)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "visits"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "v.fits").write_bytes(b"content")
    (tmp_path / "secret.fits").write_bytes(b"secret")
    return folder


def test_paths_uris_and_names_under_a_root_are_the_same_place(root):
    for uri in (f"{root}/a/v.fits", f"file://{root}/a/v.fits", "a/v.fits"):
        location = resolve(uri, ["/nowhere", str(root)])
        assert location.read() == b"content", uri
        assert relative_name(uri, [str(root)]) == "a/v.fits"


def test_names_stay_when_the_root_moves(tmp_path):
    uris = {}
    for name in ("one", "two"):
        uris[name] = relative_name(f"{tmp_path}/{name}/x/v.fits", [f"{tmp_path}/{name}"])
    assert uris == {"one": "x/v.fits", "two": "x/v.fits"}


@pytest.mark.parametrize(
    "uri",
    [
        "../secret.fits",
        "a/../../secret.fits",
        "a/%2e%2e/%2e%2e/secret.fits",
        "/etc/passwd",
        "file:///etc/passwd",
        "s3://visits/a/v.fits",
        "https://example.org/v.fits",
        "ftp://example.org/v.fits",
        "resource://residua/py.typed",
        "a/v\0.fits",
        "",
    ],
)
def test_everything_else_is_refused(root, uri):
    with pytest.raises(UriNotAllowedError):
        resolve(uri, [str(root)])


def test_siblings_with_the_roots_name_as_prefix_are_refused(root, tmp_path):
    sibling = tmp_path / "visits-of-others"
    sibling.mkdir()
    with pytest.raises(UriNotAllowedError):
        resolve(f"{sibling}/v.fits", [str(root)])


def test_links_that_lead_out_are_refused(root, tmp_path):
    (root / "link.fits").symlink_to(tmp_path / "secret.fits")
    (root / "folder").symlink_to(tmp_path)
    for uri in ("link.fits", "folder/secret.fits"):
        with pytest.raises(UriNotAllowedError):
            resolve(uri, [str(root)])
    (root / "inside.fits").symlink_to(root / "a" / "v.fits")
    assert resolve("inside.fits", [str(root)]).read() == b"content"


def test_buckets_and_prefixes_are_roots_too():
    roots = ["s3://visits/2026"]
    assert str(resolve("s3://visits/2026/v.fits", roots)) == "s3://visits/2026/v.fits"
    assert str(resolve("v.fits", roots)) == "s3://visits/2026/v.fits"
    for uri in (
        "s3://others/2026/v.fits",
        "s3://visits/2025/v.fits",
        "s3://visits/2026x/v.fits",
        "s3://visits/2026/../2025/v.fits",
        "/visits/2026/v.fits",
    ):
        with pytest.raises(UriNotAllowedError):
            resolve(uri, roots)


def test_no_roots_means_nothing_is_allowed(root):
    with pytest.raises(UriNotAllowedError, match="none configured"):
        resolve(f"{root}/a/v.fits", [])


def test_the_checksum_is_that_of_the_bytes_read(root):
    location = resolve("a/v.fits", [str(root)])
    content, checksum = read_object(location, None)
    assert (content, checksum) == (b"content", checksum_of(b"content"))
    assert read_object(location, checksum)[0] == b"content"
    with pytest.raises(ChecksumMismatchError, match="announced"):
        read_object(location, checksum_of(b"other"))


def test_missing_files_and_folders(root):
    for name in ("none.fits", "a"):
        with pytest.raises(MissingFileError):
            read_object(resolve(name, [str(root)]), None)


def test_a_store_that_does_not_answer_is_no_fault_of_the_event(root, monkeypatch):
    def refuse(self):
        raise ConnectionError("connection refused")

    monkeypatch.setattr(ResourcePath, "read", refuse, raising=True)
    location = resolve("a/v.fits", [str(root)])
    monkeypatch.setattr(type(location), "read", refuse, raising=True)
    with pytest.raises(TransientError, match="connection refused"):
        read_object(location, None)


def test_publishing_replaces_whole_files(tmp_path):
    folder = ResourcePath(str(tmp_path / "deep" / "er"), forceDirectory=True)
    for content in (b"first", b"second, longer"):
        location, checksum, size = publish(
            folder, lambda path, c=content: path.write_bytes(c), lambda _: "d.fits"
        )
        assert (checksum, size) == (checksum_of(content), len(content))
        assert location.read() == content
    assert [p.name for p in (tmp_path / "deep" / "er").iterdir()] == ["d.fits"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    folder = ResourcePath(str(tmp_path / "out"), forceDirectory=True)
    location, *_ = publish(folder, lambda path: path.write_bytes(b"good"), lambda _: "d.fits")

    def fail(path):
        path.write_bytes(b"half")
        raise RuntimeError("the codec broke")

    with pytest.raises(RuntimeError, match="codec"):
        publish(folder, fail, lambda _: "d.fits")
    assert location.read() == b"good"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["d.fits"]


def test_a_full_disk_is_transient(tmp_path):
    def full(path):
        raise OSError(28, "No space left on device")

    with pytest.raises(TransientError, match="No space"):
        publish(ResourcePath(str(tmp_path), forceDirectory=True), full, lambda _: "d.fits")
    assert not list(tmp_path.iterdir())


def test_local_path(root):
    assert local_path(f"file://{root}/a/v.fits") == root / "a" / "v.fits"
    with pytest.raises(UriNotAllowedError):
        local_path("s3://visits/v.fits")
