"""Figures for pages: vectors that hold nothing else, pixels where they are many, and words."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from bumpfit.errors import InputError
from bumpfit.histograms import from_counts
from bumpfit.report import embedded, pictures, vector
from bumpfit.report.profiles import plain_text
from bumpfit.report.spoken import spoken, words
from bumpfit.report.style import band, panels, pulls, style

COUNTS = from_counts(np.linspace(100.0, 200.0, 11), np.array([4.0, 9, 16, 25, 36, 25, 16, 9, 4, 1]), name="m_JJ")


def scattered(points: int) -> Figure:
    with style():
        figure, (axis,) = panels()
        axis.plot(np.arange(points), np.sin(np.arange(points)), "o", label="all")
    return figure


def test_vectors_stand_alone_and_beside_others() -> None:
    """XML that is valid by itself; every id is used, begins with the figure's name, and is in no other figure."""
    figure = pictures.plot(COUNTS)
    both = [vector.svg(figure, name) for name in ("first", "second")]
    assert vector.svg(figure, "first") == both[0]
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in both]
    assert ids[0] and not ids[0] & ids[1] and all(one.startswith("first-") for one in ids[0])
    for text, known in zip(both, ids, strict=True):
        ElementTree.fromstring(text)
        assert set(re.findall(r'(?:url\(|href=")#([\w-]+)', text)) == known
        assert "://" not in text.replace(vector.NAMESPACE, "") and "<!" not in text and "<?" not in text


@pytest.mark.parametrize(
    "part",
    [
        '<script>alert(1)</script>', '<a href="https://x.y"><path d="M 0 0"/></a>', '<image href="https://x.y/z.png"/>',
        '<use href="https://x.y/z.svg#a"/>', '<path d="M 0 0" onclick="alert(1)"/>', "<style>@import 'x'</style>",
        '<path d="M 0 0" style="fill: url(https://x.y#a)"/>', '<path style="background: url(//x.y); behavior: x"/>',
        '<foreignObject><p>alert</p></foreignObject>', '<image href="data:image/svg+xml;base64,AAAA"/>',
        '<path d="M 0 0" fill="url(https://x.y#a)"/>',
        '<g clip-path="url(https://x.y#a)"><path d="M 0 0"/></g>', '<animate href="#a" onbegin="alert(1)"/>',
    ],
)  # fmt: skip
def test_nothing_that_runs_or_is_fetched_comes_through(part: str) -> None:
    kept = vector.clean(f'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(2)">{part}</svg>', "f")
    kept = kept.replace(vector.NAMESPACE, "")
    assert not re.search(r"alert|x\.y|script|import|on\w+=|svg\+xml", kept), kept


def test_a_hatched_band_lets_through_what_is_behind() -> None:
    with style():
        figure, (axis,) = panels()
        band(axis, np.zeros(2), np.ones(2), np.arange(3.0))
    pattern = re.search(r"<pattern.*?</pattern>", vector.svg(figure, "f"))
    assert pattern is not None and 'fill="none"' in pattern[0] and "stroke:#6b6b6b" in pattern[0]


def test_many_points_are_pixels_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (vector.svg(scattered(n), "f") for n in (vector.MANY, vector.MANY + 1))
    assert "data:image/png" not in few and "data:image/png" in many and len(many) < len(few) < vector.LARGEST
    monkeypatch.setattr(embedded, "LARGEST", 1000)
    assert embedded.embedded("f", scattered(5), "c").vector == ""


def test_hostile_labels_are_outlines() -> None:
    with style():
        figure, (axis,) = panels()
        axis.set_xlabel('</svg><script>alert("1")</script> & ]]>')
    text = vector.svg(figure, "</svg>")
    ElementTree.fromstring(text)
    assert "script" not in text and "alert" not in text and text.count("</svg>") == 1


@pytest.mark.parametrize("name", ["a\x01b", "a\0", "a\ufffe", "a\ud800"])
def test_names_with_characters_that_no_xml_holds(name: str) -> None:
    with style():
        figure, (axis,) = panels()
        axis.set_xlabel(name.replace("\ud800", ""))
        axis.set_ylabel(plain_text(name))
    ElementTree.fromstring(vector.svg(figure, "f"))
    assert not re.search("[\x00-\x1f\ud800]", spoken(figure))


def test_files(tmp_path: Path) -> None:
    made = embedded.embedded("one", pictures.plot(COUNTS), "Counts.")
    written = embedded.write([made], tmp_path)
    assert [path.name for path in written] == ["one.png", "one.svg"] and all(path.is_file() for path in written)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        embedded.write([made], tmp_path / "file")


def test_words_say_the_numbers_that_are_drawn() -> None:
    said = spoken(pictures.plot(COUNTS))
    assert "m_JJ from 100 to 200" in said and "10 points from 1 (at 195) to 36 (at 145)" in said
    assert "all: 30 points from −1 (at 11) to 0.991 (at 14)" in spoken(scattered(30))
    assert words(r"$\Delta m_{J}$ of \$5") == "Δ m_J of $5"


def test_words_of_bands_and_panels_with_guides() -> None:
    with style():
        figure, (upper, lower) = panels((2.0, 1.0))
        band(upper, np.array([8.0, 18.0]), np.array([12.0, 24.0]), np.arange(3.0), label="Uncertainty")
        pulls(lower, np.array([-1.5, 0.5]), np.arange(3.0))
    said = spoken(figure)
    assert "Uncertainty: upper less lower edge 4 at 0.5, 6 at 1.5" in said
    assert "−1.5 at 0.5, 0.5 at 1.5" in said
    lower.clear()
    lower.plot([0.5, 0.7], [0, 1], "o")
    lower.set_yticks([0, 1], ["jes", "lumi"])
    assert "jes 0.5, lumi 0.7" in spoken(figure)


def test_words_of_steps_that_stand_on_nothing() -> None:
    figure, (axis,) = panels()
    axis.stairs([0.9, 1.2], [0.0, 1.0, 2.0], baseline=None, label="jes")
    assert spoken(figure) == "jes: 0.9 at 0.5, 1.2 at 1.5."


def test_rounding_is_not_told_and_places_keep_their_distance() -> None:
    with style():
        figure, (axis,) = panels()
        axis.barh([0, 1, 2], [5.9, -3e-15, -6.2], label="up")
        axis.set_yticks([0, 1, 2], ["jes", "lumi", "xs"])
    assert "up: jes 5.9, lumi 0, xs −6.2" in spoken(figure)
    with style():
        figure, (axis,) = panels()
        axis.plot([1e-14, 0.5], [1e-14, 0.25], "o")
        axis.set_yscale("log")
        axis.set_xticks([0.0, 0.1, 0.2], ["a", "b", "c"])
    said = spoken(figure)
    assert "1 × 10^−14 at a, 0.25 at 0.5" in said  # a logarithmic axis shows it; 0.5 is no place of a name


def test_bars_that_do_not_stand_on_zero_tell_both_ends() -> None:
    with style():
        figure, (axis,) = panels()
        axis.barh([0, 1], [4.0, 2.5], left=[1.0, 2.0], label="band")
        axis.set_yticks([0, 1], ["SR", "CR"])
    assert "band: SR 1 to 5, CR 2 to 4.5" in spoken(figure)
    with style():
        figure, (axis,) = panels()
        axis.bar([0.5, 1.5], [4.0, -1.0], bottom=[1.0, 5.0], label="top")
    assert "top: 1 to 5 at 0.5, 4 to 5 at 1.5" in spoken(figure)


def test_names_that_differ_in_signs_have_ids_of_their_own() -> None:
    figure = pictures.plot(COUNTS)
    found = [set(re.findall(r'id="([^"]+)"', vector.svg(figure, name))) for name in ("a-b", "a_b", "a b", "a_2d_b")]
    assert all(found) and len(set.union(*found)) == sum(map(len, found))


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_ticks_that_were_chosen_are_no_names(scale: str) -> None:
    """A point between two ticks is told by its own number, not by that of the nearest tick."""
    figure = Figure()
    axis = figure.subplots()
    axis.plot([3400.0, 3490.0, 3590.0], [0.09356, 0.0021, 0.1335], label="p")
    axis.set_yscale(scale)
    axis.set_yticks([0.001, 0.01, 0.1])
    axis.set_ylim(0.001, 1.0)
    axis.set_ylabel("Local $p$")
    assert spoken(figure) == "Local p from 0.001 to 1. p: 0.0936 at 3400, 0.0021 at 3490, 0.134 at 3590."
