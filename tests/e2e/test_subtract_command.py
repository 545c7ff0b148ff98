"""`residua subtract`: what it writes, and one line instead of a traceback for bad input."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from lsst.resources import ResourcePath
from typer.testing import CliRunner

from residua.cli.main import app
from residua.ports import Observation
from residua.simulation.input_files import write_plain_fits, write_template, write_visit_image
from residua.simulation.sky import SimulatedPair, scene, simulate_pair
from residua.storage import describe, fetch
from residua.storage.forms.decode import PlaneReader
from residua.storage.objects import read_object

OBSERVATION = Observation("Simulated", 7, 3, 20261122, "r", "r_sim", "Simulated")


@pytest.fixture(scope="module")
def pair() -> SimulatedPair:
    return simulate_pair(replace(scene("deep"), shape=(560, 600), patches=(1, 2)), seed=71)


@pytest.fixture(scope="module")
def files(pair: SimulatedPair, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    directory = tmp_path_factory.mktemp("pair")
    science = directory / "visit.fits"
    write_visit_image(science, pair.science, OBSERVATION)
    templates = []
    for n, template in enumerate(pair.templates):
        path = directory / f"template_r_1_{n}.fits"
        write_template(path, template, skymap="sim", tract=1, patch=n, band="r")
        templates.append(str(path))
    return str(science), templates


def subtract(*arguments: str):
    return CliRunner().invoke(app, ["subtract", *arguments])


def test_a_background_of_higher_order_follows_moonlight(pair: SimulatedPair, tmp_path: Path):
    ny, nx = pair.science.image.shape
    u = np.linspace(-1.0, 1.0, nx, dtype=np.float32)
    v = np.linspace(-1.0, 1.0, ny, dtype=np.float32)[:, None]
    image = pair.science.image + np.float32(60.0) * (u * u - np.float32(0.5) * v * v)
    science, template = tmp_path / "visit.fits", tmp_path / "template.fits"
    write_visit_image(science, replace(pair.science, image=image), OBSERVATION)
    write_template(template, pair.templates[0], skymap="sim", tract=1, patch=0, band="r")
    arguments = [str(science), str(template), "-o", str(tmp_path / "difference.fits"), "--json"]
    refused = subtract(*arguments)
    assert refused.exit_code == 1
    assert "--background-order" in refused.output
    followed = subtract(*arguments, "--background-order", "2")
    assert followed.exit_code == 0, followed.output
    assert json.loads(followed.stdout)["quality"]["sky_structure"] < 1.1


def test_quality_preview_and_detections(
    pair: SimulatedPair, files: tuple[str, list[str]], tmp_path: Path
):
    output, table = tmp_path / "difference.fits", tmp_path / "new.csv"
    science, templates = files
    arguments = ["-o", str(output), "--json", "--detections", str(table)]
    result = subtract(science, *templates, *arguments)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["unit"] == "nJy"
    assert summary["quality"]["coverage"] == pytest.approx(1.0, abs=0.02)
    assert output.exists()
    assert output.with_suffix(".png").exists()
    rows = list(csv.DictReader(table.open()))
    bright = [t for t in pair.transients if abs(t.expected_sn) > 10 and 15 < t.x < 585]
    assert bright
    for transient in bright:
        nearest = min(
            rows, key=lambda r, t=transient: abs(float(r["x"]) - t.x) + abs(float(r["y"]) - t.y)
        )
        assert np.hypot(float(nearest["x"]) - transient.x, float(nearest["y"]) - transient.y) < 2
        assert int(nearest["sign"]) == np.sign(transient.flux)


def test_the_table_names_the_quality(files: tuple[str, list[str]], tmp_path: Path):
    science, templates = files
    result = subtract(science, *templates, "-o", str(tmp_path / "d.fits"))
    assert result.exit_code == 0, result.output
    assert "matched filter sn std" in result.stdout
    assert "kernel stars" in result.stdout


def test_each_file_is_fetched_and_decoded_once(
    files: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fetched: list[str] = []
    decoded: list[int] = []

    def counted(location: ResourcePath, checksum: str | None) -> tuple[bytes, str]:
        fetched.append(location.basename())
        return read_object(location, checksum)

    def read(reader: PlaneReader, index: int) -> np.ndarray:
        decoded.append(index)
        return own_read(reader, index)

    own_read = PlaneReader.read
    monkeypatch.setattr(PlaneReader, "read", read)
    for module in (describe, fetch):
        monkeypatch.setattr(module, "read_object", counted)
    science, templates = files
    result = subtract(science, *templates, "-o", str(tmp_path / "d.fits"))
    assert result.exit_code == 0, result.output
    assert sorted(fetched) == sorted(Path(f).name for f in (science, *templates))
    assert len(decoded) == 3 * len(fetched)


def test_the_same_input_gives_the_same_bytes(files: tuple[str, list[str]], tmp_path: Path):
    science, templates = files
    contents = set()
    for threads in ("1", "2"):
        output = tmp_path / threads / "difference.fits"
        output.parent.mkdir()
        result = subtract(science, *templates, "-o", str(output), "--threads", threads)
        assert result.exit_code == 0, result.output
        contents.add(output.read_bytes())
    assert len(contents) == 1


def bad_inputs(pair: SimulatedPair, directory: Path) -> dict[str, tuple[Path, str]]:
    """File by kind of fault, and the name of the error it must give."""
    good = directory / "good.fits"
    write_plain_fits(good, pair.science, OBSERVATION)
    made: dict[str, tuple[Path, str]] = {}

    def changed(name: str, error: str) -> Path:
        path = directory / f"{name}.fits"
        made[name] = (path, error)
        return path

    whole = good.read_bytes()
    changed("truncated", "CorruptFileError").write_bytes(whole[: len(whole) // 2])
    changed("text", "CorruptFileError").write_text("this is not FITS\n" * 300)
    changed("missing", "MissingFileError")
    with fits.open(good) as hdus:
        index = next(n for n, h in enumerate(hdus) if h.data is not None and h.data.ndim == 2)
        blank = fits.HDUList([h.copy() for h in hdus])
        blank[index].data = np.full_like(blank[index].data, np.nan)
        blank.writeto(changed("all-nan", "UnusableImageError"))
        lost = fits.HDUList([h.copy() for h in hdus])
        for hdu in lost:
            for card in ("CTYPE1", "CTYPE2"):
                hdu.header.remove(card, ignore_missing=True)
        lost.writeto(changed("no-wcs", "NoWcsError"))
        strange = fits.HDUList([h.copy() for h in hdus])
        for hdu in strange:
            if "BUNIT" in hdu.header or hdu.data is not None:
                hdu.header["BUNIT"] = "furlong"
        strange.writeto(changed("unit", "UnknownUnitError"))
    return made


@pytest.mark.parametrize("kind", ["truncated", "text", "missing", "all-nan", "no-wcs", "unit"])
def test_bad_files_give_one_line_and_exit_code_1(
    kind: str, pair: SimulatedPair, files: tuple[str, list[str]], tmp_path: Path
):
    path, error = bad_inputs(pair, tmp_path)[kind]
    result = subtract(str(path), *files[1], "-o", str(tmp_path / "d.fits"))
    assert result.exit_code == 1, result.output
    # Before it stands what was understood of the files, a line each.
    *understood, line = result.stderr.strip().splitlines()
    assert len(understood) <= 12
    assert not any("Traceback" in other for other in understood)
    assert line.startswith(f"residua: {error}: ")
    assert path.name in line
    assert not (tmp_path / "d.fits").exists()


def test_no_overlap_is_exit_code_3(
    pair: SimulatedPair, files: tuple[str, list[str]], tmp_path: Path
):
    elsewhere = simulate_pair(replace(pair.config, ra=pair.config.ra + 10.0), seed=1)
    template = tmp_path / "template_r_9_9.fits"
    write_template(template, elsewhere.templates[0], skymap="sim", tract=9, patch=9, band="r")
    result = subtract(files[0], str(template), "-o", str(tmp_path / "d.fits"))
    assert result.exit_code == 3, result.output
    assert "NoTemplateError" in result.stderr


def test_too_few_stars_says_how_many(pair: SimulatedPair, tmp_path: Path):
    empty = simulate_pair(replace(pair.config, stars=0, galaxies=0, patches=(1, 1)), seed=5)
    science, template = tmp_path / "visit.fits", tmp_path / "template_r_1_0.fits"
    write_visit_image(science, empty.science, OBSERVATION)
    write_template(template, empty.templates[0], skymap="sim", tract=1, patch=0, band="r")
    result = subtract(str(science), str(template), "-o", str(tmp_path / "d.fits"))
    assert result.exit_code == 1, result.output
    assert "InsufficientKernelStarsError" in result.stderr
    assert "Traceback" not in result.output


def test_a_real_process_prints_no_traceback(tmp_path: Path):
    script = "from residua.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", script, "subtract", "no.fits", "none.fits", "-o", "d.fits"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "MissingFileError" in result.stderr
    assert "Traceback" not in result.stderr
