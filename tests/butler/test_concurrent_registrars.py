"""Six registrars in processes of their own, on the same repository at the same moment."""

import multiprocessing
import random
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from residua.butler.registering.registrar import Registrar
from residua.butler.repository import COLLECTION, open_repository
from residua.instruments import InstrumentRegistry
from residua_schemas import TemplateCoadd, outcome_from_json

WRITERS = 6
OWN, SHARED, BATCH = 8, 16, 6
VISIT = 2024110800000


def _events(uris: list[str], writer: int) -> list:
    # Here, so that the writers do not import it.
    from residua.testing.difference_images import difference_image_event, template_event

    shared = [
        difference_image_event(VISIT + n // 3, n % 3, uris[n], run=f"residua/0/dp1/{n % 2}")
        for n in range(SHARED)
    ]
    own = [
        difference_image_event(VISIT + n, 3 + writer, uris[SHARED + writer * OWN + n])
        for n in range(OWN)
    ]
    return [*shared, *own, template_event(writer % 2, uris[0])]


def _register(repo: str, root: str, bodies: list[str], template: str, writer: int, barrier) -> None:
    events = [outcome_from_json(body) for body in bodies]
    events.append(TemplateCoadd.model_validate_json(template))
    random.Random(writer).shuffle(events)
    with open_repository(repo, writeable=True) as butler:
        registrar = Registrar(
            butler,
            instruments=InstrumentRegistry(),
            output_root=root,
            template_roots=[root],
            attempts=20,
        )
        barrier.wait(400)
        # Twice: the second round is a redelivery that meets the others' first.
        for _ in range(2):
            for start in range(0, len(events), BATCH):
                rejected = registrar.register(events[start : start + BATCH])
                assert rejected == [], rejected


@pytest.mark.timeout(900)
def test_nothing_is_lost_and_nothing_doubled(repo, tmp_path: Path, empty_files):
    uris = empty_files(SHARED + WRITERS * OWN)
    context = multiprocessing.get_context("forkserver")
    # Imported once: each writer would spend seconds on what Butler asks for.
    context.set_forkserver_preload(
        ["residua.butler.registering.registrar", "lsst.images.formatters"]
    )
    barrier = context.Barrier(WRITERS)
    writers = []
    for n in range(WRITERS):
        *bodies, template = (event.model_dump_json() for event in _events(uris, n))
        arguments = (repo, str(tmp_path), bodies, template, n, barrier)
        writers.append(context.Process(target=_register, args=arguments))
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(800)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS

    wanted = {
        (str(event.dataset_id), event.uri) for n in range(WRITERS) for event in _events(uris, n)
    }
    with Butler.from_config(repo, collections=COLLECTION) as butler:
        refs = [
            ref
            for name in ("difference_image", "template_coadd")
            for ref in butler.query_datasets(name, find_first=False)
        ]
        assert len(refs) == len(wanted) == SHARED + WRITERS * OWN + 2
        assert {(str(ref.id), str(butler.getURI(ref))) for ref in refs} == wanted
        chain = butler.collections.get_info(COLLECTION).children
        assert sorted(chain) == sorted({ref.run for ref in refs})
        assert chain[-1] == "residua/templates/dp1"
        visits = list(butler.registry.queryDimensionRecords("visit"))
        assert len(visits) == len({v.id for v in visits}) == OWN
