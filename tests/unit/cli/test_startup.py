import subprocess
import sys

_PROGRAM = """
import sys
from residua.cli.startup import load_lsst_images_alone
load_lsst_images_alone()
import residua.processing, residua.storage.store
from lsst.images.serialization import ButlerInfo
print(sorted({"lsst.daf.butler", "sqlalchemy", "scipy.stats", "piff"} & set(sys.modules)))
from lsst.daf.butler import Butler
print(Butler.__name__)
"""


def test_a_subtraction_loads_neither_butler_nor_statistics_and_butler_loads_afterwards():
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "Butler"]


def test_commands_that_read_topics_and_catalog_start_without_arrays():
    program = (
        "import sys, residua.cli.main, residua.replay.catalogued.standing\n"
        "import residua.messaging.retention, residua.messaging.heartbeats\n"
        "print(sorted({'numpy', 'astropy', 'faust', 'lsst.resources'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]"]
