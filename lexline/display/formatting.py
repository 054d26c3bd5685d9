"""Numbers, times and lists in the form that people read."""

import math
from collections.abc import Sequence
from datetime import datetime


def duration(seconds: float) -> str:
    """Format a duration in seconds: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def unknown(share: float | None) -> str:
    """Return in words how much of a text a model does not know; "" if nobody has counted."""
    return "" if share is None else f" with {share:.1%} of the words unknown"


def perplexity(value: float) -> str:
    """Format a perplexity to about three digits: 86.7, 208, 33,278."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def size(count: int) -> str:
    """Format a number of bytes: 640 bytes, 12.3 kB, 4.5 MB."""
    if count < 1000:
        return f"{count} bytes"
    unit = min(int(math.log10(count)) // 3, 3)
    return f"{count / 1000**unit:.1f} {('kB', 'MB', 'GB')[unit - 1]}"


def counted(number: int, thing: str) -> str:
    """Format a number of things: 1 file, 1,234 files."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def money(dollars: float) -> str:
    """Format US dollars, small amounts to three digits: $0.00236, $0.056, $0.50, $40.88, $1,234.00."""
    if dollars >= 1:
        return f"${dollars:,.2f}"
    if 0 < dollars < 0.0001:
        return "less than $0.0001"
    digits = f"{float(f'{dollars:.3g}'):f}".rstrip("0")
    return f"${digits:0<4}"


def local_time(when: datetime) -> str:
    """Format a time to the minute, in this machine's time zone."""
    return f"{when.astimezone():%Y-%m-%d %H:%M}"


def listing(items: Sequence[str]) -> str:
    """Join one or more items: a, b and c."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def alternatives(items: Sequence[str]) -> str:
    """Join one or more items: a, b or c."""
    return " or ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def sentence(text: str) -> str:
    """Return text with a full stop at its end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
