"""`python -m residua.probe URL`: exit 0 when the address answers 200, for health checks.

For container engines without HTTP probes; it needs nothing but the standard library.
"""

import sys
import urllib.error
import urllib.request

__all__ = ["main"]

_SECONDS = 5.0


def main(arguments: list[str] | None = None) -> int:
    """Ask once, print what was answered, and return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1 or not given[0].startswith("http://"):
        print("usage: python -m residua.probe http://HOST:PORT/live", file=sys.stderr)  # noqa: T201
        return 2
    try:
        with urllib.request.urlopen(given[0], timeout=_SECONDS) as answer:  # noqa: S310 http, above
            text = answer.read(1000).decode(errors="replace").strip()
    except urllib.error.HTTPError as e:
        print(e.read(1000).decode(errors="replace").strip(), file=sys.stderr)  # noqa: T201
        return 1
    except OSError as e:
        print(f"{given[0]}: {e}", file=sys.stderr)  # noqa: T201 for a person
        return 1
    print(text)  # noqa: T201 for a person
    return 0


if __name__ == "__main__":
    sys.exit(main())
