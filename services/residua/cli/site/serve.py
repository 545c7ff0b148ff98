"""`residua serve`: the page, SIA, TAP, DataLink and cutouts over an earlier run."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from residua.cli.catalog_place import moved_roots_of
from residua.cli.console import OUT, one_line_errors
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
    bootstrap: Annotated[
        str | None,
        typer.Option(
            help="Kafka of the workers (`residua up` prints it) that make whole images again "
            "which are not stored; by default they are made here."
        ),
    ] = None,
    open_access: Annotated[
        bool,
        typer.Option(
            "--open", help="Let anybody in who can reach an address that is not loopback."
        ),
    ] = False,
) -> None:
    """Serve an earlier run's catalog and images until Ctrl-C.

    Open the last address in a browser: tonight, each image with blink, detections and quality.
    Point pyvo, TOPCAT or Aladin at the addresses that are printed.

    The directory may have been moved or copied since: files are found beside their catalog.

    Exit codes: 1 no catalog, or the port is taken; 2 the settings are wrong.

    Example: `residua serve --catalog residua-demo --port 8080`
    """
    with one_line_errors():
        serve_directory(
            catalog,
            host=host,
            port=port,
            roots=root or (),
            bootstrap=bootstrap,
            open_access=open_access,
        )


def serve_directory(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    roots: Sequence[str] = (),
    bootstrap: str | None = None,
    open_access: bool = False,
) -> None:
    """Serve the catalog and the images in a directory.

    Parameters
    ----------
    roots
        Where inputs lie that are delivered too: visit images and templates.
    bootstrap
        Kafka of the workers that make whole images again; by default they are made here.
    open_access
        Whether anybody may come in who can reach an address that is not loopback; otherwise
        the environment says (``RESIDUA_OPEN_ACCESS``, ``RESIDUA_JWKS_URL``).

    Raises
    ------
    residua.errors.MissingFileError
        There is no catalog.
    residua.access.main.ListenError
        The port cannot be had.
    pydantic.ValidationError
        The address is not loopback, and nothing says who may come in.
    """
    from residua.access.main import listen
    from residua.access.main import serve as serve_access
    from residua.access.settings import AccessSettings

    path = directory if directory.suffix == ".sqlite" else directory / "catalog.sqlite"
    path = path.resolve()
    if not path.exists():
        raise MissingFileError(f"no catalog at {path}; run `residua demo` or give --catalog DIR")
    writable = os.access(path.parent, os.W_OK)
    # Not given otherwise, so that the environment may say so too.
    choices: dict[str, Any] = {"open_access": True} if open_access else {}
    if bootstrap is not None:
        choices |= {"kafka_bootstrap": bootstrap, "recreate_by": "workers"}
    settings = AccessSettings(
        catalog_url=f"sqlite:///{path}",
        results_directory=path.parent / "tap_results" if writable else None,
        image_roots=tuple(dict.fromkeys((str(path.parent), *roots))),
        moved_roots=moved_roots_of(path),
        host=host,
        port=port,
        log_json=False,
        log_level="WARNING",
        metrics_port=0,
        **choices,
    )
    # Taken before an address is promised.
    with listen(host, port) as listener:
        found = listener.getsockname()[1]
        for endpoint in _ENDPOINTS:
            OUT.print(f"http://{host}:{found}{endpoint}", markup=False)
        OUT.print(
            f"Open in a browser: [bold]http://{host}:{found}/[/bold]   (Ctrl-C stops the service)",
            soft_wrap=True,
        )
        serve_access(settings, listener)
