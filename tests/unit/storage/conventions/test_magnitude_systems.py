import pytest
from astropy.io.fits import Header

from residua.instruments import Filter, Instrument
from residua.storage.conventions.magnitude_systems import shift_to_ab, system_assumed

OWN = Instrument("X", "Y", filters=(Filter("J1", "J1", None, None, 0.95),))
NOBODY, VEGA, AB = Header(), Header({"MAGSYS": "VEGAMAG"}), Header({"PHOTSYS": "AB"})


@pytest.mark.parametrize(
    ("system", "offsets", "header", "band", "shift"),
    [
        ("AB", "", NOBODY, "r", 0.0),
        ("AB", "", VEGA, "r", 0.16),
        ("Vega", "", AB, "r", 0.0),
        ("AB", "", NOBODY, "Ks", None),
        ("AB", "", NOBODY, "K-short", None),
        ("AB", "", AB, "K-short", 0.0),
        ("AB", "", NOBODY, "w", 0.0),
        ("AB", "", NOBODY, "W1", None),
        ("Vega", "wise", NOBODY, "w1", 2.699),
        ("Vega", "2mass", NOBODY, "j", 0.91),
        ("Vega", "vista", NOBODY, "kshort", 1.827),
        ("Vega", "wfcam", NOBODY, "K", 1.900),
        ("Vega", "", NOBODY, "F814W", None),
        ("Vega", "own", NOBODY, "J1", 0.95),
        ("AB", "own", NOBODY, "J1", 0.0),
    ],
)
def test_what_lies_between_a_zero_point_and_ab(system, offsets, header, band, shift):
    assert shift_to_ab(system, offsets, header, OWN, band) == shift


@pytest.mark.parametrize(
    ("offsets", "header", "band", "said"),
    [
        ("", NOBODY, "I", "0.66 times"),
        ("", NOBODY, "U", "0.48 times"),
        ("", NOBODY, "V", None),
        ("", NOBODY, "i", None),
        ("", AB, "I", None),
        ("own", NOBODY, "I", None),
    ],
)
def test_it_is_said_where_ab_was_assumed_and_vega_is_as_likely(offsets, header, band, said):
    notes = system_assumed("MAGZERO", offsets, header, band)
    assert [said in note for note in notes] == ([] if said is None else [True])
