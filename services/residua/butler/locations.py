"""From a dataset id to the file, and from a repository's templates to events."""

from collections.abc import Iterator
from uuid import UUID

from lsst.daf.butler import DatasetRef
from lsst.resources import ResourcePath

from residua.butler.repository import RepositoryError, open_repository
from residua.errors import MissingFileError
from residua.identity import template_dataset_id
from residua.instruments import InstrumentRegistry
from residua.storage.describe import describe_template
from residua_schemas import TemplateCoadd

__all__ = ["dataset_location", "templates_in_repository"]


def dataset_location(repo: str, dataset: UUID) -> ResourcePath:
    """Return where a dataset's file lies.

    Raises
    ------
    residua.errors.MissingFileError
        The repository knows no such dataset, or only its name.
    """
    with open_repository(repo) as butler:
        ref = butler.get_dataset(dataset)
        if ref is None:
            raise MissingFileError(f"the Butler repository {repo} has no dataset {dataset}")
        try:
            location: ResourcePath = butler.getURI(ref)
        except FileNotFoundError as e:
            raise MissingFileError(
                f"the Butler repository {repo} holds no file of dataset {dataset}: {e}"
            ) from e
        return location


def templates_in_repository(
    repo: str,
    collection: str,
    template_set: str = "default",
    *,
    dataset_type: str = "template_coadd",
    where: str = "",
    instruments: InstrumentRegistry | None = None,
) -> Iterator[TemplateCoadd]:
    """Describe the template coadds of an existing repository, where they lie.

    The data ids of the repository are believed over the files. Every file is read once, for its
    checksum, footprint and PSF.

    Parameters
    ----------
    repo
        Directory or URI of the repository.
    collection
        Collection, or several separated by commas, as Butler searches them.
    template_set
        Set of templates they join.
    dataset_type
        Name of the dataset type; its dimensions are skymap, tract, patch and band.
    where
        Butler expression that chooses among them, such as ``band = 'r' AND tract = 5063``.

    Yields
    ------
    template
        In the order of sky map, tract, patch and band.

    Raises
    ------
    RepositoryError
        There is no such repository, or no such dataset.
    residua.errors.ResiduaError
        A file is missing, damaged or of no use.
    """
    with open_repository(repo) as butler:
        refs = butler.query_datasets(
            dataset_type,
            collections=collection.split(","),
            where=where,
            limit=None,
            explain=False,
        )
        if not refs:
            raise RepositoryError(
                f"{repo} has no {dataset_type} in {collection}"
                + (f" where {where}" if where else "")
            )
        found = sorted(((_place(ref), butler.getURI(ref)) for ref in refs), key=lambda f: f[0])
    for (skymap, tract, patch, band), location in found:
        described = describe_template(
            str(location), template_set, band=band, instruments=instruments
        )
        template = described.model_copy(
            update={"skymap": skymap, "tract": tract, "patch": patch, "band": band}
        )
        yield template.model_copy(update={"dataset_id": template_dataset_id(template.key)})


def _place(ref: DatasetRef) -> tuple[str, int, int, str]:
    data_id = ref.dataId
    return (
        str(data_id["skymap"]),
        int(data_id["tract"]),
        int(data_id["patch"]),
        str(data_id["band"]),
    )
