"""`residua serve`: SIA, TAP, DataLink and cutouts over an earlier run."""

from pathlib import Path
from typing import Annotated

import typer

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
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8080,
) -> None:
    """Serve an earlier run's catalog and images until Ctrl-C.

    Point pyvo, TOPCAT or Aladin at the addresses that are printed.

    Example: `residua serve --catalog residua-demo --port 8080`
    """
    with one_line_errors():
        serve_directory(catalog, host=host, port=port)


def serve_directory(directory: Path, *, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve the catalog and the images in a directory.

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
    for endpoint in _ENDPOINTS:
        OUT.print(f"http://{host}:{port}{endpoint}", markup=False)
    OUT.print("Ctrl-C stops the service.")
    serve_access(
        AccessSettings(
            catalog_url=f"sqlite:///{path}",
            image_roots=(str(path.parent),),
            host=host,
            port=port,
            log_json=False,
            log_level="WARNING",
        )
    )
