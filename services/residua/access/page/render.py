"""Templates to answers: one environment, the words numbers are written in, the headers."""

import math
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from residua import __version__
from residua.access.work.context import public_url

__all__ = ["base_path", "fragment", "page", "wants_page"]

_HEADERS = {
    # The page loads nothing from elsewhere. Styles: the viewer and the plots place their own parts.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # What is not public for one is not kept for another.
    "Cache-Control": "private, no-cache",
    "Vary": "Accept, Authorization, Cookie",
}


def page(request: Request, template: str, **values: Any) -> HTMLResponse:
    """Answer with a whole page."""
    return HTMLResponse(fragment(request, template, **values), headers=_HEADERS)


def fragment(request: Request, template: str, **values: Any) -> str:
    """Fill a template in."""
    base = base_path(request)
    found = _environment().get_template(template)
    path = request.url.path
    return found.render(base=base, version=__version__, here=path, **values)


def base_path(request: Request) -> str:
    """Path before the page's own, without a slash at the end: behind a proxy, or under /api."""
    return urlsplit(public_url(request)).path.rstrip("/")


def wants_page(request: Request) -> bool:
    """Whether HTML was asked for by name, as browsers do and clients of services do not."""
    accepted = request.headers.get("accept", "").lower()
    return any(word.strip().startswith("text/html") for word in accepted.split(","))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("residua.access.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_number,
        whole=_whole,
        duration=_duration,
        clock=_clock,
        bytes=_size,
        flags=_flags,
        sexagesimal=_sexagesimal,
        query=_query,
    )
    return environment


def _number(value: object, digits: int = 3) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits}g}"
    return f"{value:.{digits}f}"


def _whole(value: object) -> str:
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else "–"


def _duration(seconds: object) -> str:
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return "–"
    if abs(seconds) < 120.0:
        return f"{seconds:.1f} s"
    for unit, length in (("min", 60.0), ("h", 3600.0), ("d", 86400.0)):
        if abs(seconds) < 120.0 * length or unit == "d":
            return f"{seconds / length:.1f} {unit}"
    raise AssertionError


def _clock(milliseconds: object) -> str:
    if not isinstance(milliseconds, int) or milliseconds <= 0:
        return "–"
    return datetime.fromtimestamp(milliseconds / 1000.0, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _size(value: object) -> str:
    if not isinstance(value, int):
        return "–"
    size = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000.0 or unit == "GB":
            return f"{size:.3g} {unit}"
        size /= 1000.0
    raise AssertionError


def _flags(text: object) -> list[str]:
    return [word for word in str(text or "").split("/") if word]


def _sexagesimal(degrees: float, kind: str) -> str:
    value = (degrees % 360.0) / 15.0 if kind == "ra" else abs(degrees)
    digits = 2 if kind == "ra" else 1
    seconds = round(value * 3600.0, digits)
    whole, rest = divmod(seconds, 60.0)
    hours, minutes = divmod(int(whole), 60)
    sign = "" if kind == "ra" else "-" if degrees < 0.0 else "+"
    width = digits + 3
    return f"{sign}{hours:02d}:{minutes:02d}:{rest:0{width}.{digits}f}"


def _query(values: dict[str, Any], **changes: Any) -> str:
    """Write filters as the query of an address; ``None`` takes one away."""
    return urlencode({k: v for k, v in {**values, **changes}.items() if v not in {None, ""}})
