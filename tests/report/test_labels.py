"""Names with dollar signs break no figure."""

import pytest

from bumpfit.report.style import panels, png


@pytest.mark.parametrize("name", ["a$b", "cost $5 and $6_", r"$\\frac{$", "$x^2$", "$$", r"$\\nothing$"])
def test_any_name_is_drawn(name: str) -> None:
    figure, (axis,) = panels()
    axis.set_xlabel(name)
    axis.plot([0, 1], [0, 1], label=name)
    axis.legend()
    assert png(figure).startswith(b"\x89PNG")
