"""Clients of librdkafka that end with their block, whatever became of the broker.

A client that is left to itself asks a broker that is gone for ever, and its calls without a limit
wait for it as long: at a session's end they keep the tests from ending.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

__all__ = ["SECONDS", "administrating", "producing", "transaction"]

SECONDS = 60.0
"""Longest wait of any call."""

# What a broker that is away would print; errors are told by the calls.
_QUIET = {"log_level": 0, "error_cb": lambda _error: None}


@contextmanager
def administrating(bootstrap: str) -> Iterator[AdminClient]:
    """Give an admin client of a broker, for one block."""
    with AdminClient({"bootstrap.servers": bootstrap, **_QUIET}) as client:
        yield client


@contextmanager
def producing(bootstrap: str, **options: object) -> Iterator[Producer]:
    """Give a producer whose records are with the broker when the block ends.

    Parameters
    ----------
    **options
        Of librdkafka, with ``_`` for each dot.

    Raises
    ------
    TimeoutError
        The broker did not take them within `SECONDS`.
    """
    named = {name.replace("_", "."): value for name, value in options.items()}
    client = Producer({"bootstrap.servers": bootstrap, **_QUIET, **named})
    try:
        yield client
        left = client.flush(SECONDS)
        if left:
            raise TimeoutError(f"{left} records were not taken within {SECONDS:g} s")
    finally:
        # Nothing waits here any more; closing would end a transaction first, without a limit.
        client.purge()
        if "transactional.id" not in named:
            client.close()


@contextmanager
def transaction(bootstrap: str, name: str, *, commit: bool) -> Iterator[Producer]:
    """Give a producer in a transaction, which is committed or aborted when the block ends."""
    with producing(bootstrap, transactional_id=name) as client:
        client.init_transactions(SECONDS)
        client.begin_transaction()
        try:
            yield client
            client.flush(SECONDS)
        except BaseException:
            with suppress(KafkaException):
                client.abort_transaction(SECONDS)
            raise
        (client.commit_transaction if commit else client.abort_transaction)(SECONDS)
