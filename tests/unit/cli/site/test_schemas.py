"""`residua schemas` writes, checks, and refuses to change what is published."""

from pathlib import Path

from typer.testing import CliRunner

from residua.cli.site.schemas import app


def test_export_then_check_then_tamper(tmp_path: Path):
    run = CliRunner().invoke
    assert run(app, ["check", "-d", str(tmp_path)]).exit_code == 1
    assert run(app, ["export", "-d", str(tmp_path)]).exit_code == 0
    assert run(app, ["check", "-d", str(tmp_path)]).exit_code == 0
    victim = next(tmp_path.rglob("template-coadd.schema.json"))
    victim.write_text("{}")
    result = run(app, ["check", "-d", str(tmp_path)])
    assert result.exit_code == 1
    assert "template-coadd" in result.output
    assert run(app, ["export", "-d", str(tmp_path)]).exit_code == 1
