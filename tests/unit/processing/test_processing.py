"""The use case from arrival to outcome, on a simulated sky and a store in memory."""

import pytest

from residua.errors import CorruptFileError, FilterMismatchError, MissingFileError, TransientError
from residua.identity import Run, dataset_id
from residua.ports import Observation, StoredDifferenceImage, VisitImage
from residua.processing import ProcessingContext, locate, process, refuse_other_filters
from residua.simulation.sky import SceneConfig, simulate_pair
from residua.storage.forms.wcs import footprint
from residua.subtraction.config import SubtractionConfig
from residua_schemas import (
    ImageReference,
    SkyPolygon,
    TemplateCoadd,
    VisitArrival,
    VisitDetector,
)
from residua_schemas.examples import examples

CHECKSUM = "sha256:" + "0123456789abcdef" * 4
ELSEWHERE = SkyPolygon(vertices=((200.0, 40.0), (201.0, 40.0), (201.0, 41.0), (200.0, 41.0)))
ARRIVAL = VisitArrival(
    visit_detector=VisitDetector(instrument="Sim", visit=7, detector=3),
    band="r",
    image_uri="file:///visits/7.fits",
)
CONTEXT = ProcessingContext(Run(SubtractionConfig(), "dp1", "0.1.0"), "org.example")


@pytest.fixture(scope="module")
def pair():
    return simulate_pair(SceneConfig(shape=(600, 620)), 5)


class Store:
    """Keeps what it is given, and writes down what it was asked, in order."""

    def __init__(self, pair, faults=None, filter_="r"):
        self._pair = pair
        self._faults = faults or {}
        self.filter = filter_
        self.asked = []

    def _ask(self, what, detail=""):
        self.asked.append((what, detail))
        if what in self._faults:
            raise self._faults[what]

    @property
    def region(self):
        return footprint(self._pair.science.wcs, self._pair.science.image.shape)

    def read_visit_image(self, arrival):
        self._ask("visit image", arrival.image_uri)
        seen = Observation("Sim", 7, 3, 20261122, "r", self.filter, "Nowhere", em_min=5e-7)
        reference = ImageReference(uri=arrival.image_uri, checksum=CHECKSUM)
        return VisitImage(self._pair.science, seen, reference, self.region, 0.2, 1)

    def region_of(self, arrival):
        self._ask("region", arrival.image_uri)
        return self.region

    def read_template(self, template):
        self._ask("template", template.patch)
        return self._pair.templates[template.patch]

    def write_difference_image(self, name, difference, visit_image, provenance, announce=None):
        self.provenance = provenance
        key = name(CHECKSUM)
        stored = StoredDifferenceImage(f"file:///out/{key}", CHECKSUM, 5, None)
        if announce is not None:
            announce(stored)
        self._ask("write", key)
        return stored


def coadds(store, pair, *, region=None, **changes):
    example = examples()[TemplateCoadd]
    return [
        example.model_copy(
            update={
                "patch": i,
                "uri": f"file:///t/{i}",
                "region": region or store.region,
                **changes,
            }
        )
        for i in range(len(pair.templates))
    ]


def test_an_image_is_drafted_then_stored_then_announced(pair):
    store = Store(pair)
    candidates = coadds(store, pair)
    drafts = []
    outcome = process(
        ARRIVAL,
        candidates,
        store,
        CONTEXT,
        number=2,
        draft=lambda o: (drafts.append(o), store.asked.append(("draft", ""))),
    )
    assert drafts == [outcome]
    asked = [what for what, _ in store.asked]
    assert asked == ["visit image", *["template"] * len(candidates), "draft", "write"]
    assert outcome.dataset_id == dataset_id(CONTEXT.run.name, ARRIVAL.visit_detector)
    assert (outcome.revision, outcome.run, outcome.checksum) == (2, CONTEXT.run.name, CHECKSUM)
    assert [t.patch for t in store.provenance.templates] == [c.patch for c in candidates]
    assert store.provenance.obs_publisher_did == outcome.obs_publisher_did
    assert str(outcome.dataset_id) in outcome.obs_publisher_did
    assert store.asked[-1][1] in outcome.uri
    again = process(ARRIVAL, candidates, Store(pair), CONTEXT, number=2)
    assert again.model_dump_json() == outcome.model_dump_json()


@pytest.mark.parametrize("count", [0, 3])
def test_where_no_template_lies_nothing_is_read_or_written(pair, count):
    store = Store(pair)
    candidates = (coadds(store, pair, region=ELSEWHERE) * 3)[:count]
    outcome = process(ARRIVAL, candidates, store, CONTEXT)
    assert (type(outcome).__name__, outcome.reason) == ("DifferenceImageSkipped", "no_template")
    assert outcome.numbers["candidates"] == count
    assert [what for what, _ in store.asked] == ["visit image"]


def test_only_templates_that_overlap_are_read(pair):
    store = Store(pair)
    near = coadds(store, pair)
    process(ARRIVAL, [*coadds(store, pair, region=ELSEWHERE), *near], store, CONTEXT)
    assert len([1 for what, _ in store.asked if what == "template"]) == len(near)


@pytest.mark.parametrize(
    "changes", [{"band": "i"}, {"physical_filter": "HSC-R2"}, {"physical_filter": "SDSS r"}]
)
def test_another_filter_is_refused_by_name(pair, changes):
    store = Store(pair, filter_="r_03")
    outcome = process(ARRIVAL, coadds(store, pair, **changes), store, CONTEXT)
    assert outcome.reason == "no_template"
    assert "r_03" in outcome.message
    assert next(iter(changes.values())) in outcome.message


def test_events_that_name_another_filter_are_refused_before_anything_is_read(pair):
    store = Store(pair)
    arrival = ARRIVAL.model_copy(update={"physical_filter": "r_03"})
    refuse_other_filters(arrival, coadds(store, pair, physical_filter="r_03"))
    with pytest.raises(FilterMismatchError, match="HSC-R2"):
        refuse_other_filters(arrival, coadds(store, pair, physical_filter="HSC-R2"))
    assert store.asked == []


@pytest.mark.parametrize(
    ("where", "fault", "error", "responsible"),
    [
        ("visit image", MissingFileError("gone"), "MissingFileError", "producer"),
        ("template", MissingFileError("gone"), "MissingFileError", "operator"),
        ("template", CorruptFileError("cut off"), "CorruptFileError", "operator"),
        ("visit image", MemoryError("12 GB"), "ResourceExhaustedError", "residua"),
        ("write", MemoryError("12 GB"), "ResourceExhaustedError", "residua"),
    ],
)
def test_who_is_to_act_follows_from_the_input(pair, where, fault, error, responsible):
    store = Store(pair, {where: fault})
    outcome = process(ARRIVAL, coadds(store, pair), store, CONTEXT)
    assert (outcome.error, outcome.responsible) == (error, responsible)
    assert str(fault.args[0]).split(":")[-1].split(";")[0].strip() in outcome.message


@pytest.mark.parametrize("where", ["visit image", "template", "write"])
def test_an_outage_has_no_outcome(pair, where):
    store = Store(pair, {where: TransientError("no answer")})
    with pytest.raises(TransientError):
        process(ARRIVAL, coadds(store, pair), store, CONTEXT)


def test_where_an_image_lies(pair):
    assert locate(ARRIVAL, Store(pair), CONTEXT) == Store(pair).region
    outcome = locate(ARRIVAL, Store(pair, {"region": CorruptFileError("cut off")}), CONTEXT)
    assert (outcome.error, outcome.responsible) == ("CorruptFileError", "producer")
    with pytest.raises(TransientError):
        locate(ARRIVAL, Store(pair, {"region": TransientError("no answer")}), CONTEXT)
