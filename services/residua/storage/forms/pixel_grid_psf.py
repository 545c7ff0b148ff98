"""Our PSF in an archive: a Piff pixel grid, written and read without Piff.

Piff and what it imports take longer to load than a detector to write. What is stored is what Piff
would store, so that ``lsst.images`` and Piff read it.
"""

from importlib.metadata import version
from typing import Any, override

import lsst.images  # noqa: F401 the package before its modules
import numpy as np
import numpy.typing as npt
from astropy.io import fits
from lsst.images import Box
from lsst.images.psfs import PiffSerializationModel, PiffWrapper

from residua.subtraction.images import PsfModel, SpatialPolynomial

__all__ = ["PixelGridPsf", "compact", "pixel_grid_model"]

_STEP = 2.0**-26
"""To this the coefficients of a stored PSF are rounded: 1e-7 of a peak."""

_SMALLEST_HALF = 5
_LANCZOS = (
    "galsim.Lanczos(7, True, gsparams=galsim.GSParams(128,8192,0.005,5.0,0.001,1e-05,1e-05,1,"
    "0.0001,1e-06,1e-06,1e-08,1e-05))"
)


def compact(model: PsfModel) -> PsfModel:
    """Return a model as it is stored: rounded, and cut where nothing is left.

    Parameters
    ----------
    model
        float64 (n_terms, size, size).
    """
    rounded = np.rint(model.coefficients / _STEP) * _STEP
    half = model.size // 2
    where = np.nonzero(rounded.any(axis=0))
    reach = max((int(np.abs(axis - half).max()) for axis in where if axis.size), default=0)
    keep = min(half, max(reach, _SMALLEST_HALF))
    cut = np.s_[:, half - keep : half + keep + 1, half - keep : half + keep + 1]
    return PsfModel(np.ascontiguousarray(rounded[cut]), model.polynomial)


class PixelGridPsf(PiffWrapper):
    """A model as a Piff ``PixelGrid`` whose solution is set, not fitted.

    Lanczos interpolation at whole pixels is the identity, and Chebyshev terms are rewritten as
    powers of the pixel coordinates. Piff is imported when something is drawn.

    Parameters
    ----------
    model
        The PSF; single precision in files.
    """

    def __init__(self, model: PsfModel) -> None:
        ny, nx = model.polynomial.shape
        self._model = model
        self._bounds = Box.factory[0:ny, 0:nx]
        self._stamp_size = model.size

    def __getattr__(self, name: str) -> Any:
        if name != "_impl":
            raise AttributeError(name)
        self._impl = self._drawn_by_piff()
        return self._impl

    def _drawn_by_piff(self) -> Any:
        import galsim
        import piff

        grid = piff.PixelGrid(scale=1.0, size=self._model.size, interp="Lanczos(7)", centered=False)
        order = self._model.polynomial.order
        interpolation = piff.BasisPolynomial(order=order, keys=("u", "v"))
        interpolation.q = _powers_of(self._model)
        psf = piff.SimplePSF(grid, interpolation)
        psf.wcs = {0: galsim.PixelScale(1.0)}
        psf.pointing = None
        psf.stars = []
        return psf

    @override
    def serialize(self, archive: Any) -> PiffSerializationModel:
        size, order = self._model.size, self._model.polynomial.order
        solution = _powers_of(self._model)
        table = np.zeros(1, [("q", np.float32, solution.shape)])
        table["q"] = solution
        stored: Any = {}

        # Arrays of an archive are named by the way to them.
        def write(part: Any, *way: str) -> None:
            if way:
                part.serialize_direct(way[0], lambda inner: write(inner, *way[1:]))
            else:
                stored["table"] = part.add_structured_array(table, name="solution")

        write(archive, "piff", "interp")
        return PiffSerializationModel.model_validate(
            {
                "piff": _description(size, order, stored["table"].model_dump()),
                "stars": [],
                "stamp_size": size,
                "bounds": self._bounds.serialize(),
            }
        )


def _description(size: int, order: int, table: Any) -> dict[str, Any]:
    # As Piff writes its structures.
    whole = {
        "model": 0,
        "interp": 0,
        "outliers": 0,
        "chisq_thresh": 0.1,
        "min_iter": 2,
        "max_iter": 30,
        "type": "Simple",
        "piff_version": version("piff"),
    }
    fit = {"chisq": 0.0, "last_delta_chisq": 0.0, "dof": 0, "nremoved": 0, "niter": 0}
    model = {
        "scale": 1.0,
        "size": size,
        "centered": False,
        "interp": _LANCZOS,
        "init": None,
        "fit_flux": False,
        "type": "PixelGrid",
    }
    interpolation = {
        "order": order,
        "max_order": None,
        "keys": ["u", "v"],
        "solver": "scipy",
        "type": "BasisPolynomial",
    }
    parts = {"model": {}, "interp": {"tables": {"solution": {"metadata": {}, "table": table}}}}
    inner = {
        "structs": {"chisq": fit, "model": model, "interp": interpolation},
        "wcs": {"wcs": {"scale": 1.0, "wcs_type": "pixel_scale"}},
        "objects": parts,
    }
    return {"structs": {"piff": whole}, "objects": {"piff": inner}}


def pixel_grid_model(tree: Any, hdus: fits.HDUList, bbox: Any) -> PsfModel | None:
    """Return the model of an archive's PSF if it is a pixel grid such as `PixelGridPsf` writes.

    Parameters
    ----------
    tree
        The PSF's part of the archive's tree.
    hdus
        The file.
    bbox
        Bounding box of the image in the PSF's pixel coordinates.
    """
    try:
        inner = tree.piff.objects["piff"]
        structs, scale = inner.structs, inner.wcs["wcs"].scale
        grid, interpolation = structs["model"], structs["interp"]
        table = inner.objects["interp"].tables["solution"].table
        name = str(table.columns[0].data.source).removeprefix("fits:").partition("[")[0]
        size, order = int(grid["size"]), int(interpolation["order"])
        if (
            (grid["type"], grid["scale"], grid["centered"], scale) != ("PixelGrid", 1.0, False, 1.0)
            or not str(grid["interp"]).startswith("galsim.Lanczos(7, True")
            or interpolation["type"] != "BasisPolynomial"
            or list(interpolation["keys"]) != ["u", "v"]
            or interpolation["max_order"] not in {None, order}
            or size % 2 == 0
            or tree.stamp_size != size
        ):
            return None
    except (AttributeError, KeyError, TypeError):
        return None
    solution = np.asarray(hdus[name].data["q"][0], np.float64)
    powers = _powers(order)
    if solution.shape != (size * size, len(powers)):
        return None
    y0, x0 = bbox.start
    polynomial = SpatialPolynomial((int(bbox.shape[0]), int(bbox.shape[1])), order)
    in_x = _power_in_chebyshev(polynomial.shape[1], order, float(x0))
    in_y = _power_in_chebyshev(polynomial.shape[0], order, float(y0))
    coefficients = np.zeros((len(powers), size, size))
    for term, (degree_y, degree_x) in enumerate(polynomial.exponents):
        for column, (power_x, power_y) in enumerate(powers):
            weight = in_x[power_x, degree_x] * in_y[power_y, degree_y]
            coefficients[term] += weight * solution[:, column].reshape(size, size)
    return PsfModel(coefficients, polynomial)


def _powers(order: int) -> list[tuple[int, int]]:
    return [(i, n) for i in range(order + 1) for n in range(order + 1 - i)]


def _powers_of(model: PsfModel) -> npt.NDArray[np.float64]:
    ny, nx = model.polynomial.shape
    order, size = model.polynomial.order, model.size
    powers = _powers(order)
    solution = np.zeros((size * size, len(powers)))
    t_x, t_y = _chebyshev_powers(nx, order), _chebyshev_powers(ny, order)
    pixels = model.coefficients.reshape(-1, size * size)
    for term, (degree_y, degree_x) in enumerate(model.polynomial.exponents):
        for column, (power_x, power_y) in enumerate(powers):
            weight = t_x[degree_x, power_x] * t_y[degree_y, power_y]
            solution[:, column] += weight * pixels[term]
    return solution


def _chebyshev_powers(n: int, order: int) -> npt.NDArray[np.float64]:
    # Row d: T_d((2 x + 1) / n - 1) as coefficients of the powers of x.
    result = np.zeros((order + 1, order + 1))
    scaled = np.polynomial.Polynomial([1.0 / n - 1.0, 2.0 / n])
    for d in range(order + 1):
        in_scaled = np.polynomial.chebyshev.cheb2poly([0.0] * d + [1.0])
        powers = np.polynomial.Polynomial(in_scaled)(scaled).coef
        result[d, : len(powers)] = powers
    return result


def _power_in_chebyshev(n: int, order: int, start: float) -> npt.NDArray[np.float64]:
    # Row p: (start + x)^p as coefficients of T_d((2 x + 1) / n - 1).
    result = np.zeros((order + 1, order + 1))
    place = np.polynomial.Polynomial([start + 0.5 * n - 0.5, 0.5 * n])
    for p in range(order + 1):
        in_chebyshev = np.polynomial.chebyshev.poly2cheb((place**p).coef)
        result[p, : len(in_chebyshev)] = in_chebyshev
    return result
