"""What the commands share: the consoles, one-line errors, exit codes."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console

from residua.errors import FilterMismatchError, NoTemplateError, ResiduaError, TransientError
from residua.subtraction.errors import InsufficientCoverageError

__all__ = ["FAILED", "NOTHING_TO_DO", "OUT", "STDERR", "USAGE", "followed", "one_line_errors"]

OUT = Console(highlight=False)
STDERR = Console(stderr=True, highlight=False)

FAILED = 1
"""Exit code: the input cannot be used, or the result must not be trusted."""
USAGE = 2
"""Exit code: the command line is wrong (typer's own)."""
NOTHING_TO_DO = 3
"""Exit code: legitimately nothing to do, such as no overlap of visit and template."""


def followed[T](
    found: Iterable[T], total: int, doing: str, keep: Callable[[T], bool] = lambda _: True
) -> list[T]:
    """Take what comes, one by one, behind a progress bar where somebody looks at the terminal.

    Returns what is to be kept of it: there may be millions.
    """
    # Here, so that commands without a bar start faster.
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=STDERR,
        disable=not STDERR.is_terminal,
    )
    with bar:
        return [one for one in bar.track(found, total=total, description=doing) if keep(one)]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn our errors into one line on stderr and an exit code, without a traceback."""
    try:
        yield
    except FilterMismatchError as e:
        _complain(e, e.message)
        raise typer.Exit(FAILED) from e
    except (InsufficientCoverageError, NoTemplateError) as e:
        _complain(e, e.message)
        raise typer.Exit(NOTHING_TO_DO) from e
    except ResiduaError as e:
        _complain(e, e.message)
        raise typer.Exit(FAILED) from e
    except (TransientError, OSError) as e:
        _complain(e, str(e))
        raise typer.Exit(FAILED) from e
    except ValidationError as e:
        for problem in e.errors():
            where = ".".join(map(str, problem["loc"]))
            _complain(e, f"{where}: {problem['msg']}" if where else problem["msg"])
        raise typer.Exit(USAGE) from e
    except Exception as e:
        _complain(e, _of_a_component(e))
        raise typer.Exit(FAILED) from e


def _of_a_component(error: Exception) -> str:
    """Return the words of an error of Kafka's client or of the database; raise any other."""
    # Neither is imported for this: commands without them start faster.
    module = type(error).__module__
    if module == "aiokafka.errors":
        # It begins with its own name, as our line does.
        return str(error).removeprefix(f"{type(error).__name__}: ")
    if module in {"sqlalchemy.exc", "alembic.util.exc"}:
        from residua.obscore.opening import in_one_line

        return in_one_line(error)
    raise error


def _complain(error: Exception, message: str) -> None:
    # Plain print: a message may hold brackets that rich would take for markup.
    text = " ".join(message.split())
    STDERR.print(f"residua: {type(error).__name__}: {text}", markup=False, soft_wrap=True)
