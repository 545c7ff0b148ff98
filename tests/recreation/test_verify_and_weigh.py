"""Asking whether files would come back, what all of them weigh, and what nobody refers to."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from typer.testing import CliRunner

from residua.cli.main import app
from residua.recreation import RecreationSettings, Recreator
from residua.recreation.expire import Expiry, expire
from residua.recreation.storage_use import read_storage_use
from residua.storage.objects import local_path


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_verify_draws_a_sample_and_tells_what_does_not_come_back(place, tmp_path):
    night, url, _ = place
    metrics = tmp_path / "residua.prom"
    good = invoke("verify", "--catalog", url, "--sample", "5", "--json", "--metrics-file", metrics)
    assert good.exit_code == 0, good.output
    answer = json.loads(good.stdout)
    assert (answer["identical"], answer["different"], answer["impossible"]) == (2, 0, 0)
    assert 'residua_verified_images{result="identical"} 2.0' in metrics.read_text()
    lost = night.created[1]
    local_path(lost.visit_image.uri).unlink()
    bad = invoke("verify", "--catalog", url, "--all", "--metrics-file", metrics)
    assert bad.exit_code == 1, bad.output
    assert "1 of 2 images came back byte for byte" in bad.output
    assert 'residua_verified_images{result="impossible"} 1.0' in metrics.read_text()
    nothing = invoke("verify", "--catalog", url, "--run", "residua/0/none/of/this")
    assert nothing.exit_code == 3


def test_what_images_weigh_is_told(place):
    night, url, _ = place
    beside = [
        c.solution.size_bytes
        + c.detections.size_bytes
        + local_path(c.uri).with_suffix(".hollow").stat().st_size
        for c in night.created
    ]
    previews = [local_path(c.preview_uri).stat().st_size for c in night.created]
    use = read_storage_use(url)
    assert (use.stored, use.on_demand) == (2, 0)
    assert use.stored_bytes == sum(c.size_bytes for c in night.created)
    assert use.kept_per_image == pytest.approx(sum(beside) / 2, abs=1)
    assert (use.preview_per_image, use.looked_at) == (round(sum(previews) / 2), 2)
    engine = create_engine(url)
    recreator = Recreator(RecreationSettings(), Path(night.root) / "scratch")
    expiry = Expiry(night.output_root, timedelta(0), everything=True, sample=0)
    assert len(list(expire(engine, recreator, [], expiry))) == 2
    engine.dispose()
    use = read_storage_use(url)
    assert (use.stored, use.on_demand, use.stored_bytes) == (0, 2, 0)
    assert use.spared_bytes == sum(c.size_bytes for c in night.created)
    assert use.kept_per_image < 0.25e6
    assert use.total_bytes == 2 * (use.kept_per_image + use.preview_per_image)


def test_solutions_that_no_outcome_refers_to_are_swept(place):
    night, url, _ = place
    used = [local_path(c.solution.uri) for c in night.created]
    name = used[0].name
    orphan = used[0].with_name(name.replace(name.rpartition("_")[2], "0123456789ab.residua"))
    orphan.write_bytes(used[0].read_bytes())
    command = ("sweep", night.output_root, "--catalog", url, "--no-butler", "--json")
    young = invoke(*command, "--older-than", "1")
    assert json.loads(young.stdout)["removed"] == []
    dry = invoke(*command, "--older-than", "0", "--dry-run")
    assert json.loads(dry.stdout)["removed"] == [orphan.as_uri()]
    assert orphan.exists()
    done = invoke(*command, "--older-than", "0")
    assert json.loads(done.stdout)["removed"] == [orphan.as_uri()]
    assert not orphan.exists()
    assert all(path.exists() for path in used)
