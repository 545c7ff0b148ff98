"""The Butler repository itself: create, open, and say what is in it."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsst.daf.butler import Butler, CollectionType, Config, DatasetType, DimensionUniverse
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.resources import ResourcePath

from residua.errors import ResiduaError, TransientError
from residua.extras import require_for
from residua.inner_names import paths_read_by

__all__ = [
    "COLLECTION",
    "DATASET_TYPES",
    "RECREATING",
    "REPOSITORY",
    "TEMPLATE_RUNS",
    "VISIT_RUN",
    "DatasetCount",
    "RepositoryError",
    "create_repository",
    "dataset_type",
    "open_repository",
    "opening_lines",
    "register_dataset_types",
    "repository_contents",
]

COLLECTION = "residua"
"""Default name of the chain that users open: all runs and template sets, newest run first."""

RECREATING = "residua.butler.formatter.RecreatingFormatter"
"""Full name of the formatter of images whose files are not kept."""

_RUN = re.compile(r"(?:^|/)(residua/\d+/.+)/difference_image/")

REPOSITORY = "<butlerRoot>"
"""Stands for the directory of the repository in a datastore root."""

VISIT_RUN = "residua/visits"
"""RUN collection of the visit images."""

TEMPLATE_RUNS = "residua/templates/"
"""Begins the name of the RUN collection of each template set."""

DATASET_TYPES: dict[str, tuple[tuple[str, ...], str]] = {
    # As Rubin Data Preview 1 has it; DP2 declares the storage class, which pip packages read.
    "difference_image": (("instrument", "visit", "detector"), "DifferenceImage"),
    # As DP1 has it: ArrowTable's formatter reads Parquet, as astropy tables and data frames too.
    "dia_source_detector": (("instrument", "visit", "detector"), "ArrowAstropy"),
    "visit_image": (("instrument", "visit", "detector"), "VisitImage"),
    "template_coadd": (("skymap", "tract", "patch", "band"), "MaskedImageV2"),
}
"""Dimensions and storage class of each dataset type."""


class RepositoryError(ResiduaError):
    """The Butler repository is missing, or not as Residua needs it."""

    responsible = "operator"


@dataclass(frozen=True)
class DatasetCount:
    """How many datasets of a type a RUN collection holds.

    Parameters
    ----------
    on_demand
        Those among them whose files are not kept: they are made again when somebody gets them.
    """

    run: str
    dataset_type: str
    datasets: int
    on_demand: int = 0


def create_repository(
    repo: str,
    *,
    registry_url: str | None = None,
    namespace: str | None = None,
    datastore_root: str | None = None,
    collection: str = COLLECTION,
) -> bool:
    """Make a repository with the dataset types and the chain; do nothing to one that is there.

    Parameters
    ----------
    repo
        Directory or URI of the repository (where ``butler.yaml`` goes).
    registry_url
        SQLAlchemy URL of the registry, such as ``postgresql+psycopg://host/database`` (the
        database needs the extension ``btree_gist``); by default SQLite inside ``repo``.
    namespace
        Schema of the registry's tables in PostgreSQL.
    datastore_root
        Directory or URI under which files are recorded by relative path; by default ``repo``.
        Files elsewhere are recorded by their whole URI. What begins with `REPOSITORY` is moved
        with the repository.
    collection
        Name of the chain.

    Returns
    -------
    created
        Whether there was none before.

    Raises
    ------
    RepositoryError
        A dataset type of the name is there with another definition.
    """
    require_for(repo, registry_url or "", datastore_root or "")
    created = not _exists(repo)
    if created:
        config = Config()
        if registry_url is not None:
            config["registry", "db"] = registry_url
        if namespace is not None:
            config["registry", "namespace"] = namespace
        if datastore_root is not None:
            config["datastore", "root"] = _root(datastore_root)
        # Without this flag the datastore root would silently become the repository.
        Butler.makeRepo(repo, config=config, forceConfigRoot=datastore_root is None)
    with open_repository(repo, writeable=True) as butler:
        register_dataset_types(butler)
        butler.collections.register(collection, CollectionType.CHAINED)
    return created


def open_repository(repo: str, *, writeable: bool = False) -> Butler:
    """Open a repository; also a context manager that closes it.

    Raises
    ------
    RepositoryError
        There is none.
    """
    if not _exists(repo):
        raise RepositoryError(
            f"there is no Butler repository at {repo}; make one: residua butler init {repo}"
        )
    return Butler.from_config(repo, writeable=writeable)


def dataset_type(name: str, universe: DimensionUniverse) -> DatasetType:
    """Return the definition of a dataset type by name."""
    dimensions, storage_class = DATASET_TYPES[name]
    return DatasetType(name, dimensions, storage_class, universe=universe)


def register_dataset_types(butler: Butler) -> None:
    """Register the dataset types; those that are there must be the same.

    Raises
    ------
    RepositoryError
        One is there with another definition.
    """
    for name in DATASET_TYPES:
        wanted = dataset_type(name, butler.dimensions)
        try:
            butler.registry.registerDatasetType(wanted)
        except ConflictingDefinitionError as e:
            there = butler.get_dataset_type(name)
            raise RepositoryError(
                f"the repository defines {name} as {there}, Residua writes {wanted}; "
                "use a repository of its own"
            ) from e


def repository_contents(butler: Butler) -> list[DatasetCount]:
    """Count the datasets of each type in each RUN collection; empty ones are left out."""
    counts = []
    # The path of an image begins with its run.
    on_demand = Counter(
        found[0] for path in paths_read_by(butler, RECREATING) if (found := _RUN.findall(path))
    )
    with butler.query() as query:
        for run in sorted(butler.collections.query("*", collection_types={CollectionType.RUN})):
            for name in DATASET_TYPES:
                found = query.datasets(name, collections=run, find_first=False)
                number = found.count()
                if number:
                    of_images = on_demand[run] if name == "difference_image" else 0
                    counts.append(DatasetCount(run, name, number, of_images))
    return counts


def opening_lines(repo: str, collection: str = COLLECTION) -> str:
    """Two lines of Python that open the repository and list its difference images."""
    where = str(Path(repo).resolve()) if "://" not in repo else repo
    return (
        f'from lsst.daf.butler import Butler; butler = Butler("{where}", '
        f'collections="{collection}")\n'
        'refs = butler.query_datasets("difference_image"); image = butler.get(refs[0])'
    )


def _root(text: str) -> str:
    if text.startswith(REPOSITORY):
        return text
    return str(ResourcePath(text, forceDirectory=True))


def _exists(repo: str) -> bool:
    root: Any = ResourcePath(repo, forceDirectory=not repo.endswith((".yaml", ".json")))
    config = root if not root.isdir() else root.join("butler.yaml", forceDirectory=False)
    try:
        return bool(config.exists())
    except FileNotFoundError:
        return False
    except OSError as e:
        raise TransientError(f"cannot look for a Butler repository at {repo}: {e}") from e
