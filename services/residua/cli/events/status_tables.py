"""How `residua status` shows what it found."""

import json
from typing import Any

import typer
from rich.table import Table

from residua.cli.console import OUT

__all__ = ["show"]


def show(summary: dict[str, Any], *, as_json: bool, indent: int | None) -> None:
    """Print what `residua status` found, as tables or as one JSON object."""
    if as_json:
        typer.echo(json.dumps(summary, indent=indent))
        return
    table = Table(show_header=False)
    for name, value in summary.items():
        if isinstance(value, dict):
            text = ", ".join(f"{n.replace('_', ' ')} {v}" for n, v in value.items())
            table.add_row(name.replace("_", " "), text)
        elif not isinstance(value, list):
            table.add_row(name.replace("_", " "), str(value))
    OUT.print(table)
    # Absent where no broker answered.
    if "groups" in summary:
        _show_groups(summary["groups"])
    if summary.get("services"):
        services = Table("service", "instance", "last heard", "handled", "in hand")
        for each in summary["services"]:
            heard = f"{each['silent_seconds']:.0f} s ago" + ("" if each["alive"] else ": silent")
            services.add_row(
                each["service"], each["instance"], heard, str(each["handled"]), each["in_hand"]
            )
        OUT.print(services)


def _show_groups(groups: list[dict[str, Any]]) -> None:
    table = Table("group", "topic", "partition", "waits", "oldest unread")
    for each in groups:
        table.add_row(each["group"], each["topic"], "all", str(each["lag"]), _age(each))
        for p in each["partitions"]:
            if p["lag"]:
                table.add_row("", "", str(p["partition"]), str(p["lag"]), _age(p))
    OUT.print(table)


def _age(row: dict[str, Any]) -> str:
    seconds = row["oldest_unread_seconds"]
    return "" if seconds is None else f"{seconds:.0f} s"
