"""Errors that cross the borders between packages: each says who should act, with numbers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, override

if TYPE_CHECKING:
    # The core raises these errors too, and needs no contracts.
    from residua_schemas import Responsible

__all__ = [
    "ChecksumMismatchError",
    "CorruptFileError",
    "FilterMismatchError",
    "InternalError",
    "MalformedEventError",
    "MissingFileError",
    "NoTemplateError",
    "NoWcsError",
    "ResiduaError",
    "ResourceExhaustedError",
    "SharedIdentityError",
    "SubtractionTimeoutError",
    "SupersededArrivalError",
    "TransientError",
    "UnknownInstrumentError",
    "UnknownUnitError",
    "UnreadableRecordError",
    "UnsupportedVersionError",
    "UnusableImageError",
    "UriNotAllowedError",
    "WorkerCrashError",
    "blaming",
]


class ResiduaError(Exception):
    """Something is wrong with one event, file or image: the root of all that is no outage.

    A service makes an outcome or a dead letter of it, a command one line.

    Parameters
    ----------
    message
        One sentence: what is wrong, where, and the remedy.
    numbers
        Measured values and limits, by name.

    Attributes
    ----------
    responsible
        Who can mend it: of an error about a file, whoever that input belongs to (`blaming`).
    """

    responsible: "Responsible" = "residua"

    def __init__(self, message: str, **numbers: float) -> None:
        super().__init__(message)
        self.message = message
        self.numbers: Mapping[str, float] = dict(numbers)

    @override
    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from the pool child to the worker; the default would drop `numbers`.
        return _rebuild, (type(self), self.message, dict(self.numbers), self.responsible)


def _rebuild(
    error_type: type[ResiduaError],
    message: str,
    numbers: dict[str, float],
    responsible: "Responsible",
) -> ResiduaError:
    error = error_type(message, **numbers)
    error.responsible = responsible
    return error


@contextmanager
def blaming(responsible: "Responsible", what: str, remedy: str) -> Iterator[None]:
    """Give whatever goes wrong with an input to whom the input belongs.

    Which input failed decides, not how: a file can be missing, truncated or without a WCS
    whoever wrote it.

    Parameters
    ----------
    what
        What was being read; begins the message.
    remedy
        What that party is to do; ends the message.
    """
    try:
        yield
    except ResiduaError as e:
        if not isinstance(e, UnknownInstrumentError):
            e.responsible = responsible
        e.message = f"{what}: {e.message}; {remedy}"
        e.args = (e.message,)
        raise


class MalformedEventError(ResiduaError):
    """The record is not JSON, or not what the contract asks for."""

    responsible = "producer"


class UnreadableRecordError(ResiduaError):
    """The Kafka client cannot decode the record, also when it is fetched again."""

    responsible = "operator"


class UnsupportedVersionError(ResiduaError):
    """The event's schema version is one this release does not know."""

    responsible = "producer"


class UriNotAllowedError(ResiduaError):
    """The URI lies outside the configured roots."""

    responsible = "producer"


class MissingFileError(ResiduaError):
    """The URI names no file."""

    responsible = "producer"


class CorruptFileError(ResiduaError):
    """The file cannot be read as what it should be."""

    responsible = "producer"


class ChecksumMismatchError(ResiduaError):
    """The file's bytes are not those the event announced."""

    responsible = "producer"


class NoWcsError(ResiduaError):
    """The image has no celestial WCS."""

    responsible = "producer"


class UnusableImageError(ResiduaError):
    """The planes cannot be used: no finite pixel, no variance to be had, missing metadata."""

    responsible = "producer"


class NoTemplateError(ResiduaError):
    """No template coadd overlaps the visit image: legitimately nothing to do."""

    responsible = "operator"


class FilterMismatchError(NoTemplateError):
    """All templates that overlap the visit image were taken through another filter."""


class UnknownUnitError(ResiduaError):
    """The pixels' unit is not understood, or cannot become what was asked for."""

    responsible = "producer"


class UnknownInstrumentError(ResiduaError):
    """The instrument has no description here."""

    responsible = "operator"


class SharedIdentityError(ResiduaError):
    """Different files would be taken for one image."""

    responsible = "operator"


class ResourceExhaustedError(ResiduaError):
    """Memory ran out where it should not have."""

    responsible = "residua"


class SupersededArrivalError(ResiduaError):
    """An image that is in force outranks this arrival; it was not subtracted."""

    responsible = "producer"


class SubtractionTimeoutError(ResiduaError):
    """The subtraction took longer than its limit, also when tried again."""

    responsible = "operator"


class WorkerCrashError(ResiduaError):
    """The process that did the subtraction died, also when tried again."""

    responsible = "residua"


class InternalError(ResiduaError):
    """An exception nobody foresaw: a defect here."""

    responsible = "residua"


class TransientError(Exception):
    """A component (object store, broker, database) does not answer: try again later.

    Never an outcome: the service retries with growing pauses, then exits without
    acknowledging, and the next start takes the message up again.
    """
