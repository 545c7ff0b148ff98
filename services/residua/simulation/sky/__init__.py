"""A seeded simulator of a small sky: visit images, template patches and the truth.

`simulate_pair` makes one visit image with its template patches, `centre_crop` cuts it down,
`SCENES` names what each scene stresses. `simulate_survey` makes visits of several detectors over
one sky, and a tract of templates.
"""

from residua.simulation.sky.crop import centre_crop
from residua.simulation.sky.imaging.profiles import PsfField
from residua.simulation.sky.pair import simulate_pair
from residua.simulation.sky.scene import (
    DETECTOR_SHAPE,
    SCENES,
    PsfConfig,
    SceneConfig,
    scene,
)
from residua.simulation.sky.survey import (
    SimulatedExposure,
    SimulatedPatch,
    SimulatedSurvey,
    simulate_survey,
)
from residua.simulation.sky.truth import (
    NoiseFree,
    SimulatedPair,
    Sources,
    Transient,
)
from residua.simulation.sky.visits import VisitMetadata

__all__ = [
    "DETECTOR_SHAPE",
    "SCENES",
    "NoiseFree",
    "PsfConfig",
    "PsfField",
    "SceneConfig",
    "SimulatedExposure",
    "SimulatedPair",
    "SimulatedPatch",
    "SimulatedSurvey",
    "Sources",
    "Transient",
    "VisitMetadata",
    "centre_crop",
    "scene",
    "simulate_pair",
    "simulate_survey",
]
