"""Numbers as people write them."""

import math
from datetime import datetime


def seconds(value: float) -> str:
    """A duration: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def perplexity(value: float) -> str:
    """A perplexity with three useful digits or so: 86.7, 208, 33,278."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def size(value: int) -> str:
    """A file size: 640 bytes, 12.3 kB, 4.5 MB."""
    if value < 1000:
        return f"{value} bytes"
    for unit in ("kB", "MB", "GB"):
        value_in_unit = value / 1000 ** (("kB", "MB", "GB").index(unit) + 1)
        if value_in_unit < 1000 or unit == "GB":
            return f"{value_in_unit:.1f} {unit}"
    raise AssertionError("unreachable")


def money(dollars: float) -> str:
    """US dollars, small amounts to three digits: $0.00236, $0.056, $0.50, $40.88, $1,234.00."""
    if dollars >= 1:
        return f"${dollars:,.2f}"
    if 0 < dollars < 0.0001:
        return "less than $0.0001"
    digits = f"{float(f'{dollars:.3g}'):f}".rstrip("0")
    return f"${digits:0<4}"


def local_time(when: datetime) -> str:
    """A moment as this machine's clock shows it, to the minute."""
    return f"{when.astimezone():%Y-%m-%d %H:%M}"


def listing(items: list[str]) -> str:
    """a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
