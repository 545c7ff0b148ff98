"""Single datasets by their names: statements that are made once, for what is asked most often."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

from sqlalchemy import BindParameter, Connection, Select, and_, bindparam, null, select

from residua.obscore import image_storage, obscore

__all__ = ["datasets", "related"]


def datasets(
    connection: Connection,
    name: Literal["obs_publisher_did", "dataset_id"],
    values: Sequence[str],
    *,
    storage: bool,
) -> Mapping[str, Mapping[str, Any]]:
    """Return rows by that name, with what is not public.

    Parameters
    ----------
    storage
        Whether the database tells how files are stored (`image_storage`).
    """
    found = connection.execute(_by_name(name, storage), {"names": values})
    keys = tuple(found.keys())
    rows = (dict(zip(keys, row, strict=True)) for row in found)
    return {row[name]: row for row in rows}


def related(connection: Connection, dataset_ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """Return name, file and rights of those of these datasets that have rows."""
    found = connection.execute(_rights(), {"names": dataset_ids})
    return [dict(row) for row in found.mappings()]


@cache
def _by_name(name: str, storage: bool) -> Select[Any]:
    if storage:
        same = and_(
            image_storage.c.dataset_id == obscore.c.dataset_id,
            image_storage.c.number == obscore.c.revision,
        )
        statement: Select[Any] = select(obscore, image_storage.c.storage).select_from(
            obscore.join(image_storage, same, isouter=True)
        )
    else:
        statement = select(obscore, null().label("storage"))
    return statement.where(obscore.c[name].in_(bindparam("names", expanding=True)))


@cache
def _rights() -> Select[Any]:
    columns = (
        obscore.c.dataset_id,
        obscore.c.obs_publisher_did,
        obscore.c.checksum,
        obscore.c.size_bytes,
        obscore.c.t_max,
        obscore.c.obs_release_date,
        obscore.c.data_rights,
    )
    names: BindParameter[str] = bindparam("names", expanding=True)
    return select(*columns).where(obscore.c.dataset_id.in_(names))
