"""`residua serve`: the page, SIA, TAP, DataLink and cutouts over an earlier run."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from residua.cli.console import OUT, one_line_errors
from residua.cli.recreation_options import moved_roots_of
from residua.errors import MissingFileError

__all__ = ["serve", "serve_directory"]

_ENDPOINTS = ("/sia", "/tap", "/datalink", "/cutout")


def serve(
    catalog: Annotated[
        Path,
        typer.Option(
            "--catalog", "-c", help="Directory of a demo or `residua up`, or its catalog.sqlite."
        ),
    ] = Path("residua-demo"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 for any free one.", min=0, max=65535)
    ] = 8080,
    root: Annotated[
        list[str] | None,
        typer.Option(help="Further directory files are delivered from; repeatable."),
    ] = None,
) -> None:
    """Serve an earlier run's catalog and images until Ctrl-C.

    Open the first address in a browser: tonight, each image with blink, detections and quality.
    Point pyvo, TOPCAT or Aladin at the addresses that are printed.

    Example: `residua serve --catalog residua-demo --port 8080`
    """
    with one_line_errors():
        serve_directory(catalog, host=host, port=port, roots=root or ())


def serve_directory(
    directory: Path, *, host: str = "127.0.0.1", port: int = 8080, roots: Sequence[str] = ()
) -> None:
    """Serve the catalog and the images in a directory.

    Parameters
    ----------
    roots
        Where inputs lie that are delivered too: visit images and templates.

    Raises
    ------
    residua.errors.MissingFileError
        There is no catalog.
    """
    from residua.access.main import serve as serve_access
    from residua.access.settings import AccessSettings

    path = directory if directory.suffix == ".sqlite" else directory / "catalog.sqlite"
    path = path.resolve()
    if not path.exists():
        raise MissingFileError(f"no catalog at {path}; run `residua demo` or give --catalog DIR")
    writable = os.access(path.parent, os.W_OK)
    port = port or _free_port(host)
    for endpoint in _ENDPOINTS:
        OUT.print(f"http://{host}:{port}{endpoint}", markup=False)
    OUT.print(f"Open in a browser: [bold]http://{host}:{port}/[/bold]   (Ctrl-C stops the service)")
    serve_access(
        AccessSettings(
            catalog_url=f"sqlite:///{path}",
            results_directory=path.parent / "tap_results" if writable else None,
            image_roots=tuple(dict.fromkeys((str(path.parent), *roots))),
            moved_roots=moved_roots_of(path),
            host=host,
            port=port,
            log_json=False,
            log_level="WARNING",
            metrics_port=0,
        )
    )


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        return int(listener.getsockname()[1])
