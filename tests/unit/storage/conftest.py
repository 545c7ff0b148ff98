"""Small images, built by hand, that storage tests write and read."""

import shutil
import subprocess
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS

from residua.instruments import InstrumentRegistry
from residua.ports import Observation, Provenance, VisitImage
from residua.storage.forms.wcs import footprint, pixel_scale
from residua.storage.read.file_contents import ReadOptions
from residua.storage.read.readers import read_image
from residua.subtraction.detections import Detection
from residua.subtraction.images import (
    DifferenceImage,
    MatchingKernel,
    PsfModel,
    ScienceImage,
    SpatialPolynomial,
)
from residua.subtraction.masks import MaskBit
from residua.subtraction.quality import QualityRecord
from residua_schemas import ImageReference, TemplateReference, Weather

SHAPE = (150, 180)


@pytest.fixture
def wcs() -> WCS:
    w = WCS(naxis=2)
    w.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    w.wcs.crval = [150.1, 2.2]
    w.wcs.crpix = [SHAPE[1] / 2, SHAPE[0] / 2]
    w.wcs.cd = np.array([[-1.0, 0.1], [0.1, 1.0]]) * 0.2 / 3600
    return w


@pytest.fixture
def tpv_wcs() -> WCS:
    """A TPV projection whose distortion amounts to arcseconds."""
    w = WCS(naxis=2)
    w.wcs.ctype = ["RA---TPV", "DEC--TPV"]
    w.wcs.crval = [316.8, -65.9]
    w.wcs.crpix = [-600.0, -7000.0]
    w.wcs.cd = np.array([[0.0, 7.3e-5], [-7.3e-5, 0.0]])
    w.wcs.set_pv([(1, 1, 1.01), (1, 4, -0.0077), (1, 6, -0.0016), (2, 1, 1.006), (2, 7, -0.0063)])
    return w


@pytest.fixture
def psf() -> PsfModel:
    y, x = np.mgrid[-10:11, -10:11]
    narrow, wide = (np.exp(-(x**2 + y**2) / (2 * s**2)) for s in (1.9, 2.2))
    narrow, wide = narrow / narrow.sum(), wide / wide.sum()
    coefficients = np.zeros((6, 21, 21))
    coefficients[0] = narrow
    coefficients[2] = 0.2 * (wide - narrow)
    coefficients[4] = 0.1 * (wide - narrow)
    return PsfModel(coefficients, SpatialPolynomial(SHAPE, 2))


@pytest.fixture
def science(wcs: WCS, psf: PsfModel) -> ScienceImage:
    rng = np.random.default_rng(7)
    image = rng.normal(0.0, 17.0, SHAPE).astype(np.float32)
    variance = rng.normal(289.0, 1.0, SHAPE).astype(np.float32)
    mask = np.zeros(SHAPE, np.int32)
    mask[rng.random(SHAPE) < 0.02] |= MaskBit.DETECTED
    mask[40:43, 50:60] |= MaskBit.SATURATED | MaskBit.INTERPOLATED
    image[:20, :30] = np.nan
    variance[:20, :30] = np.nan
    mask[:20, :30] |= MaskBit.NO_DATA
    return ScienceImage(image, variance, mask, wcs, psf)


@pytest.fixture
def observation() -> Observation:
    return Observation(
        instrument="LSSTComCam",
        visit=2024112200123,
        detector=4,
        day_obs=20241122,
        band="r",
        physical_filter="r_03",
        facility_name="Rubin:Simonyi",
        target_name="COSMOS",
        begin_tai=datetime.fromisoformat("2024-11-23T05:00:00"),
        end_tai=datetime.fromisoformat("2024-11-23T05:00:30"),
        exposure_time=30.0,
        airmass=1.2,
        weather=Weather(temperature=10.5, pressure=74000.0, relative_humidity=20.0),
        boresight=(150.0, 2.0),
        rotation_angle=30.0,
        photometric_scaling=57.5,
        native_unit="electron",
        em_min=551e-9,
        em_max=689.1e-9,
    )


@pytest.fixture
def visit_image(science: ScienceImage, observation: Observation) -> VisitImage:
    return VisitImage(
        image=science,
        observation=observation,
        reference=ImageReference(uri="/data/visit.fits", checksum=f"sha256:{'0' * 64}"),
        region=footprint(science.wcs, SHAPE),
        pixel_scale=pixel_scale(science.wcs, SHAPE),
    )


@pytest.fixture
def difference(science: ScienceImage, psf: PsfModel) -> DifferenceImage:
    rng = np.random.default_rng(8)
    polynomial = SpatialPolynomial(SHAPE, 2)
    kernel = MatchingKernel(
        basis=rng.normal(size=(5, 17, 17)),
        coefficients=rng.normal(size=(5, 6)),
        polynomial=polynomial,
        background=np.zeros(3),
        background_polynomial=SpatialPolynomial(SHAPE, 1),
    )
    quality = QualityRecord(
        coverage=0.97,
        kernel_stars=40,
        kernel_stars_rejected=2,
        kernel_half_width=8,
        kernel_basis_functions=5,
        kernel_spatial_order=2,
        kernel_sum=1.01,
        kernel_sum_variation=0.01,
        kernel_chi2=1.05,
        kernel_chi2_p90_ratio=1.3,
        science_fwhm=4.5,
        template_fwhm=4.0,
        template_to_science_noise=0.1,
        pull_rms=1.0,
        matched_filter_sn_std=1.0,
        lag1_autocorrelation=0.001,
        bright_pull_ratio=float("nan"),
        star_detection_fraction=0.0,
        masked_fraction=0.03,
        detections_positive=1,
        detections_negative=1,
    )
    return DifferenceImage(
        image=science.image,
        variance=science.variance,
        mask=science.mask | np.int32(MaskBit.HIGH_VARIANCE),
        wcs=science.wcs,
        psf=psf,
        science_psf=psf,
        unit="nJy",
        kernel=kernel,
        convolved="template",
        matched_template=science.image * np.float32(0.5),
        detections=(
            Detection(60.0, 80.0, 150.1, 2.2, 12.0, 100.0, 8.0),
            Detection(120.0, 30.0, 150.1, 2.2, -9.0, -80.0, 9.0),
        ),
        quality=quality,
    )


@pytest.fixture
def provenance(visit_image: VisitImage) -> Provenance:
    return Provenance(
        dataset_id=str(uuid.UUID(int=1)),
        run="residua/0/dp1/3f2a9c51d0be",
        obs_publisher_did="ivo://org.residua/difference-images?id=1",
        visit_image=visit_image.reference,
        templates=[
            TemplateReference(
                uri="/templates/t.fits",
                checksum=f"sha256:{'1' * 64}",
                dataset_id=uuid.UUID(int=2),
                skymap="lsst_cells_v1",
                tract=9813,
                patch=42,
            )
        ],
        template_set="dp1",
        configuration_hash="ab" * 32,
        software={"residua": "0.1.0", "numpy": "2"},
    )


@pytest.fixture(scope="session")
def instruments() -> InstrumentRegistry:
    return InstrumentRegistry()


@pytest.fixture
def fitsverify() -> Callable[[Path], str]:
    """Run fitsverify; returns what it has to say beyond OK (nothing, one hopes)."""
    program = shutil.which("fitsverify")
    if program is None:
        pytest.skip("fitsverify is not installed")

    def run(path: Path) -> str:
        done = subprocess.run([program, "-q", str(path)], capture_output=True, check=False)
        text = done.stdout.decode(errors="replace")
        return "" if text.startswith("verification OK") else text

    return run


@pytest.fixture
def read(instruments):
    def read(path, **options):
        return read_image(path.read_bytes(), str(path), instruments, ReadOptions(**options))

    return read
