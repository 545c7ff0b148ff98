"""Simulate a small survey: visits of several detectors over one sky, and a tract of templates."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from residua.simulation.sky.catalogue import (
    MINIMUM_SEPARATION,
    Catalogue,
    draw_catalogue,
    sky_frame,
)
from residua.simulation.sky.imaging.gaussians import draw
from residua.simulation.sky.imaging.profiles import PsfField
from residua.simulation.sky.imaging.projection import make_wcs, pixel_to_pixel, shift
from residua.simulation.sky.observe import draw_static, expose_science, expose_template
from residua.simulation.sky.pair import FLOOR, choose_transients, constant_sources
from residua.simulation.sky.scene import SceneConfig, scene
from residua.simulation.sky.transients import information, transient_fluxes
from residua.simulation.sky.truth import NoiseFree, SimulatedPair, Transient
from residua.simulation.sky.visits import VisitMetadata, plan_visits
from residua.subtraction.images import ScienceImage, TemplateImage

__all__ = [
    "SimulatedExposure",
    "SimulatedPatch",
    "SimulatedSurvey",
    "simulate_survey",
]

type Array = npt.NDArray[np.float64]
type Plane = npt.NDArray[np.float32]

DETECTOR_GAP = 60
"""Pixels between neighbouring detectors."""
MARGIN = 40
"""Pixels by which the templates reach beyond the visits."""


@dataclass(frozen=True)
class SimulatedExposure:
    """One detector of one visit.

    Parameters
    ----------
    metadata
        The visit.
    detector
        Detector number.
    pair
        The visit image and what is true about it; without templates, which the detectors share.
    covered
        Whether templates exist there.
    """

    metadata: VisitMetadata
    detector: int
    pair: SimulatedPair
    covered: bool

    @property
    def science(self) -> ScienceImage:
        """The visit image."""
        return self.pair.science

    @property
    def transients(self) -> tuple[Transient, ...]:
        """What its difference image should show; empty outside the templates."""
        return self.pair.transients


@dataclass(frozen=True)
class SimulatedPatch:
    """One patch of the template coadd.

    Parameters
    ----------
    skymap, tract, patch, band
        As in Butler; patches are numbered by rows.
    template
        The image.
    """

    skymap: str
    tract: int
    patch: int
    band: str
    template: TemplateImage


@dataclass(frozen=True)
class SimulatedSurvey:
    """A survey whose images are made when asked for, always the same; see `simulate_survey`.

    Parameters
    ----------
    seed
        What everything follows from.
    config
        Scene of one detector.
    visits
        All visits, in order; the last one lies outside the templates.
    detectors
        Number of detectors in each.
    """

    seed: int
    config: SceneConfig
    visits: tuple[VisitMetadata, ...]
    detectors: int

    @property
    def _tract(self) -> WCS:
        # The tangent point lies off the field, as that of a tract does.
        c = self.config
        return make_wcs(
            c.ra + 0.12,
            c.dec - 0.08,
            centre=(0.0, 0.0),
            pixel_scale=c.pixel_scale,
            rotation=c.template_rotation,
        )

    def _detector_wcs(self, visit: VisitMetadata, detector: int) -> WCS:
        ny, nx = self.config.shape
        middle = (self.detectors * nx + (self.detectors - 1) * DETECTOR_GAP - 1) / 2.0
        focal_plane = make_wcs(
            visit.boresight_ra,
            visit.boresight_dec,
            centre=(middle, (ny - 1) / 2.0),
            pixel_scale=self.config.pixel_scale,
            rotation=visit.rotation,
        )
        return shift(focal_plane, detector * (nx + DETECTOR_GAP), 0)

    @cached_property
    def _grid(self) -> tuple[WCS, tuple[int, int]]:
        """WCS and shape of the tract's part under all visits but the last."""
        ny, nx = self.config.shape
        corners = np.array([[0, 0], [0, ny], [nx, 0], [nx, ny]], np.float64) - 0.5
        spans = [
            np.stack(
                pixel_to_pixel(self._detector_wcs(v, d), self._tract, corners[:, 0], corners[:, 1])
            )
            for v in self.visits[:-1]
            for d in range(self.detectors)
        ]
        low = np.floor(np.min(spans, axis=(0, 2))).astype(int) - MARGIN
        high = np.ceil(np.max(spans, axis=(0, 2))).astype(int) + MARGIN
        x0, y0 = (int(v) for v in low)
        return shift(self._tract, x0, y0), (int(high[1]) - y0, int(high[0]) - x0)

    @cached_property
    def _catalogue(self) -> Catalogue:
        wcs, (ny, nx) = self._grid
        middle = wcs.pixel_to_world_values((nx - 1) / 2.0, (ny - 1) / 2.0)
        frame = sky_frame(float(middle[0]), float(middle[1]), self.config.pixel_scale)
        half_side = 0.5 * float(np.hypot(ny, nx)) + 100.0
        return draw_catalogue(self.config, np.random.default_rng([self.seed, 0]), frame, half_side)

    @cached_property
    def _vanished(self) -> tuple[Array, Array, Array]:
        """Sources of the template that no visit shows: tract x, y and flux."""
        _, (ny, nx) = self._grid
        rng = np.random.default_rng([self.seed, 1])
        detectors = ny * nx / (self.config.shape[0] * self.config.shape[1])
        mean = self.config.negative_fraction * self.config.transients * self.config.area
        n = round(mean * detectors)
        side = np.sqrt(ny * nx / max(n, 1))
        # On a jittered lattice they never come near each other.
        cells = np.argwhere(np.ones((int(ny // side), int(nx // side)), bool))
        y, x = ((cells + rng.uniform(0.2, 0.8, cells.shape)) * side).T
        low, high = np.log(self.config.transient_sn_range)
        # 115 nJy is about the error of a point source's flux in these images.
        return x, y, 115.0 * np.exp(rng.uniform(low, high, len(x)))

    @cached_property
    def _template(self) -> tuple[Plane, PsfField]:
        """Noise-free template without the vanished sources, and its PSF."""
        wcs, (ny, nx) = self._grid
        psf = self._template_psf
        return draw_static(self._catalogue, wcs, (ny, nx), psf, self._floor), psf

    @property
    def _template_psf(self) -> PsfField:
        c = self.config
        _, (ny, nx) = self._grid
        return PsfField(c.template_psf, c.pixel_scale, ((nx - 1) / 2.0, (ny - 1) / 2.0))

    @property
    def _floor(self) -> float:
        return FLOOR * self.config.sky_noise / float(np.sqrt(self.config.template_visits))

    def templates(self) -> Iterator[SimulatedPatch]:
        """Yield the patches of the template coadd."""
        wcs, shape = self._grid
        static, psf = self._template
        plane = static.copy()
        x, y, flux = self._vanished
        draw(plane, psf, x, y, flux, floor=self._floor)
        side = max(self.config.shape)
        tiles = (-(-shape[0] // side), -(-shape[1] // side))
        config = replace(self.config, patches=tiles)
        rng = np.random.default_rng([self.seed, 2])
        patches, _ = expose_template(config, rng, plane, wcs, psf)
        for number, template in enumerate(patches):
            named = replace(template, name=f"tract 1, patch {number}")
            yield SimulatedPatch("simulated", 1, number, self.visits[0].band, named)

    def exposures(self) -> Iterator[SimulatedExposure]:
        """Yield all detectors of all visits, in order."""
        for index in range(len(self.visits)):
            for detector in range(self.detectors):
                yield self.exposure(index, detector)

    def exposure(self, index: int, detector: int) -> SimulatedExposure:
        """Simulate one detector of the visit at an index of `visits`."""
        c, visit = self.config, self.visits[index]
        wcs = self._detector_wcs(visit, detector)
        centre = ((c.shape[1] - 1) / 2.0, (c.shape[0] - 1) / 2.0)
        rng = np.random.default_rng([self.seed, 3, index, detector])
        seeing = 0.05 * float(np.random.default_rng([self.seed, 4, index]).standard_normal())
        psf_config = replace(c.science_psf, fwhm=c.science_psf.fwhm * float(np.exp(seeing)))
        psf = PsfField(psf_config, c.pixel_scale, centre)
        covered = index < len(self.visits) - 1
        if covered:
            catalogue = self._catalogue
            static = draw_static(catalogue, wcs, c.shape, psf, self._floor)
            plane, transients = self._add_transients(static, wcs, psf, rng)
        else:
            ra, dec = (float(v) for v in wcs.pixel_to_world_values(*centre))
            frame = sky_frame(ra, dec, c.pixel_scale)
            catalogue = draw_catalogue(c, rng, frame, 0.75 * float(np.hypot(*c.shape)))
            static = draw_static(catalogue, wcs, c.shape, psf, self._floor)
            plane, transients = static, ()
        stars, galaxies = constant_sources(catalogue, wcs, c.shape)
        pair = SimulatedPair(
            config=c,
            seed=self.seed,
            science=expose_science(c, rng, plane, wcs, psf),
            templates=(),
            transients=transients,
            stars=stars,
            galaxies=galaxies,
            noise_free=NoiseFree(plane, static, ()),
            science_psf=psf,
            template_psf=self._template_psf,
        )
        return SimulatedExposure(visit, detector, pair, covered)

    def _add_transients(
        self, static: Plane, wcs: WCS, psf: PsfField, rng: np.random.Generator
    ) -> tuple[Plane, tuple[Transient, ...]]:
        c = self.config
        ny, nx = c.shape
        template_wcs, _ = self._grid
        template, template_psf = self._template
        psfs = (psf, template_psf)
        fresh = replace(c, negative_fraction=0.0)
        tx, ty, wanted = choose_transients(fresh, rng, self._catalogue, wcs)
        gone_x, gone_y, gone_flux = self._vanished
        x, y = pixel_to_pixel(template_wcs, wcs, gone_x, gone_y)
        distance, _ = cKDTree(np.stack([x, y], axis=-1)).query(np.stack([tx, ty], axis=-1))
        alone = distance > MINIMUM_SEPARATION
        tx, ty, wanted = tx[alone], ty[alone], wanted[alone]
        on_template = pixel_to_pixel(wcs, template_wcs, tx, ty)
        flux, expected = transient_fluxes(c, static, template, (tx, ty), on_template, psfs, wanted)
        plane = static.copy()
        draw(plane, psf, tx, ty, flux, floor=self._floor)
        inside = (x > 10) & (x < nx - 10) & (y > 10) & (y < ny - 10)
        lost = -gone_flux[inside]
        at = (gone_x[inside], gone_y[inside])
        here = (x[inside], y[inside])
        signal = lost * np.sqrt(information(c, static, template, here, at, psfs, lost))
        all_x, all_y = np.concatenate([tx, here[0]]), np.concatenate([ty, here[1]])
        world = wcs.pixel_to_world_values(all_x, all_y)
        columns = (
            all_x,
            all_y,
            *world,
            np.concatenate([flux, lost]),
            np.concatenate([expected, signal]),
        )
        return plane, tuple(
            Transient(*(float(v) for v in row)) for row in zip(*columns, strict=True)
        )


def simulate_survey(
    seed: int,
    detector_shape: tuple[int, int] = (1000, 1018),
    visits: int = 4,
    detectors: int = 2,
    config: SceneConfig | None = None,
) -> SimulatedSurvey:
    """Plan a survey: `visits` pointings of `detectors` detectors, the last outside the templates.

    Visits overlap on one field with dithers of a tenth of a detector and different rotations;
    constant stars and galaxies are the same in all of them, transients differ from visit to
    visit, and a few sources exist in the template alone.

    Parameters
    ----------
    seed
        The same arguments give the same pixels.
    detector_shape
        (ny, nx) of one detector, pixels.
    visits, detectors
        How many; at least 2 visits.
    config
        Scene of one detector; its shape is replaced. Default: a deep template.

    Raises
    ------
    ValueError
        If fewer than two visits or no detector are asked for.
    """
    if visits < 2 or detectors < 1:
        raise ValueError(f"a survey needs 2 visits and 1 detector; got {visits} and {detectors}")
    base = replace(config or scene("deep"), shape=detector_shape)
    return SimulatedSurvey(seed, base, plan_visits(base, seed, visits), detectors)
