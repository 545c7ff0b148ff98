"""A catalog that is not there is said to be so, and none is made in its place."""

import pytest
from sqlalchemy import create_engine, select

from residua.errors import MissingFileError
from residua.obscore import create_tables, obscore
from residua.obscore.opening import open_existing


def test_a_catalog_that_is_there_is_opened(tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    engine = create_engine(url)
    create_tables(engine)
    engine.dispose()
    engine = open_existing(url)
    with engine.connect() as connection:
        assert connection.execute(select(obscore.c.dataset_id)).all() == []
    engine.dispose()
    read_only = open_existing(f"sqlite:///file:{tmp_path}/catalog.sqlite?mode=ro&uri=true")
    with read_only.connect() as connection:
        assert connection.execute(select(obscore.c.dataset_id)).all() == []
    read_only.dispose()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///{}/none.sqlite", "no catalog at .*none.sqlite"),
        ("sqlite:///{}", "no catalog at"),
        ("sqlite://", "an address without a file"),
        ("catalog.sqlite", "is no catalog: give a database URL"),
        ("", "is no catalog: give a database URL"),
    ],
)
def test_what_is_none_is_refused_and_not_made(tmp_path, url, said):
    with pytest.raises(MissingFileError, match=said):
        open_existing(url.format(tmp_path))
    assert not list(tmp_path.iterdir())
