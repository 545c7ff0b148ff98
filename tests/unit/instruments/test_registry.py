"""Instrument descriptions, the shipped ones and an operator's own."""

import pytest

from residua.errors import UnknownInstrumentError
from residua.instruments import InstrumentRegistry, load_instrument


@pytest.mark.parametrize(
    ("name", "bands", "detectors"),
    [("LSSTCam", "ugrizy", 189), ("LSSTComCam", "ugrizy", 9), ("DECam", "ugrizY", 62)],
)
def test_shipped_instruments_are_complete(name, bands, detectors):
    instrument = load_instrument(name)
    assert {f.band for f in instrument.filters} == set(bands)
    assert len(instrument.detectors) == detectors
    assert all(f.em_min < f.em_max < 1.2e-6 for f in instrument.filters)
    assert -90.0 < instrument.latitude < 0.0
    assert instrument.detector_shape is not None


def test_rubin_bands_are_those_of_dp1():
    r = load_instrument("LSSTComCam").find_filter("r_03")
    assert (r.band, r.em_min, r.em_max) == ("r", 551.0e-9, 689.1e-9)
    assert load_instrument("LSSTCam").detectors[94] == "R22_S11"


def test_filters_are_found_by_the_words_of_a_header():
    decam = load_instrument("DECam")
    for text in ("i DECam SDSS c0003 7835.0 1470.0", "i DECam SDSS c0003"):
        assert decam.find_filter(text).band == "i"
    assert decam.find_filter("VR DECam c0007 6300.0 2600.0") is None
    assert decam.find_filter(None, "z").em_max == pytest.approx(1002e-9)


def test_headers_name_instruments_loosely():
    registry = InstrumentRegistry()
    assert registry.recognise("i DECam SDSS c0003 7835.0 1470.0") == "DECam"
    assert registry.recognise("DECAM_BKP4") == "DECam"
    assert registry.recognise("LSSTCam") == "LSSTCam"
    assert registry.recognise("MegaCam") is None


def test_an_operator_adds_and_replaces(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "name: Mine\nfacility_name: My:Telescope\nbands: {r: [5.5e-7, 7.0e-7]}\n"
        "filters: {red: r, clear: C}\ndetectors: {0: only}\n"
    )
    (tmp_path / "decam.yaml").write_text("name: DECam\nfacility_name: Replaced\n")
    registry = InstrumentRegistry([tmp_path], strict=True)
    assert registry.get("Mine").find_filter("red").em_max == 7.0e-7
    assert registry.get("Mine").find_filter("clear").em_min is None
    assert registry.get("DECam").facility_name == "Replaced"
    assert {i.name for i in registry} >= {"Mine", "LSSTCam"}
    with pytest.raises(UnknownInstrumentError, match=r"known: .*DECam"):
        registry.get("Other")
    assert InstrumentRegistry().get("Other").facility_name == "Other"


def test_a_broken_description_is_named(tmp_path):
    for text in ("name: [", "facility_name: only", "- a list", "name: X\nfacility_name: Y\nz: 1"):
        (tmp_path / "broken.yaml").write_text(text)
        with pytest.raises(UnknownInstrumentError, match=r"broken\.yaml"):
            InstrumentRegistry([tmp_path])
