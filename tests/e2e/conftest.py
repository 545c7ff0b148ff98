"""Where the real sky is, when it is there."""

from pathlib import Path

import pytest

REAL_SKY = Path(__file__).parents[3] / "shared" / "data" / "decam_pair"


@pytest.fixture(scope="session")
def decam_pair() -> Path:
    """Directory of ten DECam cut-outs; the test is skipped without them."""
    if not REAL_SKY.is_dir():
        pytest.skip(f"the DECam cut-outs are not at {REAL_SKY}; they are not in the repository")
    return REAL_SKY
