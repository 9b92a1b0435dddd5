"""Numbers as a physics note writes them: errors to two digits, small probabilities in powers of ten.

The texts carry `^{...}` for superscripts, which `bumpfit.report.document` turns into the form of the page.
"""

from __future__ import annotations

import math

from bumpfit.normal import SMALLEST

MINUS = "−"
ERROR_DIGITS = 2


def decimals(error: float, digits: int = ERROR_DIGITS) -> int:
    """Decimal places with which `error` shows `digits` digits; negative for tens, hundreds and so on."""
    if not math.isfinite(error) or error <= 0:
        return 0
    places = digits - 1 - math.floor(math.log10(error))
    # 0.0996 becomes 0.10, not 0.100
    return places - 1 if round(error, places) >= 10.0 ** (digits - places) else places


def rounded(value: float, places: int) -> str:
    """`value` with so many decimal places (negative: rounded to tens, hundreds ...)."""
    if not math.isfinite(value):
        return "—" if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")
    text = f"{round(value, places) + 0.0:.{max(places, 0)}f}"
    return text.replace("-", MINUS)


def measured(value: float, error: float, unit: str = "") -> str:
    """Value ± error with the error to two digits, as `3502 ± 36 GeV`.

    Examples:
        >>> from bumpfit.report.rounding import measured
        >>> measured(3502.3, 36.4, "GeV")
        '3502 ± 36 GeV'
    """
    places = decimals(error)
    return f"{rounded(value, places)} ± {rounded(error, places)}{unit and ' ' + unit}"


def interval(value: float, down: float, up: float, unit: str = "") -> str:
    """Value with a two-sided error, `640 +81 −75`; one ± where both round to the same."""
    errors = [e for e in (down, up) if math.isfinite(e) and e > 0]
    places = decimals(min(errors)) if errors else 0
    low, high = rounded(down, places), rounded(up, places)
    errors_text = f"± {high}" if low == high else f"+{high} {MINUS}{low}"
    return f"{rounded(value, places)} {errors_text}{unit and ' ' + unit}"


def significant(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; powers of ten outside of 10^-3 .. 10^6; a dash for None."""
    if value is None:
        return "—"
    if not math.isfinite(value) or value == 0:
        return rounded(value, 0)
    if 1e-3 <= abs(value) < 1e6:
        return rounded(value, decimals(abs(value), digits))
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa} × 10^{{{int(exponent)}}}".replace("-", MINUS)


def probability(p: float | None) -> str:
    """A p-value with two digits; a value below the range of floating-point numbers becomes a bound."""
    if p is None:
        return "—"
    return significant(p, 2) if p > SMALLEST else f"< 10^{{{MINUS}300}}"


def z_value(z: float | None) -> str:
    """A significance with two decimals; `> 37` where the p-value is below the range of floating-point numbers."""
    if z is None:
        return "—"
    return "> 37" if z == math.inf else rounded(z, 2)


def relation(symbol: str, text: str, sign: str = "=") -> str:
    """`p = 0.02`; a text that is a bound itself keeps its own sign, as in `p < 10^{-300}`."""
    return f"{symbol} {text}" if text[:1] in "<>" else f"{symbol} {sign} {text}"


def count(number: float) -> str:
    """A number of events with narrow no-break spaces between thousands."""
    return f"{round(number):,}".replace(",", "\u202f").replace("-", MINUS)
