"""Who may have pixels when: the row's own date, the configured embargo, rights and scopes."""

from datetime import UTC, datetime, timedelta

import pytest

from residua.access.dali.errors import EmbargoError
from residua.access.rights.release import release_time, require_released
from residua.access.rights.tokens import ANYBODY, Caller
from residua.access.settings import AccessSettings

SETTINGS = AccessSettings(embargo_hours=80.0)
READER = Caller("vera", frozenset({"read:image"}))
INSIDER = Caller("vera", frozenset({"read:image", "read:embargoed"}))
MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)


def row(hours_ago=None, **values):
    t_max = None
    if hours_ago is not None:
        t_max = (datetime.now(UTC) - timedelta(hours=hours_ago) - MJD_ZERO) / timedelta(days=1)
    return {"t_max": t_max, "obs_release_date": None, "data_rights": None, **values}


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        (row(1), True),
        (row(70), True),
        (row(90), False),
        (row(), False),
        (row(1, obs_release_date="2020-01-01T00:00:00Z"), False),
        (row(500, obs_release_date="2099-01-01T00:00:00+02:00"), True),
        # The embargo of all does not publish what was never public.
        (row(500, data_rights="proprietary"), True),
        (row(500, data_rights="proprietary", obs_release_date="2020-01-01T00:00:00Z"), False),
        (row(data_rights="proprietary"), True),
        (row(data_rights="public"), False),
    ],
)
def test_the_scope_alone_lifts_the_embargo(values, refused):
    require_released([values], SETTINGS, INSIDER)
    for caller in (ANYBODY, READER):
        if refused:
            with pytest.raises(EmbargoError, match="read:embargoed"):
                require_released([values], SETTINGS, caller)
        else:
            require_released([values], SETTINGS, caller)


def test_the_refusal_names_the_release_time():
    values = row(10)
    with pytest.raises(EmbargoError) as refused:
        require_released([values], SETTINGS, ANYBODY)
    assert refused.value.status == 403
    assert f"{release_time(values, SETTINGS):%Y-%m-%dT%H:%M:%SZ}" in refused.value.message


def test_without_an_embargo_everything_is_public():
    assert release_time(row(0), AccessSettings()) is None
    require_released([row(0)], AccessSettings(), ANYBODY)
