"""The page "my own telescope" works as written, on two files of a camera nobody described."""

import csv
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from residua.cli.main import app
from residua.simulation.sky import scene, simulate_pair
from residua.storage.forms.wcs import header_wcs

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "my-telescope.md").read_text(
    encoding="utf-8"
)
NJY_PER_COUNT, GAIN, SKY = 1.0, 1.5, 900.0


def _write(path: Path, image, wcs, seed: int, **cards):
    rng = np.random.default_rng(seed)
    counts = np.nan_to_num(image / NJY_PER_COUNT) + SKY
    pixels = rng.poisson(np.maximum(counts, 1.0) * GAIN) / GAIN
    hdu = fits.PrimaryHDU(np.clip(pixels, 0, 65535).astype("u2"))
    hdu.header.update(header_wcs(wcs, image.shape).to_header(relax=True))
    common = {"INSTRUME": "QHY 600M", "TELESCOP": "Backyard", "FILTER": "Baader R", "EXPTIME": 60.0}
    hdu.header.update({**common, "GAIN": 30, "EGAIN": GAIN, "SATURATE": 60000.0, **cards})
    hdu.writeto(path)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shape = (640, 640)
    pair = simulate_pair(replace(scene("deep"), shape=shape, patches=(1, 1)), seed=31)
    template = pair.templates[0]
    _write(
        tmp_path / "new.fits",
        pair.science.image,
        pair.science.wcs,
        1,
        EXPNUM=7,
        **{"DATE-OBS": "2026-01-05T03:00:00"},
    )
    _write(
        tmp_path / "old.fits",
        template.image,
        template.wcs,
        2,
        EXPNUM=3,
        **{"DATE-OBS": "2025-01-05T03:00:00"},
    )
    for n in (1, 2, 3):
        _write(
            tmp_path / f"old-{n}.fits",
            template.image,
            template.wcs,
            3 + n,
            EXPNUM=3 + n,
            **{"DATE-OBS": f"2025-01-0{5 + n}T03:00:00"},
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_inspect_to_the_first_difference_image(files: Path):
    shell = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    commands = [line for line in shell.splitlines() if line.startswith("residua ")]
    assert len(commands) == 7
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command)[1:])
        assert result.exit_code == 0, f"{command}\n{result.output}"
    assert (files / "difference.png").exists()
    with (files / "new-sources.csv").open() as table:
        assert len(list(csv.DictReader(table))) > 0
    assert len((files / "instruments" / "mine.yaml").read_text().splitlines()) <= 90
    assert os.path.getsize("difference.fits") > 0  # noqa: PTH202 of the directory one is in
