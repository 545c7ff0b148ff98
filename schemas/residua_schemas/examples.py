"""One whole example of each event, shown in the exports and checked by the tests."""

import base64
from datetime import UTC, datetime
from uuid import UUID

from residua_schemas.base import Event, SkyPolygon
from residua_schemas.dead_letter import DeadLetter, RecordHeader
from residua_schemas.difference_image import (
    DifferenceImageCreated,
    DifferenceImageFailed,
    DifferenceImageSkipped,
    ImageReference,
    TemplateReference,
)
from residua_schemas.heartbeat import Heartbeat
from residua_schemas.next_visit import NextVisit
from residua_schemas.night_summary import FailureCount, NightSummary
from residua_schemas.quality import KernelSummary, Quality
from residua_schemas.recreation import RecreationAnswer, RecreationRequest
from residua_schemas.template import TemplateCoadd
from residua_schemas.visit import VisitArrival, VisitDetector, VisitImageMetadata, Weather

__all__ = ["examples"]

_DATASET = UUID("0d5f4b8e-6f0e-5a63-9d1e-2f5a3b7c9e11")
_TEMPLATE = UUID("7c0f6e55-10b7-5e0f-8b0c-0a9d3c1f2e44")
_REQUEST = UUID("5c1e0a57-6a0e-4b8e-9a56-3d1f0c2b7a90")
_RUN = "residua/0/dp1/3f2a9c51d0be"
_CHECKSUM = "sha256:" + "0123456789abcdef" * 4
_REGION = SkyPolygon(
    vertices=((53.10, -28.22), (53.36, -28.22), (53.36, -28.00), (53.10, -28.00)),
)


def examples() -> dict[type[Event], Event]:
    """Return one valid instance of every event."""
    arrival = VisitArrival(
        visit_detector=VisitDetector(instrument="LSSTComCam", visit=2024110800253, detector=4),
        band="r",
        image_uri="s3://visits/20241108/visit_image_LSSTComCam_2024110800253_4.fits",
        image_checksum=_CHECKSUM,
        physical_filter="r_03",
        day_obs=20241108,
        begin_tai=datetime(2024, 11, 9, 5, 21, 34, 500000),  # noqa: DTZ001 TAI has no zone
        end_tai=datetime(2024, 11, 9, 5, 22, 4, 500000),  # noqa: DTZ001
        exposure_time=30.0,
        airmass=1.07,
        weather=Weather(temperature=11.5, pressure=74230.0, relative_humidity=21.0),
        target_name="ECDFS",
        region=_REGION,
    )
    outcome = {
        "dataset_id": _DATASET,
        "run": _RUN,
        "visit_detector": arrival.visit_detector,
        "arrival": arrival,
        "visit_image_metadata": VisitImageMetadata(
            uri=arrival.image_uri,
            checksum=_CHECKSUM,
            size_bytes=49_100_000,
            day_obs=20241108,
            band="r",
            physical_filter="r_03",
            facility_name="Rubin:Simonyi",
            target_name=arrival.target_name,
            begin_tai=arrival.begin_tai,
            end_tai=arrival.end_tai,
            exposure_time=30.0,
            em_min=551.0e-9,
            em_max=689.1e-9,
            unit="nJy",
            region=_REGION,
            shape=(4000, 4072),
            pixel_scale=0.2,
            psf_fwhm=0.88,
        ),
    }
    template = TemplateCoadd(
        dataset_id=_TEMPLATE,
        template_set="dp1",
        skymap="lsst_cells_v1",
        tract=5063,
        patch=34,
        band="r",
        uri="s3://templates/dp1/r/5063/34.fits",
        checksum=_CHECKSUM,
        size_bytes=61_440_000,
        region=_REGION,
        shape=(3400, 3400),
        pixel_scale=0.2,
        unit="nJy",
        psf_fwhm=0.82,
    )
    created = DifferenceImageCreated.model_validate(
        {
            **outcome,
            "uri": "s3://difference-images/difference_image_LSSTComCam_2024110800253_4.fits",
            "checksum": _CHECKSUM,
            "size_bytes": 29_400_000,
            "obs_publisher_did": f"ivo://org.residua/difference-images?id={_DATASET}",
            "day_obs": 20241108,
            "band": "r",
            "physical_filter": "r_03",
            "facility_name": "Rubin:Simonyi",
            "target_name": arrival.target_name,
            "begin_tai": arrival.begin_tai,
            "end_tai": arrival.end_tai,
            "exposure_time": 30.0,
            "airmass": 1.07,
            "weather": arrival.weather,
            "em_min": 551.0e-9,
            "em_max": 689.1e-9,
            "unit": "nJy",
            "region": _REGION,
            "shape": (4000, 4072),
            "pixel_scale": 0.2,
            "psf_fwhm": 0.91,
            "visit_image": ImageReference(uri=arrival.image_uri, checksum=_CHECKSUM),
            "templates": (
                TemplateReference(
                    uri=template.uri,
                    checksum=template.checksum,
                    dataset_id=template.dataset_id,
                    skymap=template.skymap,
                    tract=template.tract,
                    patch=template.patch,
                ),
            ),
            "template_set": "dp1",
            "configuration": {"convolve": "auto", "detection_threshold": 5.0},
            "configuration_hash": "3f2a9c51d0be" + "0" * 52,
            "software": {"residua": "0.1.0", "numpy": "2.5.5"},
            "kernel": KernelSummary(
                convolved="template",
                half_width=15,
                basis_functions=28,
                spatial_order=2,
                sum=0.998,
                sum_variation=0.004,
                stars=140,
                stars_rejected=6,
                chi2=1.02,
            ),
            "quality": Quality(
                coverage=0.997,
                masked_fraction=0.021,
                matched_filter_sn_std=1.003,
                detections_positive=21,
                detections_negative=9,
            ),
        }
    )
    skipped = DifferenceImageSkipped.model_validate(
        {
            **outcome,
            "reason": "insufficient_coverage",
            "message": "templates cover 4.1 % of the detector, 10 % are needed",
            "numbers": {"coverage": 0.041, "minimum_coverage": 0.1},
        }
    )
    failed = DifferenceImageFailed.model_validate(
        {
            **outcome,
            "error": "InsufficientKernelStarsError",
            "responsible": "producer",
            "message": "2 usable stars for the kernel, 3 are needed",
            "numbers": {"kernel_stars": 2.0, "minimum_kernel_stars": 3.0},
        }
    )
    dead_letter = DeadLetter(
        error="MalformedEventError",
        responsible="producer",
        message="the record is not JSON: expected value at line 1 column 1; send it again as JSON",
        service="worker",
        topic="visit-arrivals",
        partition=3,
        offset=1207,
        key=base64.b64encode(b"LSSTComCam/2024110800253/4"),
        value=base64.b64encode(b"not json"),
        headers=(RecordHeader(name="ce_specversion", value=base64.b64encode(b"1.0")),),
    )
    next_visit = NextVisit(
        instrument=arrival.visit_detector.instrument,
        visit=arrival.visit_detector.visit,
        detectors=(arrival.visit_detector.detector,),
        band=arrival.band,
        pointing=(53.23, -28.11),
        field=(0.226, 0.222),
        rotation_angle=12.5,
        day_obs=arrival.day_obs,
        begin_tai=arrival.begin_tai,
        exposure_time=arrival.exposure_time,
        physical_filter=arrival.physical_filter,
        target_name=arrival.target_name,
    )
    heartbeat = Heartbeat(
        service="worker",
        instance="residua-worker-0",
        version="0.1.0",
        run=_RUN,
        sent=datetime(2024, 11, 9, 5, 22, 10, tzinfo=UTC),
        started=datetime(2024, 11, 8, 22, 0, 0, tzinfo=UTC),
        interval=10.0,
        handled=1207,
        in_hand=arrival.visit_detector,
    )
    night = NightSummary(
        instrument=arrival.visit_detector.instrument,
        day_obs=20241108,
        run=_RUN,
        visits=340,
        planned=3060,
        exposed=3060,
        arrived=3051,
        created=2980,
        skipped=60,
        failed=11,
        public=0,
        failures=(FailureCount(error="CorruptFileError", responsible="producer", count=11),),
        latency_median=38.5,
        latency_p95=52.0,
        sky_noise_median=1.003,
        detections=91_400,
        closed=datetime(2024, 11, 9, 14, 0, 0, tzinfo=UTC),
    )
    request = RecreationRequest(
        request_id=_REQUEST,
        outcome=created,
        valid_until=datetime(2026, 11, 22, 12, 10, 0, tzinfo=UTC),
    )
    answer = RecreationAnswer(
        request_id=_REQUEST,
        dataset_id=_DATASET,
        state="failed",
        partition=4,
        offset=27,
        error="LostInputError",
        message="the visit image is not to be had: put the file back",
    )
    events = (
        arrival,
        template,
        created,
        skipped,
        failed,
        dead_letter,
        next_visit,
        heartbeat,
        night,
        request,
        answer,
    )
    return {type(e): e for e in events}
