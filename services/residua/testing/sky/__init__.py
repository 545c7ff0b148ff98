"""A seeded simulator of a small sky: visit images, template patches and the truth.

`simulate_pair` makes one visit image with its template patches, `SCENES` names what each scene
stresses.
"""

from residua.testing.sky.pair import NoiseFree, SimulatedPair, Sources, Transient, simulate_pair
from residua.testing.sky.profiles import PsfField
from residua.testing.sky.scene import DETECTOR_SHAPE, SCENES, PsfConfig, SceneConfig, scene

__all__ = [
    "DETECTOR_SHAPE",
    "SCENES",
    "NoiseFree",
    "PsfConfig",
    "PsfField",
    "SceneConfig",
    "SimulatedPair",
    "Sources",
    "Transient",
    "scene",
    "simulate_pair",
]
