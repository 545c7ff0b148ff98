"""SIA through pyvo and by hand: every parameter narrows, on both databases."""

import io

import httpx
import pytest
import pyvo
from astropy.io import votable
from astropy.time import Time
from pyarrow import parquet

from residua.access.protocols.sia import PARAMETERS
from residua.access.settings import AccessSettings
from residua.catalog.rows import DATALINK_FORMAT, Site


@pytest.fixture
def sia(service):
    return pyvo.dal.SIA2Service(f"{service}/sia")


def ids(table):
    return {str(value) for value in table["obs_publisher_did"]}


def test_sia_finds_difference_images_by_level_and_subtype(sia, rows):
    found = sia.search(calib_level=3, DPSUBTYPE="lsst.difference_image", maxrec=10_000)
    expected = {
        r["obs_publisher_did"] for r in rows if r["dataproduct_subtype"] == "lsst.difference_image"
    }
    assert ids(found.to_table()) == expected


def test_sia_parameters_narrow_each_other(sia, rows):
    target = rows[5]
    band = ((target["em_min"] + target["em_max"]) / 2, (target["em_min"] + target["em_max"]) / 2)
    found = sia.search(
        pos=(target["s_ra"], target["s_dec"], 0.001),
        band=band,
        time=(Time(target["t_min"], format="mjd"), Time(target["t_max"], format="mjd")),
        exptime=(29.0, 31.0),
        instrument=target["instrument_name"],
        facility=target["facility_name"],
        collection=target["obs_collection"],
        data_type="image",
        res_format=target["access_format"],
    )
    assert ids(found.to_table()) == {target["obs_publisher_did"]}
    assert len(sia.search(target_name="NOPE")) == 0
    assert len(sia.search(pol="I")) == 0
    assert len(sia.search(calib_level=4)) == 0


@pytest.mark.parametrize(
    ("parameter", "column", "low", "high"),
    [
        ("FOV", "s_fov", 0.9, 1.1),
        ("SPATRES", "s_resolution", 0.0, 0.9),
        ("SPECRP", "em_res_power", 4.0, 5.0),
        ("TIMERES", "t_resolution", 1.0, 100.0),
    ],
)
def test_sia_intervals_mean_their_column(service, rows, parameter, column, low, high):
    answer = httpx.get(
        f"{service}/sia/query", params={parameter: f"{low} {high}", "MAXREC": "10000"}
    )
    table = votable.parse_single_table(io.BytesIO(answer.content))
    expected = {
        r["obs_publisher_did"] for r in rows if r[column] is not None and low <= r[column] <= high
    }
    assert {str(v) for v in table.array["obs_publisher_did"]} == expected


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ("-Inf 53.1 -90 90", lambda ra: ra <= 53.1),
        ("53.1 Inf -90 90", lambda ra: ra >= 53.1),
        ("-Inf Inf -90 90", lambda ra: True),
    ],
)
def test_an_open_side_of_a_range_is_that_side_alone(service, rows, bounds, expected):
    parameters = {"POS": f"RANGE {bounds}", "MAXREC": "10000"}
    answer = httpx.get(f"{service}/sia/query", params=parameters)
    found = {
        str(v)
        for v in votable.parse_single_table(io.BytesIO(answer.content)).array["obs_publisher_did"]
    }
    # Footprints are at most 6 degrees wide here, but around the poles.
    clear = [r for r in rows if 10 < r["s_ra"] < 350 and abs(r["s_dec"]) < 60]
    clear = [r for r in clear if abs(r["s_ra"] - 53.1) > 12]
    assert len(clear) > 50
    for row in clear:
        assert (row["obs_publisher_did"] in found) == expected(row["s_ra"])


def test_coadds_are_found_by_band_as_rubins_notebooks_ask(sia):
    coadds = sia.search(calib_level=3, band=(600e-9, 610e-9))
    kinds = {str(v) for v in coadds["dataproduct_subtype"]}
    assert "lsst.template_coadd" in kinds


def test_sia_repeats_are_alternatives_and_overflow_is_said(service, rows):
    pair = [rows[3]["obs_publisher_did"], rows[9]["obs_publisher_did"]]
    answer = httpx.post(f"{service}/sia/query", data={"ID": pair})
    table = votable.parse_single_table(io.BytesIO(answer.content))
    assert {str(v) for v in table.array["obs_publisher_did"]} == set(pair)
    limited = httpx.get(f"{service}/sia/query", params={"MAXREC": "3"})
    assert len(votable.parse_single_table(io.BytesIO(limited.content)).array) == 3
    assert 'name="QUERY_STATUS" value="OVERFLOW"' in limited.text
    described = httpx.get(f"{service}/sia/query", params={"MAXREC": "0"})
    assert len(votable.parse_single_table(io.BytesIO(described.content)).array) == 0
    assert 'name="inputParams"' in described.text


@pytest.mark.parametrize(
    "parameters",
    [
        {"POS": "CIRCLE 10 10"},
        {"POS": "SQUARE 1 2 3"},
        {"BAND": "x"},
        {"TIME": "nan"},
        {"CALIB": "7"},
        {"POL": "Z"},
        {"MAXREC": "-1"},
        {"RESPONSEFORMAT": "xls"},
    ],
)
def test_sia_answers_wrong_values_with_an_error_table(service, parameters):
    answer = httpx.get(f"{service}/sia/query", params=parameters)
    assert answer.status_code == 400
    assert 'name="QUERY_STATUS" value="ERROR"' in answer.text
    assert votable.validate(io.BytesIO(answer.content), output=io.StringIO())


def test_access_urls_lead_to_the_service_that_answered(service, sia):
    url = str(sia.search(maxrec=1)[0]["access_url"])
    assert url.startswith(f"{service}/datalink/links?ID=ivo%3A%2F%2F")


# Of each parameter: a value some rows have, and one that none has.
EACH = [
    ("POS", "CIRCLE 0 0 20", "CIRCLE 17.3 40.1 0.000001"),
    ("POS", "RANGE 350 10 -20 20", "RANGE 17.3 17.3000001 40.1 40.1000001"),
    ("POS", "POLYGON 350 -10 10 -10 10 10 350 10", "POLYGON 17 40.1 17.1 40.1 17 40.2"),
    ("BAND", "600e-9 620e-9", "2e-6 3e-6"),
    ("TIME", "-Inf 61366.5", "50000 50001"),
    ("POL", None, "I"),
    ("FOV", "0.9 1.1", "20 30"),
    ("SPATRES", "0.9 0.95", "7 8"),
    ("SPECRP", "4 5", "900 +Inf"),
    ("EXPTIME", "29 31", "100 200"),
    ("TIMERES", "29 31", "100 200"),
    ("ID", None, "ivo://nobody/nothing"),
    ("COLLECTION", None, "NOPE"),
    ("FACILITY", "Rubin:Simonyi", "NOPE"),
    ("INSTRUMENT", "LSSTComCam", "NOPE"),
    ("DPTYPE", None, "cube"),
    ("DPSUBTYPE", "lsst.template_coadd", "lsst.nothing"),
    ("CALIB", None, "1"),
    ("TARGET", "ECDFS", "NOPE"),
    ("FORMAT", None, "image/png"),
]  # fmt: skip


def found(service, **parameters):
    answer = httpx.get(f"{service}/sia/query", params={"MAXREC": "10000", **parameters})
    assert answer.status_code == 200, answer.text
    return len(votable.parse_single_table(io.BytesIO(answer.content)).array)


@pytest.mark.parametrize(
    ("name", "some", "none"), EACH, ids=[f"{e[0]}-{n}" for n, e in enumerate(EACH)]
)
def test_every_parameter_filters(service, rows, name, some, none):
    assert found(service, **{name: none}) == 0
    if some is not None:
        count = found(service, **{name: some})
        assert 0 < count < len(rows)
        # Of two values either is enough, and the other order and spelling mean the same.
        assert found(service, **{name.lower(): [none, some]}) == count


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COLLECTION", Site().obs_collection),
        ("DPTYPE", "image"),
        ("CALIB", "3"),
        ("FORMAT", DATALINK_FORMAT),
    ],
)
def test_what_all_rows_have_in_common_finds_all_of_them(service, rows, name, value):
    assert found(service, **{name: value}) == len(rows)


def test_a_publisher_did_finds_its_own_row(service, rows):
    for row in (rows[0], rows[-1]):
        assert found(service, ID=row["obs_publisher_did"]) == 1


def test_polarised_images_are_found_by_their_states(make_catalog, run_service, rows, tmp_path):
    states = ["/I/", "/I/Q/U/", "/V/", None] * 5
    rows = [{**row, "pol_states": s} for row, s in zip(rows, states, strict=False)]
    url = f"sqlite:///{tmp_path}/polarised.sqlite"
    make_catalog(url, rows)
    with run_service(AccessSettings(catalog_url=url)) as service:
        assert [found(service, POL=wanted) for wanted in "IQV"] == [10, 5, 5]


def test_self_description_names_every_parameter(service):
    described = httpx.get(f"{service}/sia/query", params={"MAXREC": "0"}).text
    for name, _ in PARAMETERS:
        assert f'<PARAM name="{name}"' in described
    assert 'name="QUERY_STATUS" value="OVERFLOW"' in described


def test_documents_of_the_service(service):
    available = httpx.get(f"{service}/sia/availability")
    assert "<vosi:available>true</vosi:available>" in available.text
    capabilities = httpx.get(f"{service}/sia/capabilities").text
    for standard in ("SIA#query-2.0", "VOSI#availability", "VOSI#capabilities"):
        assert f"ivo://ivoa.net/std/{standard}" in capabilities


@pytest.mark.parametrize(("form", "separator"), [("csv", ","), ("tsv", "\t")])
def test_no_rows_in_a_table_of_text_are_its_header(service, form, separator):
    answer = httpx.get(f"{service}/sia/query", params={"RESPONSEFORMAT": form, "MAXREC": "0"})
    [header] = answer.text.splitlines()
    assert "obs_publisher_did" in header.split(separator)
    assert form in answer.headers["content-type"].replace("tab-separated-values", "tsv")
    some = httpx.get(f"{service}/sia/query", params={"RESPONSEFORMAT": form, "MAXREC": "1"})
    assert some.text.splitlines()[0] == header


def test_no_rows_in_parquet_are_its_columns(service):
    answer = httpx.get(f"{service}/sia/query", params={"RESPONSEFORMAT": "parquet", "MAXREC": "0"})
    table = parquet.read_table(io.BytesIO(answer.content))
    assert table.num_rows == 0
    assert "obs_publisher_did" in table.column_names


def test_the_description_of_the_service_is_what_its_type_says(service):
    for form in ("votable", "votable/b2"):
        answer = httpx.get(f"{service}/sia/query", params={"RESPONSEFORMAT": form, "MAXREC": "0"})
        assert answer.headers["content-type"] == "application/x-votable+xml"
        assert 'name="standardID"' in answer.text
