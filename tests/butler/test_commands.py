"""`residua butler`, `residua export`, and templates taken from an existing repository."""

import json
from uuid import uuid4

import numpy as np
import pytest
import typer
from astropy.io import fits
from astropy.wcs import WCS
from lsst.daf.butler import Butler
from typer.testing import CliRunner

from residua.butler.locations import templates_in_repository
from residua.butler.registering.registrar import Registrar
from residua.butler.repository import RepositoryError, create_repository, open_repository
from residua.cli.images.export import export_command
from residua.cli.site.butler import app as butler_app
from residua.identity import template_dataset_id
from residua.instruments import InstrumentRegistry
from residua.simulation.input_files import write_template
from residua.subtraction.images import TemplateImage
from residua.testing.difference_images import difference_image_event, template_event, write_file


def run(app: typer.Typer, *arguments: str):
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def export_app():
    app = typer.Typer()
    app.command("export")(export_command)
    return app


@pytest.fixture
def filled(tmp_path):
    """A repository with one difference image, and its event."""
    repo = str(tmp_path / "repo")
    create_repository(repo)
    event = write_file(tmp_path / "a.fits", difference_image_event(2024110800253, 4, ""))
    with open_repository(repo, writeable=True) as butler:
        registrar = Registrar(butler, instruments=InstrumentRegistry(), output_root=str(tmp_path))
        assert registrar.register([event]) == []
    return repo, event


def test_init_makes_a_repository_once(tmp_path):
    repo = str(tmp_path / "repo")
    first = run(butler_app, "init", repo, "--datastore-root", str(tmp_path / "images"))
    assert first.exit_code == 0, first.output
    assert f'Butler("{repo}", collections="residua")' in first.output
    with open_repository(repo) as butler:
        assert {t.name for t in butler.registry.queryDatasetTypes()} == {
            "dia_source_detector",
            "difference_image",
            "template_coadd",
            "visit_image",
        }
        assert str(butler._datastore.root) == (tmp_path / "images").as_uri() + "/"
    again = run(butler_app, "init", repo)
    assert again.exit_code == 0
    assert again.output.startswith("already there")


def test_status_counts(filled):
    repo, event = filled
    done = run(butler_app, "status", repo, "--json")
    assert json.loads(done.output) == {
        "run": event.run,
        "dataset_type": "difference_image",
        "datasets": 1,
        "on_demand": 0,
    }
    assert "difference_image" in run(butler_app, "status", repo).output


def test_status_without_a_repository_names_the_remedy(tmp_path):
    done = run(butler_app, "status", str(tmp_path / "nothing"))
    assert done.exit_code == 1
    assert "residua butler init" in done.output


def test_another_definition_of_the_dataset_type_is_refused(tmp_path):
    from lsst.daf.butler import DatasetType

    repo = str(tmp_path / "repo")
    Butler.makeRepo(repo)
    with open_repository(repo, writeable=True) as butler:
        dimensions = ("instrument", "visit", "detector")
        butler.registry.registerDatasetType(
            DatasetType("difference_image", dimensions, "ExposureF", universe=butler.dimensions)
        )
    with pytest.raises(RepositoryError, match="repository of its own"):
        create_repository(repo)


@pytest.mark.parametrize("by", ["id", "file"])
def test_export(filled, export_app, tmp_path, by):
    repo, event = filled
    output = tmp_path / "dp1.fits"
    names = [str(event.dataset_id), "--butler", repo] if by == "id" else [event.uri]
    done = run(export_app, *names, "--layout", "dp1", "-o", str(output))
    assert done.exit_code == 0, done.output
    with fits.open(output) as hdus, Butler.from_config(repo, collections="residua") as butler:
        image = butler.get(
            "difference_image", instrument="LSSTComCam", visit=2024110800253, detector=4
        )
        np.testing.assert_array_equal(hdus["IMAGE"].data, image.image.array)
        np.testing.assert_array_equal(hdus["VARIANCE"].data, image.variance.array)
        np.testing.assert_array_equal(
            (hdus["MASK"].data & (1 << hdus["MASK"].header["MP_CR"])) != 0,
            image.mask.get("COSMIC_RAY"),
        )


def test_export_says_what_it_lacks(filled, export_app, tmp_path):
    repo, event = filled
    output = str(tmp_path / "x.fits")
    unknown = run(export_app, str(uuid4()), "--butler", repo, "-o", output)
    assert unknown.exit_code == 1
    assert "has no dataset" in unknown.output
    assert run(export_app, str(event.dataset_id), "-o", output).exit_code == 2
    assert run(export_app, str(tmp_path / "none.fits"), "-o", output).exit_code == 1


def test_templates_of_an_existing_repository(tmp_path):
    repo = str(tmp_path / "theirs")
    create_repository(repo)
    events = []
    for patch, band in ((3, "r"), (4, "r"), (3, "i")):
        path = tmp_path / f"{patch}{band}.fits"
        _write_template(path, patch, band)
        events.append(template_event(patch, path.as_uri(), band=band, template_set="theirs"))
    with open_repository(repo, writeable=True) as butler:
        registrar = Registrar(
            butler,
            instruments=InstrumentRegistry(),
            output_root=str(tmp_path),
            template_roots=[str(tmp_path)],
        )
        assert registrar.register(events) == []

    found = list(templates_in_repository(repo, "residua/templates/theirs", "ours"))
    assert [(t.patch, t.band) for t in found] == [(3, "i"), (3, "r"), (4, "r")]
    for template in found:
        assert template.template_set == "ours"
        assert (template.skymap, template.tract) == ("lsst_cells_v1", 5063)
        assert template.dataset_id == template_dataset_id(template.key)
        assert template.uri == (tmp_path / f"{template.patch}{template.band}.fits").as_uri()
        ra, dec = template.region.center
        assert (ra, dec) == pytest.approx((53.125, -27.74), abs=1e-6)
    [only] = templates_in_repository(repo, "residua", "ours", where="band = 'i'")
    assert only == found[0]
    with pytest.raises(RepositoryError, match="has no template_coadd"):
        list(templates_in_repository(repo, "residua", "ours", where="band = 'u'"))


def _write_template(path, patch, band):
    shape = (200, 220)
    noise = np.random.default_rng(patch).normal(0, 1, shape).astype(np.float32)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = (53.125, -27.740)
    wcs.wcs.crpix = [110.5, 100.5]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    template = TemplateImage(
        noise, np.ones(shape, np.float32), np.zeros(shape, np.int32), wcs, name=path.name
    )
    write_template(path, template, skymap="lsst_cells_v1", tract=5063, patch=patch, band=band)
