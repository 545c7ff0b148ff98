"""A solution is put to the images it was made of, in number, size and values, and to no others."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.wcs import WCS

from residua.subtraction import StaleSolutionError, UnknownArithmeticError
from residua.subtraction.images import ScienceImage, TemplateImage
from residua.subtraction.steps.input_checks import check_arithmetic, check_inputs, check_sizes
from residua.subtraction.steps.solution import ARITHMETIC, InputUse, fingerprint


def image(kind, level, shape=(20, 30), **named):
    planes = np.full(shape, level, np.float32), np.ones(shape, np.float32)
    return kind(*planes, np.zeros(shape, np.int32), WCS(naxis=2), **named)


SCIENCE = image(ScienceImage, 1.0)
TEMPLATES = [image(TemplateImage, 2.0, name="a"), image(TemplateImage, 3.0, (25, 25), name="b")]


def use(of):
    return InputUse(of.image.shape, fingerprint(of), None)


SOLUTION = SimpleNamespace(
    arithmetic=ARITHMETIC,
    science=use(SCIENCE),
    templates=[SimpleNamespace(name=t.name, input=use(t)) for t in TEMPLATES],
)


def test_the_same_images_pass():
    check_arithmetic(SOLUTION)
    check_sizes(SOLUTION, SCIENCE, TEMPLATES)
    check_inputs(SOLUTION, SCIENCE, TEMPLATES)


def test_another_number_or_size_is_refused():
    with pytest.raises(StaleSolutionError, match="2 template patches, not 1"):
        check_sizes(SOLUTION, SCIENCE, TEMPLATES[:1])
    with pytest.raises(StaleSolutionError, match=r"template a has the shape \(25, 25\)"):
        check_sizes(SOLUTION, SCIENCE, TEMPLATES[::-1])


def test_another_calibration_is_refused():
    pixels = TEMPLATES[1].image.copy()
    pixels *= 1.001
    other = [TEMPLATES[0], replace(TEMPLATES[1], image=pixels)]
    check_sizes(SOLUTION, SCIENCE, other)
    with pytest.raises(StaleSolutionError, match="template b is not the one of the solution"):
        check_inputs(SOLUTION, SCIENCE, other)


def test_another_arithmetic_is_refused():
    with pytest.raises(UnknownArithmeticError):
        check_arithmetic(SimpleNamespace(arithmetic=ARITHMETIC + 1))
