"""The pages of a night, of two runs, of a place and of a search; on both databases."""

import json
import re
from dataclasses import replace

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from residua.access.page.compare import compare_runs
from residua.access.page.drawing.maps import ColorScale, focal_plane, sky_map
from residua.access.settings import AccessSettings
from residua.access.store.catalog_reader import open_catalog
from residua.access.store.query_limits import Limits
from residua.catalog.rows import Site
from residua.catalog.writing.detection_rows import detection_reader
from residua.catalog.writing.transaction import open_database, write_batch
from residua.cli.main import app
from residua.instruments import InstrumentRegistry
from residua.messaging.records.events import CPU_HEADER, IncomingRecord
from residua.ports import Observation, Provenance
from residua.storage.objects import checksum_of
from residua.storage.write.detection_table import detections_parquet
from residua.subtraction.detections import Detection
from residua.testing.difference_images import (
    difference_image_event,
    difference_image_pixels,
    write_file,
)
from residua_schemas import DetectionsReference, QualityFlag

TOPIC = "difference-images"
DAY = 20261122
VISITS = (2026112200101, 2026112200102, 2026112200103)
RUN_A, RUN_B = "residua/0/dp1/3f2a9c51d0be", "residua/0/dp1/3f2a9c51d0be/shadow"
HTML = {"Accept": "text/html"}


def detections_of(event, shifts, folder):
    """Detections a few arcsec apart; each shifted by so many arcsec, `None` for none."""
    ra, dec = event.region.center
    found = tuple(
        Detection(
            x=10.0 + n, y=10.0, ra=ra, dec=dec + (5.0 * n + shift) / 3600.0,
            signal_to_noise=6.0 + n, flux=1000.0, flux_error=50.0, mask=0,
        )
        for n, shift in enumerate(shifts)
        if shift is not None
    )  # fmt: skip
    difference = replace(difference_image_pixels(event), detections=found)
    v = event.visit_detector
    observation = Observation(
        instrument=v.instrument, visit=v.visit, detector=v.detector, day_obs=event.day_obs,
        band=event.band, physical_filter=event.physical_filter, facility_name="x",
        begin_tai=event.begin_tai, end_tai=event.end_tai,
    )  # fmt: skip
    provenance = Provenance(
        dataset_id=str(event.dataset_id), run=event.run, obs_publisher_did=event.obs_publisher_did,
        visit_image=event.visit_image, templates=(), template_set="x", configuration_hash="x",
    )  # fmt: skip
    content = detections_parquet(difference, observation, provenance)
    path = folder / f"{event.dataset_id}.parquet"
    path.write_bytes(content)
    reference = DetectionsReference(
        uri=path.as_uri(), checksum=checksum_of(content), size_bytes=len(content), rows=len(found)
    )
    return event.model_copy(update={"detections": reference})


def with_quality(event, **values):
    return event.model_copy(update={"quality": event.quality.model_copy(update=values)})


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """Three visits under two runs: b lost a faint and a bright detection and gained one."""
    folder = tmp_path_factory.mktemp("images")
    made = []
    for visit in VISITS:
        a = difference_image_event(visit, 4, "", run=RUN_A, shape=(64, 80))
        b = difference_image_event(visit, 4, "", run=RUN_B, shape=(64, 80))
        a = with_quality(a, matched_filter_sn_std=1.01, flags=())
        flags = (QualityFlag(name="streak", value=3.0, limit=0.0),)
        b = with_quality(b, matched_filter_sn_std=1.05, flags=flags)
        first = visit == VISITS[0]
        a = detections_of(a, [0.0, 0.0, 0.0, None], folder)
        b = detections_of(b, [None, 0.3, None, 0.0] if first else [0.0, 0.3, -0.3, None], folder)
        made += [write_file(folder / f"{e.dataset_id}.fits", e) for e in (a, b)]
    return folder, made


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog.sqlite"
    name = f"residua_nights_{abs(hash(request.node.name)) % 10**8}"
    return request.getfixturevalue("postgres").create_database(name, ["pg_sphere"])


def cost(event):
    """4 CPU s an image under a, 5 under b; of the last visit nobody says."""
    if event.visit_detector.visit == VISITS[-1]:
        return ()
    return ((CPU_HEADER, b"4.000" if event.run == RUN_A else b"5.000"),)


def load(url, events):
    folder, made = events
    engine = open_database(url)
    records = [
        IncomingRecord(
            TOPIC, 0, n, e.key, e.model_dump_json().encode(), 1_795_500_000_000 + n, headers=cost(e)
        )
        for n, e in enumerate(made)
    ]
    # What comes again was not made again.
    records += [replace(r, offset=r.offset + len(made), headers=()) for r in records]
    read = detection_reader([str(folder)])
    assert write_batch(engine, records, TOPIC, Site(), read).refused == ()
    engine.dispose()


@pytest.fixture
def base(url, events, tmp_path, run_service):
    load(url, events)
    settings = AccessSettings(
        catalog_url=url, results_directory=tmp_path / "results", image_roots=(str(events[0]),)
    )
    with run_service(settings) as address:
        yield address


def get(address, **more):
    return httpx.get(address, headers=HTML, timeout=60, **more)


def test_a_night_shows_its_images_by_time_detector_and_place(base):
    moved = get(f"{base}/night")
    assert moved.status_code == 307
    assert moved.headers["location"] == f"/night/{DAY}"
    page = get(f"{base}/night/{DAY}").text
    assert page.count('<svg class="map"') == 2
    assert re.search(r"<dt>created</dt><dd>6<", page)
    assert re.search(r"<dt>flagged</dt><dd>3<", page)
    series = get(f"{base}/night/{DAY}/series.json?quantity=matched_filter_sn_std").json()
    assert sorted(set(series["value"])) == [1.01, 1.05]
    assert series["time"] == sorted(series["time"])
    assert len(series["time"]) == 6
    one = get(f"{base}/night/{DAY}/series.json?run={RUN_B}&detector=4&band=r").json()
    assert set(one["value"]) == {1.05}
    assert get(f"{base}/night/{DAY}?quantity=beauty").status_code == 400
    assert get(f"{base}/night/2026").status_code == 400
    assert get(f"{base}/night/20200101").status_code == 404


def test_two_runs_are_compared_by_what_they_found(base, url, events):
    catalog = open_catalog(url, 2)
    found = compare_runs(
        lambda sql, values: catalog.select(sql, values, Limits(60.0)), RUN_A, RUN_B, (DAY, DAY)
    )
    assert (found.both, found.only_a, found.only_b) == (3, 0, 0)
    assert found.outcomes == {"created > created": 3}
    wanted = {"common": 7, "lost": 2, "gained": 1, "lost_bright": 1, "gained_bright": 1}
    assert found.detections == wanted
    assert found.pairs[0].visit == VISITS[0]
    assert found.flags == {"streak": {"a": 0, "b": 3, "both": 0}}
    [s] = [spread for spread in found.spreads if spread.name == "matched_filter_sn_std"]
    assert (s.a, s.b, s.images) == (1.01, 1.05, 3)
    assert s.change == pytest.approx(0.04)
    assert found.by_detector[4]["lost"] == 2
    assert found.cpu_seconds == {"a": 8.0, "b": 10.0, "images": 2}
    assert (found.by_detector[4]["cpu_a"], found.by_detector[4]["cpu_b"]) == (4.0, 5.0)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["both"] == 3
    page = get(f"{base}/compare", params={"a": RUN_A, "b": RUN_B, "day": str(DAY)})
    assert page.status_code == 200
    assert "lost, |S/N| ≥ 7</dt><dd>2, 1<" in page.text
    assert "8.0 s in a, 10.0 s in b, of 2 images" in page.text
    nothing = get(f"{base}/compare", params={"a": RUN_A, "b": "none", "day": str(DAY)})
    assert "no visit-detector" in nothing.text


def test_the_commands_compare_and_explain(events, tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    load(url, events)
    runner = CliRunner()
    command = ["compare", RUN_A, RUN_B, "--day-obs", str(DAY), "--catalog", url]
    shown = runner.invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "7 in both, 2 lost (1 with" in shown.output
    assert "cost: 8.0 CPU s in a, 10.0 in b, of 2 images: +25.0 %" in shown.output
    as_json = json.loads(runner.invoke(app, [*command, "--json"]).stdout)
    assert as_json["detections"]["gained"] == 1
    assert runner.invoke(app, ["compare", RUN_A, "none", "--catalog", url]).exit_code == 1

    image = events[1][1]
    ra, dec = image.region.center
    which = [str(image.visit_detector.visit), "4"]
    command = ["explain", *which, "--run", RUN_B, "--catalog", url]
    shown = runner.invoke(app, command)
    assert shown.exit_code == 0, shown.output
    for words in ("Registration", "Convolved", "the template image", "streak"):
        assert words in shown.output
    said = json.loads(runner.invoke(app, [*command, "--json", str(ra), str(dec)]).stdout)
    topics = {s["topic"]: s["text"] for s in said["statements"]}
    # The one source of the file stands in its middle.
    assert "DETECTED" in topics["Mask"]
    assert float(re.search(r"([+-][\d.]+) of its sigma", topics["Pixel"])[1]) > 5.0
    assert "away, S/N" in topics["Nearest detection"]
    assert runner.invoke(app, ["explain", "1", "1", "--catalog", url]).exit_code == 1
    assert runner.invoke(app, ["explain", *which, "150.0", "--catalog", url]).exit_code == 2
    off = runner.invoke(app, [*command, "10.0", "10.0"])
    assert off.exit_code == 1
    assert "not on this image" in off.output


def test_a_place_of_an_image_is_explained(base, events):
    image = events[1][0]
    ra, dec = image.region.center
    where = get(f"{base}/explain/{image.visit_detector.visit}/4?ra={ra}&dec={dec}")
    assert where.status_code == 307
    assert re.fullmatch(r"/view/[0-9a-f-]{36}\?ra=.*#explained", where.headers["location"])
    place = f"{base}/view/{image.dataset_id}/place"
    assert "DETECTED" in get(f"{place}?ra={ra}&dec={dec}").text
    assert "SATURATED: the visit image is saturated there" in get(f"{place}?x=6&y=12").text
    assert get(f"{place}?ra=10&dec=10").status_code == 400
    assert get(f"{base}/explain/1/1").status_code == 404


def test_searches_run_as_those_of_tap_do(base, events):
    ra, dec = events[1][0].region.center
    near = get(f"{base}/search", params={"ra": str(ra), "dec": str(dec), "radius": "0.01"}).text
    assert near.count(">look</a>") == 6
    far = get(f"{base}/search", params={"ra": "10", "dec": "10"}).text
    assert "0 rows" in far
    wrong = get(f"{base}/search", params={"ra": "x'--", "dec": "1"})
    assert 'role="alert"' in wrong.text
    answer = get(f"{base}/search", params={"adql": "SELECT 1 + 1 AS two FROM ivoa.ObsCore"}).text
    assert '<th scope="col">two</th>' in answer
    for adql in ("DROP TABLE obscore", "SELECT * FROM arrival_outcome"):
        assert 'role="alert"' in get(f"{base}/search", params={"adql": adql}).text
    page = get(f"{base}/search").text
    for link in re.findall(r'href="(/search\?adql=[^"]+)"', page):
        assert 'role="alert"' not in get(base + link.replace("&amp;", "&")).text


def test_ten_thousand_footprints_are_a_few_elements():
    rng = np.random.default_rng(1)
    regions, values = [], rng.normal(1.0, 0.01, 10_000).tolist()
    for ra, dec in zip(rng.uniform(40, 60, 10_000), rng.uniform(-40, -20, 10_000), strict=True):
        regions.append(
            f"POLYGON ICRS {ra} {dec} {ra + 0.2} {dec} {ra + 0.2} {dec + 0.2} {ra} {dec}"
        )
    drawn = sky_map(regions, values)
    assert drawn.count("<path") <= 10
    assert drawn.count("M") >= 10_000
    assert sky_map(["", "CIRCLE 1 1 1"], [1.0, 2.0]) == ""
    # Around RA 0 and at the pole nothing tears.
    for ra0, dec0, wide in ((359.9, 0.0, 0.2), (10.0, 89.9, 90.0)):
        square = f"POLYGON ICRS {ra0} {dec0} {(ra0 + wide) % 360} {dec0} {ra0} {dec0 - 0.2}"
        path = re.search(r' d="M([^"]+)Z"', sky_map([square], [1.0]))[1]
        xs = [float(pair.split()[0]) / 10.0 for pair in path.split("L")]
        assert max(xs) <= 560.0
        assert max(xs) - min(xs) > 100.0


def test_a_camera_that_is_described_is_drawn_as_it_is():
    values = {d: float(d) for d in range(9)}
    words = {d: str(d) for d in range(9)}
    registry = InstrumentRegistry()
    known = registry.get("LSSTComCam")
    for instrument in (known, None):
        drawn = focal_plane(values, words, instrument, "/night/20261122")
        assert drawn.count("<rect") == 9
        assert "/night/20261122?detector=8" in drawn
    assert ColorScale.of([]).color(float("nan")) == "#8a93a3"
