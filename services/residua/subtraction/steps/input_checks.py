"""Whether inputs are those of a solution, and its arithmetic that of this version."""

from collections.abc import Sequence

from residua.subtraction.errors import StaleSolutionError, UnknownArithmeticError
from residua.subtraction.images import ScienceImage, TemplateImage
from residua.subtraction.steps.region import PlaneSource, shape_of
from residua.subtraction.steps.solution import ARITHMETIC, InputUse, Solution, fingerprint

__all__ = ["check_arithmetic", "check_inputs", "check_sizes"]


def check_inputs(
    solution: Solution, science: ScienceImage, templates: Sequence[TemplateImage]
) -> None:
    """Raise unless the inputs are those of the solution, by a sample of their rows.

    Raises
    ------
    StaleSolutionError
        If they are not.
    """
    check_sizes(solution, science, templates)
    images: list[ScienceImage | TemplateImage] = [science, *templates]
    for image, (name, use) in zip(images, _known(solution), strict=True):
        if fingerprint(image) != use.fingerprint:
            raise StaleSolutionError(
                f"{name} is not the one of the solution: its pixels have changed, or it is read "
                "with another calibration; put the old file back, or subtract anew",
            )


def _known(solution: Solution) -> list[tuple[str, InputUse]]:
    templates = [(f"template {t.name}", t.input) for t in solution.templates]
    return [("the science image", solution.science), *templates]


def check_sizes(
    solution: Solution,
    science: ScienceImage | PlaneSource,
    templates: Sequence[TemplateImage | PlaneSource],
) -> None:
    """Raise unless number and sizes of the inputs are those of the solution.

    Raises
    ------
    StaleSolutionError
        If they are not.
    """
    if len(templates) != len(solution.templates):
        raise StaleSolutionError(
            f"the solution was made from {len(solution.templates)} template patches, not "
            f"{len(templates)}: give those that its outcome names",
            templates=len(templates),
        )
    for image, (name, use) in zip([science, *templates], _known(solution), strict=True):
        size = shape_of(image)
        if size != use.shape:
            raise StaleSolutionError(
                f"{name} has the shape {size}, the one of the solution {use.shape}: give the file "
                "that its outcome names",
            )


def check_arithmetic(solution: Solution) -> None:
    """Raise unless this version has the solution's pixel passes.

    Raises
    ------
    UnknownArithmeticError
        If it has not.
    """
    if solution.arithmetic != ARITHMETIC:
        raise UnknownArithmeticError(
            f"the solution belongs to pixel arithmetic {solution.arithmetic}, this version has "
            f"{ARITHMETIC}: use the version that made it, or subtract anew",
            arithmetic=solution.arithmetic,
            supported=ARITHMETIC,
        )
