"""What the demo works on: a simulated survey written to files, or the user's own files."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from glob import glob
from pathlib import Path

from residua.errors import MissingFileError
from residua.instruments import InstrumentRegistry
from residua.ports import Observation, facts_of
from residua.simulation.input_files import write_template, write_visit_image
from residua.simulation.sky import SimulatedExposure, SimulatedPair, simulate_survey
from residua.storage.describe import describe_template, describe_visit_image
from residua.storage.distinct import distinct_arrivals, distinct_templates
from residua_schemas import TemplateCoadd, VisitArrival, VisitDetector, Weather

__all__ = ["DemoInputs", "simulated_inputs", "user_inputs"]

_FITS = ("*.fits", "*.fits.gz", "*.fits.fz", "*.fit", "*.fts")


@dataclass(frozen=True)
class DemoInputs:
    """Arrivals to send, templates to register, and the truth where it is known.

    Parameters
    ----------
    arrivals, templates
        The events.
    input_roots, template_roots
        Directories the files are under.
    truth
        The simulation behind a visit-detector; empty for the user's own files.
    """

    arrivals: Sequence[VisitArrival]
    templates: Sequence[TemplateCoadd]
    input_roots: Sequence[str]
    template_roots: Sequence[str]
    truth: Mapping[VisitDetector, SimulatedPair] = field(default_factory=dict)


def simulated_inputs(
    directory: Path,
    *,
    seed: int,
    detector_shape: tuple[int, int],
    visits: int,
    detectors: int,
    template_set: str,
    progress: Callable[[str], None],
) -> DemoInputs:
    """Simulate a survey and write its files; the same arguments write the same bytes.

    The last visit lies outside the templates, and the file of one more visit-detector is cut
    short in the middle.

    Parameters
    ----------
    directory
        Where ``visits`` and ``templates`` are written, afresh.
    progress
        Called with a line before each file.
    """
    survey = simulate_survey(seed, detector_shape, visits, detectors)
    visit_directory, template_directory = directory / "visits", directory / "templates"
    for old in (visit_directory, template_directory):
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir(parents=True)

    templates = []
    for patch in survey.templates():
        path = template_directory / f"template_{patch.band}_{patch.tract}_{patch.patch}.fits"
        progress(f"writing {path.name}")
        write_template(
            path,
            patch.template,
            skymap=patch.skymap,
            tract=patch.tract,
            patch=patch.patch,
            band=patch.band,
        )
        templates.append(describe_template(str(path), template_set=template_set))

    arrivals, truth = [], {}
    for exposure in survey.exposures():
        observation = _observation(exposure)
        path = visit_directory / f"visit_{observation.visit}_{observation.detector}.fits"
        progress(f"writing {path.name}")
        write_visit_image(path, exposure.science, observation)
        arrival = describe_visit_image(str(path))
        arrivals.append(arrival)
        if exposure.covered:
            truth[arrival.visit_detector] = exposure.pair
    arrivals.append(_corrupt_copy(arrivals[0], visit_directory, detectors))
    return DemoInputs(arrivals, templates, [str(visit_directory)], [str(template_directory)], truth)


def user_inputs(
    visits: Sequence[str],
    templates: Sequence[str],
    *,
    template_set: str,
    band: str | None,
    visit_from: str | None = None,
    detector_from: str | None = None,
    instruments: InstrumentRegistry | None = None,
) -> DemoInputs:
    """Describe the user's own files.

    Parameters
    ----------
    visits, templates
        Directories, files or glob patterns.
    band
        Band of files whose headers name none.
    visit_from, detector_from
        Cards the visits' identities come from, where they shall not be found out.
    instruments
        Known instruments; default: the shipped ones.

    Raises
    ------
    residua.errors.SharedIdentityError
        Several files would be one.
    residua.errors.ResiduaError
        No file there, or one whose header cannot be read.
    """
    visit_files, template_files = _files(visits), _files(templates)
    arrivals = [
        describe_visit_image(
            str(path),
            band=band,
            visit_from=visit_from,
            detector_from=detector_from,
            instruments=instruments,
        )
        for path in visit_files
    ]
    coadds = [
        describe_template(
            str(path),
            template_set=template_set,
            band=band,
            patch=number,
            instruments=instruments,
        )
        for number, path in enumerate(template_files)
    ]
    distinct_arrivals(arrivals)
    distinct_templates(coadds)
    return DemoInputs(
        arrivals,
        coadds,
        sorted({str(path.parent) for path in visit_files}),
        sorted({str(path.parent) for path in template_files}),
    )


def _files(places: Sequence[str]) -> list[Path]:
    found: list[Path] = []
    for place in places:
        path = Path(place).expanduser()
        if path.is_dir():
            matches = sorted({p for pattern in _FITS for p in path.glob(pattern)})
        else:
            matches = [Path(p) for p in sorted(glob(str(path)))]  # noqa: PTH207 absolute patterns
        if not matches:
            raise MissingFileError(
                f"no FITS file at {place}; give a directory, a file or a pattern"
            )
        found.extend(match.resolve() for match in matches)
    return found


def _observation(exposure: SimulatedExposure) -> Observation:
    visit = exposure.metadata
    instrument = InstrumentRegistry().get(visit.instrument)
    spectral = instrument.find_filter(visit.physical_filter)
    assert spectral is not None
    return Observation(
        **facts_of(visit, (f.name for f in fields(visit))),
        detector=exposure.detector,
        facility_name=instrument.facility_name,
        weather=Weather(
            temperature=visit.temperature,
            pressure=visit.pressure,
            relative_humidity=visit.relative_humidity,
        ),
        boresight=(visit.boresight_ra, visit.boresight_dec),
        rotation_angle=visit.rotation,
        em_min=spectral.em_min if spectral else None,
        em_max=spectral.em_max if spectral else None,
    )


def _corrupt_copy(arrival: VisitArrival, directory: Path, detectors: int) -> VisitArrival:
    """Cut a visit image short and announce it as one more detector of the first visit."""
    visit_detector = VisitDetector(
        instrument=arrival.visit_detector.instrument,
        visit=arrival.visit_detector.visit,
        detector=detectors,
    )
    path = directory / f"visit_{visit_detector.visit}_{visit_detector.detector}.fits"
    whole = next(iter(sorted(directory.glob("visit_*.fits")))).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return arrival.model_copy(
        update={
            "visit_detector": visit_detector,
            "image_uri": str(path),
            "image_checksum": None,
        }
    )
