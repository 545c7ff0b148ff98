"""`residua demo`: a small survey, or the user's own files, through the real services."""

import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from residua.cli.console import FAILED, OUT, STDERR, USAGE, one_line_errors
from residua.cli.images.file_options import DetectorFrom, Instruments, VisitFrom, registry_of

if TYPE_CHECKING:
    from residua.demo.inputs import DemoInputs
    from residua.demo.run import DemoResult

__all__ = ["demo"]

_TEMPLATE_SET = "demo"
_OUTPUTS = ("difference_images", "logs", "butler", "visits", "templates", "tap_results")
_OUTPUT_FILES = ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm", "demo.png")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if match is None or min(int(g) for g in match.groups()) < 300:
        raise typer.BadParameter(f"{text!r} is not COLUMNSxROWS with at least 300 pixels a side")
    return int(match[2]), int(match[1])


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where everything goes; rewritten each time.")
    ] = Path("residua-demo"),
    seed: Annotated[int, typer.Option(help="Seed of the simulated sky.", min=0)] = 1,
    detector_size: Annotated[
        str, typer.Option(help="COLUMNSxROWS of a detector; LSSTCam's are 4072x4000.")
    ] = "1018x1000",
    visit_count: Annotated[
        int, typer.Option(help="Simulated visits; the last lies outside the templates.", min=2)
    ] = 4,
    visits: Annotated[
        list[str] | None,
        typer.Option(help="Own visit images instead: directory, file or pattern; repeatable."),
    ] = None,
    templates: Annotated[
        list[str] | None,
        typer.Option(help="Own template coadds: directory, file or pattern; repeatable."),
    ] = None,
    band: Annotated[
        str | None, typer.Option(help="Band of own files whose headers name none.")
    ] = None,
    zero_point: Annotated[
        float | None, typer.Option(help="AB zero point of own files that state none.")
    ] = None,
    visit_from: VisitFrom = None,
    detector_from: DetectorFrom = None,
    instruments: Instruments = None,
    json_output: Annotated[
        str | None, typer.Option("--json", help="Write the summary as JSON to FILE, or - .")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Give up after so many seconds.", min=10)] = 1800.0,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Then serve the page, SIA, TAP, DataLink and cutouts."),
    ] = False,
    port: Annotated[int, typer.Option(help="Port to serve on.", min=0, max=65535)] = 8080,
) -> None:
    """Run a small survey through the real services and show what comes out.

    Starts a Kafka broker inside this process, a subtraction worker, a catalog consumer and a
    Butler registrar;
    simulates visits, templates, transients, a visit outside the templates and a corrupt file
    (or takes your files with `--visits` and `--templates`); sends the visit arrivals; and ends
    with difference images, previews, ObsCore rows in SQLite, a Butler repository, and a table.

    The same arguments give the same files, byte for byte.

    Exit codes: 0 every arrival has its outcome; 1 something is missing; 2 wrong command line.
    """
    if bool(visits) != bool(templates):
        typer.echo("residua: give both --visits and --templates, or neither", err=True)
        raise typer.Exit(USAGE)
    start = time.monotonic()
    output = output.resolve()
    shape = _size(detector_size)
    with one_line_errors():
        _clear(output)
        if visits and templates:
            inputs = _own_files(visits, templates, band, visit_from, detector_from, instruments)
        else:
            inputs = _simulated(output, seed, shape, visit_count)
        result = _run(inputs, output, zero_point, timeout, instruments or ())
        _report(result, inputs, output, start, json_output)
        if serve:
            from residua.cli.site.serve import serve_directory

            roots = (*inputs.input_roots, *inputs.template_roots)
            serve_directory(output, port=port, roots=roots)


def _clear(output: Path) -> None:
    marker = output / "residua-demo.json"
    if output.exists() and any(output.iterdir()) and not marker.exists():
        typer.echo(
            f"residua: {output} is not empty and not from an earlier demo; give another --output",
            err=True,
        )
        raise typer.Exit(USAGE)
    output.mkdir(parents=True, exist_ok=True)
    marker.write_text("{}\n", encoding="utf-8")
    for name in _OUTPUTS:
        shutil.rmtree(output / name, ignore_errors=True)
    for name in _OUTPUT_FILES:
        (output / name).unlink(missing_ok=True)


def _own_files(
    visits: list[str],
    templates: list[str],
    band: str | None,
    visit_from: str | None,
    detector_from: str | None,
    instruments: list[Path] | None,
) -> "DemoInputs":
    from residua.demo.inputs import user_inputs

    return user_inputs(
        visits,
        templates,
        template_set=_TEMPLATE_SET,
        band=band,
        visit_from=visit_from,
        detector_from=detector_from,
        instruments=registry_of(instruments),
    )


def _simulated(output: Path, seed: int, shape: tuple[int, int], visit_count: int) -> "DemoInputs":
    from residua.demo.inputs import simulated_inputs

    with STDERR.status("simulating the sky") as status:
        return simulated_inputs(
            output,
            seed=seed,
            detector_shape=shape,
            visits=visit_count,
            detectors=2,
            template_set=_TEMPLATE_SET,
            progress=status.update,
        )


def _run(
    inputs: "DemoInputs",
    output: Path,
    zero_point: float | None,
    timeout: float,
    instruments: Sequence[Path],
) -> "DemoResult":
    from residua.demo.local import LocalSystem
    from residua.demo.run import run_demo

    system = LocalSystem(
        output,
        input_roots=inputs.input_roots,
        template_roots=inputs.template_roots,
        template_set=_TEMPLATE_SET,
        zero_point=zero_point,
        instrument_directories=instruments,
    )
    with _progress(len(inputs.arrivals)) as (bar, task), system:
        return run_demo(inputs, system, timeout=timeout, on_outcome=lambda _: bar.advance(task))


@contextmanager
def _progress(total: int) -> Iterator[tuple[Progress, TaskID]]:
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=STDERR, transient=True) as bar:
        yield bar, bar.add_task("difference images", total=total)


def _report(
    result: "DemoResult",
    inputs: "DemoInputs",
    output: Path,
    start: float,
    json_output: str | None,
) -> None:
    from residua.demo.picture import draw_contact_sheet
    from residua.demo.report import judge, outcome_table, summarise

    with STDERR.status("measuring"):
        measurements = judge(result, inputs.truth)
        picture = draw_contact_sheet(result, output / "demo.png")
    summary = summarise(result, measurements, output, time.monotonic() - start)
    summary["picture"] = str(picture) if picture else None
    text = json.dumps(summary, indent=2)
    (output / "residua-demo.json").write_text(text + "\n", encoding="utf-8")
    if json_output == "-":
        typer.echo(text)
    else:
        if json_output:
            Path(json_output).write_text(text + "\n", encoding="utf-8")
        OUT.print(outcome_table(result, measurements))
        _print_places(summary)
    if summary["created"] != summary["rows"] or summary["created"] != summary["files"]:
        typer.echo("residua: created outcomes, rows and files differ in number", err=True)
        raise typer.Exit(FAILED)


def _print_places(summary: dict[str, object]) -> None:
    from residua.butler.repository import opening_lines

    counts = "{arrivals} arrivals: {created} created, {skipped} skipped, {failed} failed, "
    counts += "{dead_letters} dead letters; {rows} ObsCore rows, {files} files; {seconds} s"
    OUT.print(counts.format(**summary), markup=False)
    if summary["transients_injected"] is not None:
        line = "{transients_recovered} of {transients_injected} transients with S/N > 7 found, "
        line += "{false_positives} false; pull {pull_rms:.3f}, matched-filter S "
        line += "{matched_filter_sn_std:.3f}, lag-1 {lag1_autocorrelation:+.4f}"
        OUT.print(line.format(**summary), markup=False)
    output = summary["output_dir"]
    OUT.print(f"images and previews  {output}/difference_images", markup=False, soft_wrap=True)
    OUT.print(f"picture              {summary['picture']}", markup=False, soft_wrap=True)
    OUT.print(f"catalog (ObsCore)    {summary['catalog']}", markup=False, soft_wrap=True)
    OUT.print(f"Butler repository    {summary['butler_repo']}", markup=False, soft_wrap=True)
    OUT.print(f"outcome log          {summary['outcome_log']}", markup=False, soft_wrap=True)
    OUT.print(f"summary              {output}/residua-demo.json", markup=False, soft_wrap=True)
    OUT.print("Open it in Python:", markup=False)
    for line in opening_lines(str(summary["butler_repo"])).splitlines():
        OUT.print(f"  {line}", markup=False, soft_wrap=True)
