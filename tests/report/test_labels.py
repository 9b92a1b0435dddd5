"""Names with dollar signs, and letters that no font has, break no figure and warn of nothing."""

import pytest

from bumpfit.report.style import panels, png


@pytest.mark.parametrize(
    "name", ["a$b", "cost $5 and $6_", r"$\\frac{$", "$x^2$", "$$", r"$\\nothing$", "质量 😀", "$x^质$"]
)
def test_any_name_is_drawn(name: str) -> None:
    figure, (axis,) = panels()
    axis.set_xlabel(name)
    axis.plot([0, 1], [0, 1], label=name)
    axis.legend()
    axis.set_yticks([0.2, 0.8], [name, "b"])
    assert png(figure).startswith(b"\x89PNG")
