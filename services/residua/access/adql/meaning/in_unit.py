"""IN_UNIT: numbers in another unit, ADQL 2.1 section 4.8."""

from functools import lru_cache

from residua.access.adql.errors import AdqlError

__all__ = ["unit_factor"]


@lru_cache(maxsize=256)
def unit_factor(unit: str | None, wanted: str) -> float:
    """Return what a number is multiplied with.

    Parameters
    ----------
    unit, wanted
        Units as VOUnits writes them; `None` for a number that has none.

    Raises
    ------
    AdqlError
        One is no unit, or none can be made of the other.
    """
    from astropy import units

    if unit is None:
        raise AdqlError("IN_UNIT: the first argument has no unit; take a column that has one")
    try:
        return float(
            units.Unit(unit, format="vounit").to(units.Unit(wanted.strip(), format="vounit"))
        )
    except (ValueError, TypeError, units.UnitsError) as e:
        words = " ".join(str(e).split())[:200]
        raise AdqlError(f"IN_UNIT: {unit} cannot be made {wanted[:40]!r}: {words}") from e
