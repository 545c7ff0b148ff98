"""From events to the files that Butler is to know, each under its dataset type."""

from dataclasses import dataclass, field

from lsst.daf.butler import (
    DataCoordinate,
    DatasetRef,
    DatasetType,
    DimensionUniverse,
    FileDataset,
)

from residua.butler.registering.dimensions import Registrable
from residua.butler.registering.visit_images import archived_visit_image
from residua.butler.repository import DATASET_TYPES, TEMPLATE_RUNS, VISIT_RUN, dataset_type
from residua.identity import detections_dataset_id, visit_image_dataset_id
from residua.storage.objects import resolve
from residua_schemas import DifferenceImageCreated, TemplateCoadd

__all__ = ["FileDatasets"]


@dataclass(frozen=True)
class FileDatasets:
    """Finds the files of events where they may lie.

    Parameters
    ----------
    output_roots, template_roots, visit_roots
        Where difference images, templates and visit images may lie; without roots for them, no
        visit images are registered.
    """

    universe: DimensionUniverse
    output_roots: tuple[str, ...]
    template_roots: tuple[str, ...]
    visit_roots: tuple[str, ...]
    _types: dict[str, DatasetType] = field(init=False)

    def __post_init__(self) -> None:
        types = {name: dataset_type(name, self.universe) for name in DATASET_TYPES}
        object.__setattr__(self, "_types", types)

    def of(self, event: Registrable) -> list[FileDataset]:
        """Return an event's file, the table of its detections, and the visit image it is of.

        Raises
        ------
        residua.errors.UriNotAllowedError
            One of the first two lies outside the roots.
        """
        if isinstance(event, TemplateCoadd):
            return [self._template(event)]
        return self._difference_image(event)

    def _template(self, event: TemplateCoadd) -> FileDataset:
        definition = self._types["template_coadd"]
        data_id = DataCoordinate.standardize(
            skymap=event.skymap,
            tract=event.tract,
            patch=event.patch,
            band=event.band,
            dimensions=definition.dimensions,
        )
        run = f"{TEMPLATE_RUNS}{event.template_set}"
        ref = DatasetRef(definition, data_id, run=run, id=event.dataset_id)
        return FileDataset(resolve(event.uri, self.template_roots), ref)

    def _difference_image(self, event: DifferenceImageCreated) -> list[FileDataset]:
        image = self._types["difference_image"]
        data_id = DataCoordinate.standardize(
            instrument=event.visit_detector.instrument,
            visit=event.visit_detector.visit,
            detector=event.visit_detector.detector,
            dimensions=image.dimensions,
        )
        ref = DatasetRef(image, data_id, run=event.run, id=event.dataset_id)
        datasets = [FileDataset(resolve(event.uri, self.output_roots), ref)]
        if event.detections is not None:
            identity = detections_dataset_id(event.dataset_id)
            table = self._types["dia_source_detector"]
            ref = DatasetRef(table, data_id, run=event.run, id=identity)
            location = resolve(event.detections.uri, self.output_roots)
            datasets.append(FileDataset(location, ref))
        visit_image = archived_visit_image(event.visit_image.uri, self.visit_roots)
        if visit_image is not None:
            identity = visit_image_dataset_id(event.visit_detector)
            ref = DatasetRef(self._types["visit_image"], data_id, run=VISIT_RUN, id=identity)
            datasets.append(FileDataset(visit_image, ref))
        return datasets
