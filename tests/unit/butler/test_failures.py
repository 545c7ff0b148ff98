"""Whose fault an exception is: an event's (dead letter) or the world's (try again)."""

import sqlite3

import pytest
from lsst.daf.butler.registry import ConflictingDefinitionError
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError

from residua.butler.failures import translated
from residua.errors import ResiduaError, TransientError


class _RemoteError(Exception):
    """As botocore raises it."""


_RemoteError.__module__ = "botocore.exceptions"


def database(error_type):
    return error_type("INSERT", {}, sqlite3.Error("says no"))


@pytest.mark.parametrize(
    ("error", "name", "responsible"),
    [
        (ConflictingDefinitionError("other id"), "ConflictError", "operator"),
        (database(IntegrityError), "ConflictError", "operator"),
        (database(DataError), "ConflictError", "operator"),
        (FileNotFoundError("a.fits"), "MissingFileError", "producer"),
        (ValueError("no polygon"), "MalformedEventError", "producer"),
        (KeyError("x"), "MalformedEventError", "producer"),
    ],
)
def test_faults_of_an_event(error, name, responsible):
    result = translated(error)
    assert isinstance(result, ResiduaError)
    assert (type(result).__name__, result.responsible) == (name, responsible)
    assert type(error).__name__ in result.message


@pytest.mark.parametrize(
    "error",
    [
        database(OperationalError),
        database(InterfaceError),
        ConnectionRefusedError("store"),
        PermissionError("store"),
        TimeoutError("store"),
        _RemoteError("503"),
    ],
)
def test_faults_of_the_world(error):
    assert isinstance(translated(error), TransientError)


def test_long_errors_are_cut():
    assert len(translated(ValueError("x" * 10_000)).message) < 600
