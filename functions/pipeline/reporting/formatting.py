"""Numbers as people write them."""

import math

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def money(dollars: float) -> str:
    """Return US dollars: $0.0041, $0.115, $1.23, $84, $1,234."""
    if dollars >= 9.995:
        return f"${dollars:,.0f}"
    if dollars >= 0.9995:
        return f"${dollars:.2f}"
    if dollars >= 0.0001:
        exact = f"{float(f'{dollars:.3g}'):.7f}".rstrip("0")
        whole, cents = exact.split(".")
        return f"${whole}.{cents:0<2}"
    return "under $0.0001" if dollars > 0 else "$0"


def duration(seconds: float) -> str:
    """Return a duration in one or two units: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if 0 < seconds < 0.05:
        return "under 0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def perplexity(value: float) -> str:
    """Return a perplexity to about four digits: 86.72, 208.3, 33,278."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite"
    if value >= 1e9:
        return f"{value:.2e}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def size(count: int) -> str:
    """Return a number of bytes: 640 bytes, 12.3 kB, 812 MB, 1.5 GB."""
    if count < 1000:
        return f"{count} bytes"
    power = min(int(math.log10(count)) // 3, 4)
    value = count / 1000**power
    return f"{value:.0f} {_UNITS[power]}" if value >= 100 else f"{value:.1f} {_UNITS[power]}"
