"""`residua subtract`: the whole chain on files; no Kafka, no catalog."""

import csv
import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from residua.cli.console import OUT, STDERR, one_line_errors
from residua.cli.images.assumptions import say_contents, say_headers
from residua.cli.images.file_options import (
    AS_THE_FILE_SAYS,
    FileOptions,
    companions,
    plain_path,
    with_file_options,
)
from residua.cli.startup import load_lsst_images_alone
from residua.ports import StoredDifferenceImage
from residua.subtraction.detections import Detection, detection_columns, pixel_flags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from residua.instruments import InstrumentRegistry
    from residua.subtraction.images import DifferenceImage
    from residua_schemas import ImageReading, TemplateCoadd, VisitArrival

__all__ = ["subtract_command", "write_detections"]


@with_file_options
def subtract_command(
    science: Annotated[Path, typer.Argument(help="Visit image (FITS).", show_default=False)],
    templates: Annotated[
        list[Path],
        typer.Argument(help="Template coadds or patches (FITS).", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The difference image to write (FITS).")
    ],
    detections: Annotated[
        Path | None, typer.Option(help="Write the list of detections to this CSV file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the quality record as JSON on stdout.")
    ] = False,
    convolve: Annotated[
        Literal["auto", "template", "science"],
        typer.Option(help="Which image to convolve; auto takes the sharper one."),
    ] = "auto",
    threshold: Annotated[float, typer.Option(help="S/N of the listed detections.", min=3.0)] = 5.0,
    background_order: Annotated[
        int,
        typer.Option(
            help="Order of the polynomial that follows the difference of the two skies: 0 to 6; "
            "higher ones follow moonlight and gradients.",
            min=0,
            max=6,
        ),
    ] = 1,
    zero_point: Annotated[
        float | None,
        typer.Option(help="AB zero point of files that state none; brings them to nJy."),
    ] = None,
    band: Annotated[
        str | None,
        typer.Option(help="Band of all files, whatever their headers say of the filter."),
    ] = None,
    options: FileOptions = AS_THE_FILE_SAYS,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Lossless instead of RICE compression.")
    ] = False,
    unlimited: Annotated[
        bool,
        typer.Option("--no-limits", help="Write the image even when its quality is out of limits."),
    ] = False,
    threads: Annotated[int, typer.Option(help="Threads; never changes a bit.", min=1)] = 2,
) -> None:
    """Subtract TEMPLATES from SCIENCE and write the difference image.

    Reads lsst.images files, DP1-style IMAGE/MASK/VARIANCE files, and plain FITS with a
    celestial WCS. Writes an `lsst.images` DifferenceImage (IMAGE, MASK, VARIANCE readable by
    anything) and, beside it, a preview PNG: science | matched template | difference.

    Example: `residua subtract visit.fits coadd.fits -o difference.fits --detections new.csv`

    Exit codes: 0 done; 1 the input cannot be used or the result must not be trusted; 2 wrong
    command line; 3 the templates do not cover the image.
    """
    with one_line_errors():
        reading = options.reading(science)
        template_readings = [options.beside_another().reading(t) for t in templates]
        difference, stored = _run(
            science,
            templates,
            output,
            convolve,
            threshold,
            background_order,
            zero_point,
            lossless,
            unlimited,
            threads,
            band,
            reading,
            template_readings,
            options.registry(),
        )
        if detections is not None:
            write_detections(detections, difference.detections)
    summary = _summary(difference, stored, detections)
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    else:
        OUT.print(_table(summary))


def _run(
    science: Path,
    templates: list[Path],
    output: Path,
    convolve: Literal["auto", "template", "science"],
    threshold: float,
    background_order: int,
    zero_point: float | None,
    lossless: bool,
    unlimited: bool,
    threads: int,
    band: str | None = None,
    reading: "ImageReading | None" = None,
    template_readings: "Sequence[ImageReading | None]" = (),
    instruments: "InstrumentRegistry | None" = None,
) -> "tuple[DifferenceImage, StoredDifferenceImage]":
    from importlib.metadata import version

    load_lsst_images_alone()

    from residua.identity import Run
    from residua.processing import (
        ProcessingContext,
        make_difference_image,
        refuse_other_filters,
    )
    from residua.storage.describe import HowToRead, describe_template, describe_visit_image
    from residua.storage.read.metadata import UNKNOWN_BAND
    from residua.storage.store import ImageFileStore
    from residua.subtraction.config import NO_LIMITS, QualityLimits, SubtractionConfig

    config = SubtractionConfig(
        convolve=convolve,
        detection_threshold=threshold,
        background_order=background_order,
        limits=NO_LIMITS if unlimited else QualityLimits(),
    )
    store = ImageFileStore(
        input_roots=_folders([science], [reading]),
        template_roots=_folders(templates, template_readings),
        output_root=str(output.resolve().parent),
        zero_point=zero_point,
        lossless=lossless,
        threads=threads,
        instruments=instruments,
        on_read=say_contents,
    )
    readings = list(template_readings) or [None] * len(templates)
    context = ProcessingContext(Run(config, "files", version("residua")), threads=threads)
    files = [str(f.resolve()) for f in (science, *templates)]
    ways: list[HowToRead] = [
        {"instruments": instruments, "zero_point": zero_point, "band": band, "reading": r}
        for r in (reading, *readings)
    ]
    opened = say_headers(list(zip(files, ways, strict=True)))
    with STDERR.status("subtracting"):
        arrival = describe_visit_image(files[0], opened=opened.get(files[0]), **ways[0])
        patches = [
            describe_template(
                files[n],
                template_set="files",
                default_band=UNKNOWN_BAND,
                patch=n - 1,
                opened=opened.get(files[n]),
                **ways[n],
            )
            for n in range(1, len(files))
        ]
        # Each file is read once: the store takes over what the headers were read from.
        store.take_over(
            {str(o.location.geturl()): (o.content, o.checksum) for o in opened.values()}
        )
        opened.clear()
        arrival, patches = _in_one_band(arrival, patches)
        refuse_other_filters(arrival, patches)
        visit_image = store.read_visit_image(arrival)
        made = make_difference_image(
            arrival, visit_image, patches, store, context, name=output.name
        )
    return made.difference, made.stored


def _folders(files: "Sequence[Path]", readings: "Sequence[ImageReading | None]") -> list[str]:
    """Return the directories of images and of the files beside them."""
    beside = [path for reading in readings for path in companions(reading).values()]
    return sorted({str(plain_path(f).resolve().parent) for f in (*files, *beside)})


def _in_one_band(
    arrival: "VisitArrival", templates: "list[TemplateCoadd]"
) -> "tuple[VisitArrival, list[TemplateCoadd]]":
    """Give files that name no band the band of the others."""
    from residua.storage.read.metadata import UNKNOWN_BAND

    named = [b for b in (arrival.band, *(t.band for t in templates)) if b != UNKNOWN_BAND]
    if not named:
        return arrival, templates
    if arrival.band == UNKNOWN_BAND:
        arrival = arrival.model_copy(update={"band": named[0]})
    return arrival, [
        t.model_copy(update={"band": arrival.band}) if t.band == UNKNOWN_BAND else t
        for t in templates
    ]


def write_detections(path: Path, detections: tuple[Detection, ...]) -> None:
    """Write detections as CSV: position (0-based pixels; ICRS degrees), sign, S/N, flux, error.

    All further measurements follow under their names in Rubin's ``DiaSource``; what was not
    measured is empty.
    """
    first = ("x", "y", "ra", "dec", "signal_to_noise", "flux", "flux_error")
    further = tuple(c for c in detection_columns() if c.field not in first)
    flags = tuple(pixel_flags(Detection(*(0.0,) * 7)))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [*first[:4], "sign", *first[4:], *(c.rubin for c in further), *flags]
        writer.writerow(names)
        for d in detections:
            row = [_text(name, getattr(d, name)) for name in (*first, *(c.field for c in further))]
            row.insert(4, "1" if d.signal_to_noise > 0 else "-1")
            writer.writerow([*row, *(int(v) for v in pixel_flags(d).values())])


def _text(field: str, value: float | bool) -> str:
    if isinstance(value, bool | int):
        return str(int(value))
    if not math.isfinite(value):
        return ""
    if field in {"ra", "dec", "trail_ra", "trail_dec"}:
        return f"{value:.7f}"
    return f"{value:.3f}" if field in {"x", "y"} else f"{value:.6g}"


def _summary(
    difference: "DifferenceImage", stored: StoredDifferenceImage, detections: Path | None
) -> dict[str, object]:
    record = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in dataclasses.asdict(difference.quality).items()
    }
    return {
        "output": stored.uri,
        "preview": stored.preview_uri,
        "checksum": stored.checksum,
        "unit": difference.unit,
        "convolved": difference.convolved,
        "detections": str(detections) if detections else None,
        "quality": record,
    }


def _table(summary: dict[str, object]) -> Table:
    table = Table(title="Difference image", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right", overflow="fold")
    quality = summary["quality"]
    assert isinstance(quality, dict)
    flags = ", ".join(f"{f['name']} {f['value']:.3g}" for f in quality["flags"]) or "none"
    rows = {name: value for name, value in summary.items() if name != "quality"} | quality
    rows["flags"] = flags
    for name, value in rows.items():
        if value is None:
            continue
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        table.add_row(name.replace("_", " "), text)
    return table
