"""The inner names of other libraries that we use, for want of a public call: here and nowhere else.

``tests/unit/test_inner_names.py`` has a test of each, to be run before a newer version is
allowed.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = [
    "aiokafka_consumer",
    "bucket",
    "child_processes",
    "forget_files",
    "group_generation",
    "group_member_id",
    "has_controller",
    "http_pool",
    "join_anew",
    "learn_of_topic",
    "paths_read_by",
    "read_committed",
    "record_file",
    "sign_request",
]


def aiokafka_consumer(app: Any) -> Any:
    """Return the consumer of aiokafka under a faust app's own.

    Raises
    ------
    faust.exceptions.ConsumerNotStarted
        There is none yet, or no more.
    """
    return app.consumer._thread._ensure_consumer()  # noqa: SLF001 faust reads it so too


def group_generation(consumer: Any) -> int:
    """Return the generation of an aiokafka consumer's group, as it knows it."""
    return int(consumer._coordinator.generation)  # noqa: SLF001


def group_member_id(consumer: Any) -> str:
    """Return the id of an aiokafka consumer in its group; empty where it has no group."""
    return str(getattr(consumer._coordinator, "member_id", ""))  # noqa: SLF001


def join_anew(consumer: Any) -> None:
    """Let an aiokafka consumer ask its group's coordinator to join anew; from any thread."""
    consumer._loop.call_soon_threadsafe(  # noqa: SLF001 faust's has a thread of its own
        consumer._coordinator.request_rejoin  # noqa: SLF001
    )


def read_committed(consumer: Any) -> None:
    """Let an aiokafka consumer that has not started skip what aborted transactions left."""
    consumer._isolation_level = "read_committed"  # noqa: SLF001


def has_controller(admin: Any) -> bool:
    """Whether the cluster of an aiokafka admin client has a controller; the embedded has none."""
    return admin._client.cluster.controller is not None  # noqa: SLF001


async def learn_of_topic(consumer: Any, topic: str) -> None:
    """Let an aiokafka consumer ask for the partitions of a topic it has not subscribed to."""
    await consumer._client.add_topic(topic)  # noqa: SLF001
    await consumer._client.force_metadata_update()  # noqa: SLF001


def bucket(location: Any) -> str:
    """Return the bucket of an ``s3://`` `lsst.resources.ResourcePath`."""
    return str(location._bucket)  # noqa: SLF001


def http_pool(location: Any, address: str) -> Any | None:
    """Return the urllib3 pool by which the S3 client of a location sends its requests.

    It has the client's trust and its timeouts. `None` where a proxy lies between.
    """
    session = location.client._endpoint.http_session  # noqa: SLF001
    if session._proxy_config.proxy_url_for(address) is not None:  # noqa: SLF001
        return None
    pool = session._get_connection_manager(address).connection_from_url(address)  # noqa: SLF001
    session._setup_ssl_cert(pool, address, session._verify)  # noqa: SLF001
    return pool


def sign_request(location: Any, operation: str, request: Any) -> None:
    """Sign a botocore `AWSRequest` for an object in its headers, as the location's client would."""
    name = "".join(word.capitalize() for word in operation.split("_"))
    location.client._request_signer.sign(name, request)  # noqa: SLF001


def forget_files(butler: Any, datasets: Iterable[Any]) -> None:
    """Let a Butler forget the files of datasets, and leave the files where they are."""
    butler._datastore.forget(list(datasets))  # noqa: SLF001


def record_file(butler: Any, ref: Any, location: Any, formatter: str) -> None:
    """Let a Butler know a dataset by a file that need not be there; what it knew is replaced.

    Parameters
    ----------
    formatter
        Full name of the class that reads it.
    """
    from lsst.daf.butler.registry.interfaces import DatabaseInsertMode
    from lsst.utils.introspection import get_class_of

    store = butler._datastore  # noqa: SLF001
    with butler.transaction():
        butler.collections.register(ref.run)
        [known] = butler._registry._importDatasets([ref], expand=True)  # noqa: SLF001
        info = store._extractIngestInfo(  # noqa: SLF001
            location,
            known,
            formatter=get_class_of(formatter),
            transfer="split",
            record_validation_info=False,
        )
        replace = DatabaseInsertMode.REPLACE
        store._register_datasets([(known, info)], insert_mode=replace)  # noqa: SLF001


def paths_read_by(butler: Any, formatter: str) -> Iterator[str]:
    """Yield the path of each file that a Butler would read with a formatter of that name."""
    for record in butler._datastore._table.fetch(formatter=formatter):  # noqa: SLF001
        yield str(record["path"])


def child_processes(executor: Any) -> Sequence[Any]:
    """Return the processes of a `ProcessPoolExecutor`, which has no call that ends a busy one."""
    return list((executor._processes or {}).values())  # noqa: SLF001
