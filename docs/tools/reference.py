"""The generated pages of the reference: made from the code when the site is built, never by hand.

`PAGES` maps the path of each page to the function that writes its Markdown.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, get_args, get_origin

import typer
from docs.tools.read_code import (
    card_comments,
    commands,
    contract_models,
    metric_descriptions,
    subclasses,
)
from pydantic_settings import BaseSettings

import residua_schemas
from residua.errors import ResiduaError, TransientError
from residua.extras import MissingExtraError
from residua.subtraction.masks import UNUSABLE, MaskBit

_APP = "residua.cli.main:app"
SERVICES = {
    "The worker, `python -m residua.worker`": "residua.worker.settings:WorkerSettings",
    "The catalog consumer, `python -m residua.catalog`": "residua.catalog.settings:CatalogSettings",
    "The Butler registrar, `python -m residua.butler`": "residua.butler.settings:ButlerSettings",
    "The access service, `python -m residua.access`": "residua.access.settings:AccessSettings",
    "Bucket notifications, `python -m residua.notifications`": (
        "residua.notifications.settings:NotificationSettings"
    ),
    "Making images again, `residua recreate`, `verify` and others": (
        "residua.recreation.settings:RecreationSettings"
    ),
    "The bridge, `python -m residua.bridge`": "residua.bridge.settings:BridgeSettings",
}


def _resolve(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(_cell(c) for c in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _type(annotation: object) -> str:
    if get_origin(annotation) is None and inspect.isclass(annotation):
        return annotation.__name__
    arguments = get_args(annotation)
    if arguments and type(None) in arguments:
        return " or ".join(_type(a) for a in arguments if a is not type(None)) + ", optional"
    return re.sub(r"\b[\w.]+\.(\w+)", r"\1", str(annotation))


def settings() -> str:
    """Every setting of every service."""
    text = (
        "# Settings\n\nEvery setting is an environment variable: `RESIDUA_` and the name in "
        'capitals. Lists are JSON (`["a", "b"]`).\n\n'
    )
    for title, place in SERVICES.items():
        model = _resolve(place)
        rows: list[tuple[object, ...]] = [
            (
                f"`RESIDUA_{name.upper()}`",
                _type(field.annotation),
                "**required**" if field.is_required() else f"`{field.get_default()!r}`",
                field.description,
            )
            for name, field in sorted(model.model_fields.items())
        ]
        text += f"## {title}\n\n{inspect.getdoc(model).splitlines()[0]}\n\n"
        text += _table(("variable", "type", "default", "meaning"), rows) + "\n"
    return text


def command_line() -> str:
    """Every command, with its arguments and options."""
    text = "# Command line\n\n"
    for path, command in commands("residua", typer.main.get_command(_resolve(_APP))):
        if getattr(command, "commands", None):
            continue
        text += f"## `{path}`\n\n{inspect.cleandoc(command.help or '')}\n\n"
        rows: list[tuple[object, ...]] = [
            (
                ", ".join(f"`{o}`" for o in (*option.opts, *option.secondary_opts)),
                "**required**" if option.required else _default(option.default),
                getattr(option, "help", "") or "",
            )
            for option in command.params
        ]
        text += _table(("option", "default", "meaning"), rows) + "\n" if rows else ""
    return text


def _default(value: object) -> str:
    return "" if value is None or value is False else f"`{value}`"


def events() -> str:
    """Every field of every event."""
    rows: list[tuple[object, ...]] = [
        (
            f"`{topic.name}`",
            ", ".join(f"[{m.__name__}](#{m.__name__.lower()})" for m in topic.models),
        )
        for topic in residua_schemas.TOPICS
    ]
    text = "# Topics and events\n\n" + _table(("topic", "events"), rows) + "\n"
    for model in contract_models():
        text += f"## {model.__name__}\n\n{_first(model)}\n\n"
        rows = [
            (
                f"`{name}`",
                _type(field.annotation),
                "**required**" if field.is_required() else "",
                field.description or "",
            )
            for name, field in model.model_fields.items()
        ]
        text += _table(("field", "type", "", "meaning"), rows) + "\n"
    return text


def _first(kind: type) -> str:
    return (inspect.getdoc(kind) or "").split("\n\n")[0]


def mask_planes() -> str:
    """Every mask plane."""
    rows: list[tuple[object, ...]] = [
        (
            bit.value.bit_length() - 1,
            f"`{bit.name}`",
            MEANINGS[bit.name or ""],
            "yes" if bit & UNUSABLE else "",
        )
        for bit in MaskBit
    ]
    return (
        "# Mask planes\n\nBits of the int32 mask of `residua.MaskBit`. Files name their planes "
        "(`MSKN*` cards of `lsst.images`, `MP_*` of DP1), so that no reader has to know the "
        "numbers. A pixel without flux that can be trusted takes no part in fits, in the "
        "decorrelation, in detection.\n\n" + _table(("bit", "plane", "set where", "no flux"), rows)
    )


MEANINGS: Mapping[str, str] = {
    "BAD": "the detector is defective, or the kernel carried flux of flagged science pixels here",
    "SATURATED": "the visit image is saturated",
    "INTERPOLATED": "the value was interpolated before the image came here",
    "COSMIC_RAY": "a cosmic ray was found",
    "DETECTION_EDGE": "too near to a border or to missing data for the kernel",
    "DETECTED": "inside the footprint of a positive detection",
    "SUSPECT": "the visit's pipeline doubts the value",
    "NO_DATA": "there is no visit or no template pixel",
    "VIGNETTED": "fully vignetted",
    "PARTLY_VIGNETTED": "partly vignetted",
    "CROSSTALK": "corrected for crosstalk",
    "ITL_DIP": "beside a bright star on an ITL detector",
    "NOT_DEBLENDED": "in a footprint that was not deblended",
    "SPIKE": "on a diffraction spike",
    "UNMASKED_NAN": "the value was not finite and no other plane said why",
    "DETECTED_NEGATIVE": "inside the footprint of a negative detection",
    "SAT_TEMPLATE": "the template is saturated, or the kernel carried such flux here",
    "HIGH_VARIANCE": "the template's variance is unusually high",
    "STREAK": "on the streak of a satellite",
    "CLIPPED": "template coadds alone: an input was clipped",
    "REJECTED": "template coadds alone: an input was rejected",
    "INEXACT_PSF": "template coadds alone: the inputs differ, the PSF is not exact",
    "SENSOR_EDGE": "template coadds alone: an input's detector ended here",
}


def cards() -> str:
    """Every card that Residua writes into a primary header, from the calls that write it."""
    rows: list[tuple[object, ...]] = [(f"`{key}`", comment) for key, comment in card_comments()]
    return (
        "# FITS cards\n\nCards in the primary header of a difference image, for those who read no "
        "JSON; the complete record is in the file's `lsst.images` archive. A number that could "
        "not be measured has no card.\n\n" + _table(("card", "meaning"), rows)
    )


def metrics() -> str:
    """Every metric: those all services share, and those that one service makes for itself."""
    rows: list[tuple[object, ...]] = []
    for name, kind, labels, text in metric_descriptions():
        shown = f"{name}_total" if kind == "counter" else name
        rows.append((f"`{shown}`", kind, ", ".join(f"`{x}`" for x in labels), text))
    return (
        "# Metrics\n\nPrometheus, on `RESIDUA_METRICS_PORT`. Labels are of bounded number: kinds, "
        "topics, causes, never visits or files.\n\n"
        + _table(("metric", "type", "labels", "meaning"), sorted(rows))
    )


def exit_codes() -> str:
    """Every exit code."""
    from residua.cli import console
    from residua.worker.watchdog import EXIT_CODE

    wrong = (
        "an input cannot be used, a component does not answer, a setting is wrong, an extra is "
        "missing: the last line says which"
    )
    watchdog = (
        "the watchdog: it no longer took part in the group, one arrival took too long, or its "
        "event loop stood still"
    )
    nothing = "legitimately nothing to do, such as no overlap of visit and template"
    rows: list[tuple[object, ...]] = [
        (0, "all", "done; a service: ended by SIGTERM, in order"),
        (console.FAILED, "all", wrong),
        (console.USAGE, "commands", "the command line is wrong"),
        (console.NOTHING_TO_DO, "commands", nothing),
        (EXIT_CODE, "worker", watchdog),
    ]
    return "# Exit codes\n\n" + _table(("code", "of", "meaning"), rows)


def errors() -> str:
    """Every error that reaches an outcome, a dead letter or a command line."""
    roots: list[type] = [ResiduaError, TransientError, MissingExtraError]
    kinds = {k for root in roots for k in (root, *subclasses(root))}
    rows: list[tuple[object, ...]] = [
        (f"`{k.__name__}`", getattr(k, "responsible", ""), _first(k))
        for k in sorted(kinds, key=lambda k: k.__name__)
    ]
    return (
        "# Errors\n\nThe name stands in `error` of failed outcomes and dead letters; `responsible` "
        "says who can mend it, and may differ from the table where an input belongs to somebody "
        "else: an unreadable template is the operator's.\n\n"
        + _table(("error", "for whom", "meaning"), rows)
    )


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/settings.md": settings,
    "reference/command-line.md": command_line,
    "reference/events.md": events,
    "reference/fits-cards.md": cards,
    "reference/mask-planes.md": mask_planes,
    "reference/metrics.md": metrics,
    "reference/exit-codes.md": exit_codes,
    "reference/errors.md": errors,
}


def all_settings() -> list[type]:
    """Every settings class of a service."""
    return [c for c in subclasses(BaseSettings) if c.model_fields and not c.__subclasses__()]
