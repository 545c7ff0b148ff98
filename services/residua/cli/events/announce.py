"""`residua announce`: say where the telescope will look next."""

import asyncio
from typing import Annotated, Any

import typer

from residua.cli.console import OUT, one_line_errors

__all__ = ["announce"]


def announce(
    instrument: Annotated[str, typer.Option(help="Instrument, as in the arrivals.")],
    band: Annotated[str, typer.Option(help="Band.")],
    visit: Annotated[
        int | None, typer.Option(help="Visit number, when it is known already.", min=0)
    ] = None,
    detector: Annotated[
        list[int] | None, typer.Option(help="Detector number; repeatable. None: all.")
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(help="Footprint: RA,DEC of each corner in order, degrees, with blanks."),
    ] = None,
    pointing: Annotated[
        str | None, typer.Option(help="Centre of the field instead: RA,DEC in degrees.")
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="Its width and height: WIDTH,HEIGHT in degrees.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="The observatory's own name of the exposure's group, as in arrivals."),
    ] = None,
    begin_tai: Annotated[
        str | None, typer.Option(help="When the exposure shall begin, TAI, ISO 8601.")
    ] = None,
    exposure_time: Annotated[
        float | None, typer.Option(help="Planned exposure time, seconds.")
    ] = None,
    day_obs: Annotated[int | None, typer.Option(help="Observing day, YYYYMMDD.")] = None,
    physical_filter: Annotated[str | None, typer.Option(help="Physical filter.")] = None,
    target_name: Annotated[str | None, typer.Option(help="Target or field.")] = None,
    rotation: Annotated[
        float, typer.Option(help="Position angle of its y axis, degrees east of north.")
    ] = 0.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the event instead of sending it.")
    ] = False,
    bootstrap: Annotated[
        str, typer.Option(help="Kafka's host:port.", envvar="RESIDUA_KAFKA_BOOTSTRAP")
    ] = "127.0.0.1:9092",
) -> None:
    """Announce a visit on `next-visits`, so that workers fetch its templates before it arrives.

    Optional: an arrival is served the same without it, only later by the time of the reads. The
    night's ledger (`ivoa.obsplan`) has it as planned, with the time and target that it says. Name
    visit and detector when they are known: then only the worker that will get the arrival reads.

    Example: `residua announce --instrument DECam --band i --visit 4711 --detector 12
    --pointing 53.1,-28.1 --field 0.15,0.30 --rotation 90`
    """
    from pydantic import ValidationError

    from residua.messaging.client import send, traced_record
    from residua.messaging.settings import KafkaSettings
    from residua.telemetry.tracing import configure_tracing
    from residua_schemas import NEXT_VISITS, NextVisit

    given: dict[str, Any] = {
        "instrument": instrument,
        "visit": visit,
        "detectors": tuple(detector or ()),
        "band": band,
        "rotation_angle": rotation,
        "group": group,
        "begin_tai": begin_tai,
        "exposure_time": exposure_time,
        "day_obs": day_obs,
        "physical_filter": physical_filter,
        "target_name": target_name,
    }
    if region is not None:
        corners = tuple(_pair("--region", corner) for corner in region.split())
        given["region"] = {"vertices": corners}
    if pointing is not None:
        given["pointing"] = _pair("--pointing", pointing)
    if field is not None:
        given["field"] = _pair("--field", field)
    try:
        event = NextVisit.model_validate(given)
    except ValidationError as e:
        problem = e.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise typer.BadParameter(f"{where + ': ' if where else ''}{problem['msg']}") from e
    if dry_run:
        typer.echo(event.model_dump_json(exclude_none=True))
        return
    with one_line_errors():
        settings = KafkaSettings(kafka_bootstrap=bootstrap)
        configure_tracing(settings, "cli")
        topic = settings.topic_name(NEXT_VISITS)
        record = traced_record(topic, event, event.key, source="/residua/cli")
        asyncio.run(send(settings, [record]))
    OUT.print(f"announced on {topic} on {bootstrap}", markup=False)


def _pair(option: str, text: str) -> tuple[float, float]:
    try:
        first, second = map(float, text.split(","))
    except ValueError as e:
        raise typer.BadParameter(
            f"{text!r} is not two numbers with a comma", param_hint=option
        ) from e
    return first, second
