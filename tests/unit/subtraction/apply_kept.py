"""Apply kept bytes to inputs, in a process of its own: apply_kept.py KEPT INPUTS OUT."""

import sys
from pathlib import Path

import numpy as np

from residua.storage.forms.solution_file import read_solution
from residua.subtraction import ScienceImage, TemplateImage
from residua.subtraction.steps.apply import apply

kept, inputs, out = (Path(a) for a in sys.argv[1:])
solution = read_solution(kept.read_bytes())
with np.load(inputs) as planes:

    def image(k):
        return [planes[f"{k}.{name}"] for name in ("image", "variance", "mask")]

    science = ScienceImage(*image(0), wcs=None)
    templates = [TemplateImage(*image(k + 1), wcs=None) for k in range(len(solution.templates))]
    made = apply(solution, science, templates, threads=1)
np.savez(out, **{n: getattr(made, n) for n in ("image", "variance", "mask", "matched_template")})
