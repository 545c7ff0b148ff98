"""Lets files of the stand-in's images go, or makes them again, until somebody kills it.

    python -m tests.support.letting_go expire CATALOG-URL OUTPUT-ROOT SCRATCH
    python -m tests.support.letting_go recreate CATALOG-URL OUTPUT-ROOT SCRATCH

The real `expire` and `make_shared`; what stands in is what makes an image, as in
`tests.support.stand_in`: its bytes follow from the arrival. ``expire`` ends when nothing is left.
"""

import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import create_engine, select
from tests.support.stand_in import stand_in_content

from residua.obscore import image_storage, obscore
from residua.recreation import RecreationSettings
from residua.recreation.expire import Expiry, expire
from residua.recreation.shared import make_shared
from residua_schemas import DifferenceImageCreated

_STEP = 0.2
"""Seconds between two steps, so that most kills come between them."""


class StandInRecreator:
    """Makes the stand-in's images again."""

    def __init__(self, folder: Path) -> None:
        self.settings = RecreationSettings()
        self._folder = folder

    def as_made(self, created: DifferenceImageCreated) -> Any:
        path = self._folder / f"{created.visit_detector.visit}.fits"
        content = stand_in_content(created.run, created.arrival)
        path.write_bytes(content[:9])
        time.sleep(_STEP)
        path.write_bytes(content)
        return SimpleNamespace(path=path, detections=path.with_suffix(".parquet"), hollow=None)


def _wait(_created: DifferenceImageCreated) -> None:
    time.sleep(_STEP)


def main(what: str, url: str, root: str, scratch: str) -> None:
    """Do it."""
    engine, recreator = create_engine(url), StandInRecreator(Path(scratch))
    print("begun", flush=True)
    if what == "expire":
        given: Any = recreator
        for one in expire(engine, given, [_wait], Expiry(root, timedelta(0), sample=0)):
            print(one.result, flush=True)
        return
    query = select(obscore.c.event).join(
        image_storage, image_storage.c.dataset_id == obscore.c.dataset_id
    )
    with engine.connect() as connection:
        rows = connection.execute(query.where(image_storage.c.storage == "on demand")).all()
    while rows:
        for row in rows:
            created = DifferenceImageCreated.model_validate(row.event)
            given = recreator
            place = make_shared(given, created, root)
            time.sleep(_STEP)
            place.remove()


if __name__ == "__main__":
    main(*sys.argv[1:])
