"""Values as Grafana writes them, for the units that our panels use."""

import math

_SECONDS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BYTES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_ENDINGS = {"reqps": " req/s", "cps": " /s"}


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit."""
    if not math.isfinite(value):
        return "no value"
    if unit == "percentunit":
        return f"{_short(100 * value, decimals)} %"
    if unit == "s":
        return _scaled(value, _SECONDS, " ", " s")
    if unit == "bytes":
        return _scaled(value, _BYTES, " ", " B")
    return _scaled(value, _COUNTS, "", "", decimals) + _ENDINGS.get(unit, "")


def _scaled(
    value: float, sizes: tuple[tuple[float, str], ...], gap: str, least: str, decimals: int | None = None
) -> str:
    """In the largest size that is not larger than the value."""
    for size, name in sizes:
        if abs(value) >= size:
            return f"{_short(value / size, decimals)}{gap}{name}"
    return f"{_short(value, decimals)}{least}"


def _short(value: float, decimals: int | None) -> str:
    """Three digits, or as many decimals as asked for."""
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) >= 1e-9 else 0
    return f"{value:,.{min(digits, 6)}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"
