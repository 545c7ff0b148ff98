"""`residua topics`: make the topics of a broker."""

import asyncio
from typing import Annotated

import typer

from residua.cli.console import OUT, one_line_errors

__all__ = ["app"]

app = typer.Typer(help="Make Residua's topics on a Kafka broker.", no_args_is_help=True)


@app.command("create")
def create(
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; by default from the environment.")
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Partitions of new topics; by default RESIDUA_TOPIC_PARTITIONS."),
    ] = None,
    replication: Annotated[
        int | None,
        typer.Option(min=1, help="Replicas of new topics; by default RESIDUA_TOPIC_REPLICATION."),
    ] = None,
) -> None:
    """Create the topics that are missing; those that are there stay as they are.

    But visit-arrivals of an earlier release is set to stamp its records (LogAppendTime).

    Services do the same when they start, unless RESIDUA_CREATE_TOPICS=false. Kafka's security
    settings come from the environment.
    """
    from residua.messaging.making_topics import create_topics
    from residua.messaging.settings import ConsumerSettings
    from residua_schemas import TOPICS

    with one_line_errors():
        settings = ConsumerSettings()
        if bootstrap is not None:
            settings = settings.model_copy(update={"kafka_bootstrap": bootstrap})
        asyncio.run(
            create_topics(
                settings,
                partitions=partitions or settings.topic_partitions,
                replication=replication or settings.topic_replication,
            )
        )
    OUT.print(", ".join(settings.topic_name(topic) for topic in TOPICS), markup=False)


@app.callback()
def _group() -> None:
    """Make this a group also with one command."""
