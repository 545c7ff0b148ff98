"""Why an image cannot be made again: each says who should act."""

from collections.abc import Sequence
from typing import override

from residua.errors import ResiduaError
from residua.recreation.differences import Difference

__all__ = [
    "ChangedInputError",
    "IncompatibleVersionError",
    "LostInputError",
    "RecreationDiffersError",
    "UnknownConfigurationError",
    "UnknownImageError",
]


class UnknownImageError(ResiduaError):
    """There is no outcome that says how this image was made."""

    responsible = "operator"


class ChangedInputError(ResiduaError):
    """An input has other bytes than the image was made of."""

    responsible = "operator"


class LostInputError(ResiduaError):
    """An input is gone: the image cannot come back."""

    responsible = "operator"


class IncompatibleVersionError(ResiduaError):
    """Another major version made the image; this one does not promise its bytes."""

    responsible = "operator"


class UnknownConfigurationError(ResiduaError):
    """The run's configuration cannot be had as it was."""

    responsible = "operator"


class RecreationDiffersError(ResiduaError):
    """The image came out with other bytes than were announced; it is not handed on.

    Parameters
    ----------
    message
        What differs, in words.
    differences
        Field by field.
    """

    responsible = "operator"

    def __init__(
        self, message: str, differences: Sequence[Difference] = (), **numbers: float
    ) -> None:
        super().__init__(message, **numbers)
        self.differences = tuple(differences)

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.differences)
