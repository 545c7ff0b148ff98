"""`residua demo`: the whole system in one process tree, on the embedded broker."""

import hashlib
import io
import json
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import pyvo
from astropy.io import fits
from lsst.daf.butler import Butler
from lsst.images import DifferenceImage
from lsst.images.serialization import read_archive
from tests.support.demo_run import ARGUMENTS, run_demo, serve

from residua_schemas import outcome_from_json

DOCS = Path(__file__).parents[2] / "docs"


def digests(summary: dict) -> dict[str, str]:
    root = Path(summary["output_dir"])
    found = sorted(p for p in root.rglob("*.fits"))
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def rows(summary: dict) -> list[tuple]:
    with sqlite3.connect(summary["catalog"]) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute("select * from obscore order by dataset_id").fetchall()
    # row_id is the order of writing, known to the spatial index alone.
    return [
        tuple(v for k, v in zip(row.keys(), row, strict=True) if k != "row_id") for row in found
    ]


def images(summary: dict, outcome: str) -> list[dict]:
    return [i for i in summary["images"] if i["outcome"] == outcome]


def test_every_arrival_has_one_outcome_and_created_ones_a_file_and_a_row(demo: dict):
    assert demo["arrivals"] == 7
    assert demo["created"] + demo["skipped"] + demo["failed"] == demo["arrivals"]
    assert demo["created"] == demo["rows"] == demo["files"] == 4
    assert demo["dead_letters"] == 0
    assert len({i["dataset_id"] for i in demo["images"]}) == demo["arrivals"]


def test_each_created_image_was_written_down_before_its_file(demo: dict):
    entries = [
        json.loads(path.read_bytes())
        for path in Path(demo["output_dir"]).rglob("ledger/*/*/[0-9]*.json")
    ]
    kept = [
        outcome_from_json(json.dumps(entry["outcome"]))
        for entry in entries
        if entry["kind"] == "created"
    ]
    assert {str(o.dataset_id) for o in kept} == {i["dataset_id"] for i in images(demo, "created")}
    for outcome in kept:
        content = Path(urlsplit(outcome.uri).path).read_bytes()
        assert outcome.checksum == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_the_corrupt_file_failed_and_the_visit_outside_was_skipped_with_its_coverage(demo: dict):
    [failed] = images(demo, "failed")
    assert failed["error"] == "CorruptFileError"
    assert failed["responsible"] == "producer"
    skipped = images(demo, "skipped")
    assert len(skipped) == 2
    assert all(s["numbers"]["coverage"] == 0.0 for s in skipped)


def test_the_noise_is_honest_and_the_transients_are_found(demo: dict):
    assert demo["pull_rms"] == pytest.approx(1.0, abs=0.03)
    assert demo["matched_filter_sn_std"] == pytest.approx(1.0, abs=0.03)
    assert demo["lag1_autocorrelation"] == pytest.approx(0.0, abs=0.01)
    assert demo["transients_injected"] >= 5
    assert demo["transients_recovered"] >= 0.9 * demo["transients_injected"]


def test_files_open_with_lsst_images_incl_psf_and_kernel(demo: dict):
    for created in images(demo, "created"):
        difference = read_archive(created["uri"])
        assert isinstance(difference, DifferenceImage)
        assert str(difference.image.unit) == "nJy"
        shape = difference.image.array.shape
        psf = difference.psf.compute_kernel_image(x=shape[1] // 2, y=shape[0] // 2)
        assert psf.array.sum() == pytest.approx(1.0, abs=0.02)
        kernel = difference.kernel.compute_kernel_image(x=shape[1] // 2, y=shape[0] // 2)
        assert kernel.array.sum() == pytest.approx(1.0, abs=0.1)
        assert len(difference.templates) >= 1


def test_files_open_with_astropy_alone(demo: dict):
    for created in images(demo, "created"):
        path = created["uri"].removeprefix("file://")
        with fits.open(path) as hdus:
            assert {"IMAGE", "MASK", "VARIANCE"} <= {h.name for h in hdus}
            assert hdus["IMAGE"].header["BUNIT"] == "nJy"
            assert hdus["IMAGE"].data.shape == hdus["VARIANCE"].data.shape == (640, 700)
            for card in ("INSTRUME", "FILTER", "EXPTIME", "AIRMASS", "LONGSTRN"):
                assert card in hdus[0].header


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="Debian's fitsverify is missing")
def test_fitsverify_reports_neither_error_nor_warning(demo: dict):
    for created in images(demo, "created"):
        path = created["uri"].removeprefix("file://")
        result = subprocess.run(["fitsverify", path], capture_output=True, text=True, check=False)
        assert "found 0 warning(s) and 0 error(s)" in result.stdout, result.stdout[-3000:]


def test_previews_and_picture_are_there(demo: dict):
    assert Path(demo["picture"]).stat().st_size > 10_000
    for created in images(demo, "created"):
        assert Path(created["preview_uri"].removeprefix("file://")).exists()


def python_blocks(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_tutorial_works_on_what_the_demo_left(
    demo: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "residua-demo").symlink_to(demo["output_dir"], target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in python_blocks("tutorial.md"):
        exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(" created") for line in lines) == demo["created"]
    [pull] = [float(line.split(":")[1]) for line in lines if line.startswith("rms")]
    assert pull == pytest.approx(1.0, abs=0.05)


def test_the_pages_pyvo_lines_work_on_what_the_demo_left(demo: dict):
    [block] = [b for b in python_blocks("how-to/find-images.md") if "import pyvo" in b]
    with serve(demo["output_dir"]) as port:
        names: dict = {}
        exec(block.replace(":8080", f":{port}"), names)
        assert len(names["images"]) == demo["created"]
        assert names["links"][0]["semantics"] == "#this"


def test_a_demo_that_was_moved_serves_all_it_has(demo: dict):
    old = Path(demo["output_dir"])
    new = old.with_name("moved elsewhere")
    old.rename(new)
    try:
        with Butler(str(new / "butler"), collections="residua") as butler:
            for name in ("difference_image", "template_coadd"):
                assert butler.get(butler.query_datasets(name)[0]) is not None
        with serve(str(new)) as port:
            base = f"http://127.0.0.1:{port}"
            found = pyvo.dal.SIA2Service(f"{base}/sia").search(
                dpsubtype="lsst.difference_image", maxrec=1
            )
            links = pyvo.dal.adhoc.DatalinkResults.from_result_url(found[0].getdataurl())
            urls = [link["access_url"] for link in links if link["access_url"]]
            assert len(urls) >= 4
            for url in urls:
                assert httpx.get(url, timeout=60).status_code == 200, url
            circle = f"{found[0]['s_ra']} {found[0]['s_dec']} 0.001"
            did = found[0]["obs_publisher_did"]
            cutout = httpx.get(f"{base}/cutout", params={"ID": did, "CIRCLE": circle}, timeout=60)
            assert read_archive(io.BytesIO(cutout.content)).array.shape[0] > 10
    finally:
        new.rename(old)


def test_the_demo_stays_up_and_serves_what_it_made(tmp_path: Path):
    script = "from residua.cli.main import main; main()"
    arguments = ["--detector-size", "700x640", "--visit-count", "2", "--serve", "--port", "0"]
    server = subprocess.Popen(
        [sys.executable, "-u", "-c", script, "demo", "-o", str(tmp_path / "run"), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        places: dict[str, str] = {}
        for line in server.stdout:
            if line.startswith("http://127.0.0.1:"):
                places[line.strip().rsplit("/", 1)[1]] = line.strip()
            if "Ctrl-C" in line:
                break
        assert set(places) == {"sia", "tap", "datalink", "cutout"}
        port = int(places["sia"].split(":")[2].split("/")[0])
        # The page's address ends what is printed.
        assert f"http://127.0.0.1:{port}/ " in line
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert server.poll() is None
            time.sleep(0.2)
        for level, subtype in ((3, "lsst.difference_image"), (2, "lsst.visit_image")):
            found = pyvo.dal.SIA2Service(places["sia"]).search(calib_level=level, DPSUBTYPE=subtype)
            assert len(found) >= 2
            links = pyvo.dal.adhoc.DatalinkResults.from_result_url(found[0]["access_url"])
            assert httpx.get(links[0]["access_url"]).content.startswith(b"SIMPLE  =")
            query = pyvo.dal.adhoc.SodaQuery.from_resource(
                links, links.get_adhocservice_by_id("cutout-sync")
            )
            query.circle = (found[0]["s_ra"], found[0]["s_dec"], 0.001)
            with fits.open(io.BytesIO(query.execute_stream().read())) as hdus:
                assert hdus["IMAGE"].data.shape[0] > 10
        table = pyvo.dal.TAPService(places["tap"]).search(
            "SELECT calib_level, COUNT(*) AS n FROM ivoa.ObsCore GROUP BY calib_level"
        )
        assert {int(row["calib_level"]) for row in table} == {2, 3}
    finally:
        server.terminate()
        server.wait(30)


def test_the_butler_repository_holds_every_created_image(demo: dict):
    with Butler(demo["butler_repo"], collections="residua") as butler:
        refs = butler.query_datasets("difference_image")
        assert len(refs) == demo["created"] == demo["butler_datasets"]
        assert isinstance(butler.get(refs[0]), DifferenceImage)


def test_running_it_again_gives_the_same_bytes_and_rows(demo: dict):
    before, rows_before = digests(demo), rows(demo)
    again = run_demo(Path(demo["output_dir"]), *ARGUMENTS)
    assert digests(again) == before
    assert rows(again) == rows_before


def test_a_directory_that_is_not_a_demo_is_left_alone(tmp_path: Path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    script = "from residua.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", script, "demo", "-o", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "not empty" in result.stderr
    assert precious.read_text() == "mine"
