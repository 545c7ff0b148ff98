"""One run of the demo for all who look at it; where the real sky is, when it is there."""

from pathlib import Path

import pytest
from tests.support.demo_run import ARGUMENTS, run_demo

REAL_SKY = Path(__file__).parents[3] / "shared" / "data"


def real_sky(name: str) -> Path:
    """Directory of one set of real images; the test is skipped without it."""
    folder = REAL_SKY / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not at {REAL_SKY}; it is not in the repository")
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Summary of a demo; its directory is `output_dir`."""
    return run_demo(tmp_path_factory.mktemp("demo") / "run", *ARGUMENTS)


@pytest.fixture(scope="session")
def decam_pair() -> Path:
    """Directory of ten DECam cut-outs."""
    return real_sky("decam_pair")


@pytest.fixture(scope="session")
def rubin_stamps() -> Path:
    """Directory of five alert stamps with their PSFs and Rubin's own difference."""
    return real_sky("rubin_stamps")


@pytest.fixture(scope="session")
def eso085() -> Path:
    """Directory of a pair of frames 74 s apart."""
    return real_sky("eso085")
