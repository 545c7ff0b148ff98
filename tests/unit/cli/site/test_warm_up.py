"""`residua warm-up` runs to its end: images are built with it."""

import pytest

from residua.cli.site.warm_up import warm_up


def test_warm_up_ends_with_the_time_it_took(capsys: pytest.CaptureFixture[str]):
    warm_up()
    assert "compiled in" in capsys.readouterr().out
