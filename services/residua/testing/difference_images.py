"""Small difference images with their events, for tests of what comes after the subtraction."""

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.wcs import WCS

from residua.identity import dataset_id, publisher_did, template_dataset_id
from residua.instruments import InstrumentRegistry
from residua.ports import Observation, Provenance, VisitImage, facts_of
from residua.storage.forms.wcs import footprint, pixel_scale
from residua.storage.write.image_file import write_difference_image
from residua.subtraction.images import (
    DifferenceImage,
    MatchingKernel,
    PsfModel,
    ScienceImage,
    SpatialPolynomial,
)
from residua.subtraction.masks import MaskBit
from residua.subtraction.quality import QualityRecord
from residua_schemas import (
    DifferenceImageCreated,
    TemplateCoadd,
    TemplateReference,
    VisitDetector,
)
from residua_schemas.examples import examples

__all__ = ["difference_image_event", "difference_image_pixels", "template_event", "write_file"]

_CREATED = examples()[DifferenceImageCreated]
_TEMPLATE = examples()[TemplateCoadd]
_FILTERS = {"LSSTComCam": {"g": "g_01", "r": "r_03", "i": "i_06"}}
_POSITION = (53.125, -27.740)
_SHAPE = (50, 60)


def difference_image_event(
    visit: int,
    detector: int,
    uri: str,
    *,
    band: str = "r",
    instrument: str = "LSSTComCam",
    position: tuple[float, float] = _POSITION,
    begin_tai: datetime | None = None,
    run: str = "residua/0/dp1/3f2a9c51d0be",
    revision: int = 0,
    shape: tuple[int, int] = _SHAPE,
) -> DifferenceImageCreated:
    """Event of a difference image of 30 s.

    Parameters
    ----------
    visit, detector
        Rubin's numbering: the first eight digits of ``visit`` are day_obs.
    uri
        Where its file is said to be.
    position
        (right ascension, declination) of its centre, ICRS, degrees.
    begin_tai
        Start; by default in the night of day_obs, a minute a visit.
    shape
        (ny, nx), pixels.
    """
    assert isinstance(_CREATED, DifferenceImageCreated)
    visit_detector = VisitDetector(instrument=instrument, visit=visit, detector=detector)
    day_obs = int(str(visit)[:8])
    if begin_tai is None:
        noon = datetime.strptime(str(day_obs), "%Y%m%d")  # noqa: DTZ007 TAI has no zone
        begin_tai = noon + timedelta(hours=25, minutes=int(str(visit)[8:] or 0))
    identity = dataset_id(run, visit_detector)
    wcs = _wcs(position, shape)
    changes = {
        "dataset_id": identity,
        "run": run,
        "visit_detector": visit_detector,
        "revision": revision,
        "arrival": _CREATED.arrival.model_copy(
            update={"visit_detector": visit_detector, "band": band, "revision": revision}
        ),
        "uri": uri,
        "obs_publisher_did": publisher_did("org.residua", identity),
        "day_obs": day_obs,
        "band": band,
        "physical_filter": _FILTERS.get(instrument, {}).get(band, f"{band}_sim"),
        "begin_tai": begin_tai,
        "end_tai": begin_tai + timedelta(seconds=30),
        "region": footprint(wcs, shape),
        "shape": shape,
        "pixel_scale": pixel_scale(wcs, shape),
    }
    return _CREATED.model_copy(update=changes)


def template_event(
    patch: int, uri: str, *, band: str = "r", tract: int = 5063, template_set: str = "dp1"
) -> TemplateCoadd:
    """Event of a template coadd around the same position."""
    assert isinstance(_TEMPLATE, TemplateCoadd)
    event = _TEMPLATE.model_copy(
        update={
            "patch": patch,
            "tract": tract,
            "band": band,
            "uri": uri,
            "template_set": template_set,
            "region": footprint(_wcs(_POSITION, (400, 400)), (400, 400)),
        }
    )
    return event.model_copy(update={"dataset_id": template_dataset_id(event.key)})


def difference_image_pixels(event: DifferenceImageCreated) -> DifferenceImage:
    """Difference image of an event: noise of sigma 10, one positive source, some masked pixels.

    The same event gives the same pixels.
    """
    ny, nx = event.shape
    seed = int.from_bytes(event.dataset_id.bytes[:4])
    noise = np.random.default_rng(seed).normal(0.0, 10.0, (ny, nx))
    psf = _gaussian_psf(event.shape)
    image = noise.astype(np.float32)
    half = psf.size // 2
    y, x = ny // 2, nx // 2
    image[y - half : y + half + 1, x - half : x + half + 1] += 2000.0 * psf.stamp(x, y)
    mask = np.zeros((ny, nx), np.int32)
    mask[y - 3 : y + 4, x - 3 : x + 4] |= np.int32(MaskBit.DETECTED)
    mask[:3] |= np.int32(MaskBit.DETECTION_EDGE)
    mask[10, 5:9] |= np.int32(MaskBit.COSMIC_RAY | MaskBit.INTERPOLATED)
    mask[12, 5:9] |= np.int32(MaskBit.SATURATED)
    basis = np.zeros((1, 3, 3))
    basis[0, 1, 1] = 1.0
    constant = SpatialPolynomial(event.shape, 0)
    return DifferenceImage(
        image=image,
        variance=np.full((ny, nx), 100.0, np.float32),
        mask=mask,
        wcs=_wcs(event.region.center, event.shape),
        psf=psf,
        science_psf=psf,
        unit=event.unit,
        kernel=MatchingKernel(basis, np.ones((1, 1)), constant, np.zeros(1), constant),
        convolved="template",
        matched_template=np.zeros((ny, nx), np.float32),
        detections=(),
        quality=_quality(psf),
    )


def write_file(path: Path, event: DifferenceImageCreated) -> DifferenceImageCreated:
    """Write the event's file; return the event with its place, checksum and size."""
    difference = difference_image_pixels(event)
    observation = Observation(
        **vars(event.visit_detector),
        **facts_of(event, DifferenceImageCreated.model_fields),
        boresight=event.region.center,
    )
    visit_image = VisitImage(
        ScienceImage(difference.image, difference.variance, difference.mask, difference.wcs),
        observation,
        event.visit_image,
        event.region,
        event.pixel_scale,
    )
    provenance = Provenance(
        dataset_id=str(event.dataset_id),
        run=event.run,
        obs_publisher_did=event.obs_publisher_did,
        visit_image=event.visit_image,
        templates=[TemplateReference.model_validate(t) for t in event.templates],
        template_set=event.template_set,
        configuration_hash=event.configuration_hash,
        software=event.software,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_difference_image(
        path, difference, visit_image, provenance, InstrumentRegistry().get(observation.instrument)
    )
    content = path.read_bytes()
    return event.model_copy(
        update={
            "uri": path.as_uri(),
            "checksum": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "size_bytes": len(content),
        }
    )


def _wcs(position: tuple[float, float], shape: tuple[int, int]) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = position
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    return wcs


def _gaussian_psf(shape: tuple[int, int]) -> PsfModel:
    y, x = np.mgrid[-12:13, -12:13]
    stamp = np.exp(-(x**2 + y**2) / (2 * 1.8**2))
    return PsfModel((stamp / stamp.sum())[None], SpatialPolynomial(shape, 0))


def _quality(psf: PsfModel) -> QualityRecord:
    return QualityRecord(
        coverage=1.0,
        kernel_stars=10,
        kernel_stars_rejected=0,
        kernel_half_width=1,
        kernel_basis_functions=1,
        kernel_spatial_order=0,
        kernel_sum=1.0,
        kernel_sum_variation=0.0,
        kernel_chi2=1.0,
        kernel_chi2_p90_ratio=1.5,
        science_fwhm=psf.fwhm(),
        template_fwhm=psf.fwhm(),
        template_to_science_noise=0.1,
        pull_rms=1.0,
        matched_filter_sn_std=1.0,
        lag1_autocorrelation=0.0,
        bright_pull_ratio=1.0,
        star_detection_fraction=0.0,
        masked_fraction=0.1,
        detections_positive=1,
        detections_negative=0,
    )
