"""The thread that reads templates before they are asked for, and the pool's way to it."""

import asyncio
import time
from threading import Event

import pytest
from tests.support.stand_in import open_stand_in

from residua.metrics import Metrics
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.processor import Processor
from residua.worker.subtracting.read_ahead import ReadAheadReport, TemplateReader
from residua.worker.subtracting.subtraction_process import SubtractionProcess
from residua_schemas import TemplateCoadd
from residua_schemas.examples import examples


def template(patch, shape=(10, 10)) -> TemplateCoadd:
    changes = {"patch": patch, "uri": f"file:///{patch}.fits", "shape": shape}
    return examples()[TemplateCoadd].model_copy(update=changes)


def settled(reader):
    """All reports until nothing waits, as one."""
    total = ReadAheadReport()
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        new = reader.report()
        total = ReadAheadReport(
            *(getattr(total, n) + getattr(new, n) for n in ("read", "known", "failed", "dropped"))
        )
        if not new.waiting:
            return total
        time.sleep(0.01)
    raise AssertionError("never settled")


def test_each_is_read_once_in_order_and_errors_end_nothing():
    seen = []

    def read(asked):
        seen.append(asked.patch)
        if asked.patch == 2:
            raise OSError("gone")
        return asked.patch != 3

    reader = TemplateReader(read)
    assert reader.report() == ReadAheadReport()
    reader.ask(map(template, (1, 2, 3, 4)))
    assert settled(reader) == ReadAheadReport(read=2, known=1, failed=1)
    assert seen == [1, 2, 3, 4]
    reader.ask([template(5)])
    assert settled(reader) == ReadAheadReport(read=1)


def test_the_oldest_give_way_when_too_much_waits():
    begun, go_on, seen = Event(), Event(), []

    def read(asked):
        seen.append(asked.patch)
        begun.set()
        return go_on.wait(20.0)

    # Three templates of 100 pixels, 12 bytes each.
    reader = TemplateReader(read, most_waiting_bytes=3600)
    reader.ask([template(0)])
    assert begun.wait(20.0)
    reader.ask(map(template, (1, 2, 3)))
    reader.ask(map(template, (3, 4)))
    assert reader.report() == ReadAheadReport(dropped=1, waiting=4)
    # One that is larger than all that may wait is not read at all.
    reader.ask([template(9, shape=(1000, 1000))])
    go_on.set()
    assert settled(reader) == ReadAheadReport(read=4, dropped=1)
    assert seen == [0, 2, 3, 4]


def open_reader(settings):
    """The stand-in, with templates that take no time."""
    return Processor(open_stand_in(settings).process, lambda asked: asked.patch != 3)


@pytest.fixture
def settings(tmp_path):
    return WorkerSettings(output_root=str(tmp_path), start_timeout=120)


def test_the_pool_passes_templates_to_its_child_and_starts_none(settings):
    async def scenario():
        pool = SubtractionProcess(open_reader, settings, Metrics())
        assert await pool.read_ahead((template(1),)) is None
        await pool.start()
        try:
            found = [await pool.read_ahead(tuple(map(template, (1, 2, 3))))]
            while found[-1].waiting:
                await asyncio.sleep(0.05)
                found.append(await pool.read_ahead(()))
            assert sum(r.read for r in found) == 2
            assert sum(r.known for r in found) == 1
        finally:
            pool.close()
        assert await pool.read_ahead((template(1),)) is None

    asyncio.run(scenario())


def test_a_pool_that_is_closed_meanwhile_cancels_nobody(settings):
    async def scenario():
        pool = SubtractionProcess(open_stand_in, settings, Metrics())
        await pool.start()
        asked = asyncio.create_task(pool.read_ahead((template(1),)))
        await asyncio.sleep(0)
        pool.close()
        assert await asked in {None, ReadAheadReport()}

    asyncio.run(scenario())
