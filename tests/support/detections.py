"""Detections on small images, and their tables as the worker writes them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from residua.ports import Observation, Provenance
from residua.storage.objects import checksum_of
from residua.storage.write.detection_table import detections_parquet
from residua.subtraction.detections import Detection
from residua.subtraction.masks import MaskBit
from residua.testing.difference_images import difference_image_pixels
from residua_schemas import DetectionsReference, DifferenceImageCreated

__all__ = ["found_on", "with_detections"]


def found_on(event: DifferenceImageCreated, number: int, seed: int = 0) -> tuple[Detection, ...]:
    """Detections around the centre of an image; every third near a saturated pixel."""
    rng = np.random.default_rng([seed, event.visit_detector.visit])
    ra, dec = event.region.center
    return tuple(
        Detection(
            x=float(rng.uniform(0, event.shape[1])),
            y=float(rng.uniform(0, event.shape[0])),
            ra=ra + float(rng.uniform(-0.001, 0.001)),
            dec=dec + float(rng.uniform(-0.001, 0.001)),
            signal_to_noise=20.0 - i,
            flux=1000.0 - i,
            flux_error=50.0,
            mask=int(MaskBit.SATURATED) if i % 3 == 0 else 0,
        )
        for i in range(number)
    )


def with_detections(
    event: DifferenceImageCreated, detections: tuple[Detection, ...], folder: Path
) -> DifferenceImageCreated:
    """Write the table; return the event that refers to it."""
    difference = replace(difference_image_pixels(event), detections=detections)
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
    assert content == detections_parquet(difference, observation, provenance)
    path = folder / f"{v.visit}_{v.detector}_{event.revision}.parquet"
    path.write_bytes(content)
    reference = DetectionsReference(
        uri=path.as_uri(),
        checksum=checksum_of(content),
        size_bytes=len(content),
        rows=len(detections),
    )
    return event.model_copy(update={"detections": reference})
