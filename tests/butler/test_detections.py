"""Tables of detections in Butler: beside their images, and replaced with them."""

import pyarrow as pa
from lsst.daf.butler import Butler
from pyarrow import parquet

from residua.butler.repository import COLLECTION
from residua.identity import detections_dataset_id
from residua.testing.difference_images import difference_image_event
from residua_schemas import DetectionsReference

VISIT = 2026112200123


def with_table(event, folder, rows):
    path = folder / f"{event.revision}.parquet"
    parquet.write_table(pa.table({"diaSourceId": list(range(rows)), "ra": [1.0] * rows}), path)
    reference = DetectionsReference(
        uri=path.as_uri(), checksum="sha256:" + 64 * "0", size_bytes=path.stat().st_size, rows=rows
    )
    return event.model_copy(update={"detections": reference})


def test_the_table_of_an_image_is_found_by_its_data_id(repo, registrar, empty_files, tmp_path):
    event = difference_image_event(VISIT, 4, empty_files(1)[0])
    event = with_table(event, tmp_path, 3)
    assert registrar.register([event]) == []
    assert registrar.register([event, event]) == []
    with Butler.from_config(repo, collections=COLLECTION) as butler:
        data_id = {"instrument": "LSSTComCam", "visit": VISIT, "detector": 4}
        table = butler.get("dia_source_detector", data_id)
        assert list(table["diaSourceId"]) == [0, 1, 2]
        ref = butler.find_dataset("dia_source_detector", data_id)
        assert ref.id == detections_dataset_id(event.dataset_id)


def test_a_newer_image_brings_its_own_table(repo, registrar, empty_files, tmp_path):
    uris = empty_files(2)
    first = with_table(difference_image_event(VISIT, 4, uris[0]), tmp_path, 3)
    registrar.register([first])
    second = difference_image_event(VISIT, 4, uris[1], revision=2)
    assert registrar.register([with_table(second, tmp_path, 5)]) == []
    with Butler.from_config(repo, collections=COLLECTION) as butler:
        data_id = {"instrument": "LSSTComCam", "visit": VISIT, "detector": 4}
        assert len(butler.get("dia_source_detector", data_id)) == 5
