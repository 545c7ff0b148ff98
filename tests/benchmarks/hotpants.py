"""HOTPANTS as a peer of the benchmark: its true saturation, a kernel of a given support."""

import shutil
from dataclasses import dataclass

from tests.benchmarks.timing import run_program

MATCHED_KERNEL = ["-r", "15", "-rss", "24", "-ng", "4", "4", ".7", "2", "1.5", "2", "3", "0", "6"]
NARROW_KERNEL = ["-r", "10", "-rss", "22", "-ng", "3", "4", ".7", "2", "1.5", "2", "3"]
OPTIONS = [
    *["-tu", "60000", "-iu", "54000", "-tuk", "45000", "-iuk", "45000", "-tl", "-200"],
    *["-il", "-200", "-n", "i", "-ko", "2", "-bgo", "1", "-nsx", "20", "-nsy", "20", "-nss", "3"],
]


def find_hotpants(path=None):
    """Path of HOTPANTS, or None."""
    return shutil.which(path or "hotpants")


@dataclass(frozen=True)
class Hotpants:
    """Match and subtract with HOTPANTS; it claims a noise of its own."""

    program: str
    kernel: list[str]

    def __call__(self, directory, convolve):
        d = directory
        return run_program(
            [
                *[self.program, "-inim", str(d / "science.fits"), "-tmplim"],
                *[str(d / "warped.fits"), "-ini", str(d / "science_noise.fits")],
                *["-tni", str(d / "warped_noise.fits"), "-imi", str(d / "science_mask.fits")],
                *["-tmi", str(d / "warped_mask.fits"), "-outim", str(d / "difference.fits")],
                *["-oni", str(d / "difference_noise.fits")],
                *["-omi", str(d / "difference_mask.fits"), "-c", convolve],
                *OPTIONS,
                *self.kernel,
            ],
            d / "hotpants.log",
        )
