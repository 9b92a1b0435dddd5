"""The report of a search: every variant of findings, both formats, and what must never be said."""

import dataclasses
import functools
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from findings_examples import NO_SIDEBANDS, claimed, events, nothing, spectrum, spectrum_only

from browser import Chromium, is_well_made
from bumpfit.errors import InputError
from bumpfit.pages import search as present
from bumpfit.pages import search_drawings as drawings
from bumpfit.pages import search_story as story
from bumpfit.pages.answers import Check, PValue, Searched, Told
from bumpfit.pages.search_command import command
from bumpfit.pages.search_story import bound
from bumpfit.report import html, markdown
from bumpfit.report.document import Document, Gallery, Items, Picture, Table
from bumpfit.search.config import SearchConfig, config_toml, read_config
from bumpfit.search.describe import peak_masses
from bumpfit.search.findings import Step
from bumpfit.search.surrogate import signal_like

TINY = bytes.fromhex("89504e470d0a1a0a")


def tiny(name: str, figure: object, caption: str) -> Picture:
    return Picture(name, caption, f"figures/{name}.png", TINY)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw, but do not rasterise."""
    monkeypatch.setattr(drawings, "embedded", tiny)


class Page(HTMLParser):
    """Counts open elements and collects text, references and addresses."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if "id" in values:
            assert values["id"] not in self.ids
            self.ids.add(str(values["id"]))
        if "href" in values:
            self.links.append(str(values["href"]))
        if "src" in values:
            self.sources.append(str(values["src"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def read_page(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def differing() -> Told:
    """An excess that a decisive check forbids to call a resonance."""
    found = claimed(data_path="/home/somebody/data.csv")
    answers = dataclasses.replace(
        found.answers, verdict="difference", claim=False, resonance_mass=None, daughter_masses=None, decay=None,
        checks=(Check("the tables are equal where no signal can be", False, "m_J1 differs by 5%", True),),
    )  # fmt: skip
    return dataclasses.replace(found, answers=answers, verdict="difference", particles=())


VARIANTS = {
    "claimed": claimed,
    "windows": lambda: claimed(windows=6, share=0.8),
    "nothing": nothing,
    "spectrum only": spectrum_only,
    "spectrum claim": lambda: spectrum_only(claim=True),
    "first only": lambda: dataclasses.replace(claimed(), updated=None),
    "claim without jets": lambda: dataclasses.replace(claimed(), first=None, updated=None),
    "difference": lambda: differing(),
    "no spectra": lambda: dataclasses.replace(nothing(), spectra=()),
    "few figures": lambda: dataclasses.replace(claimed(), config=dataclasses.replace(SearchConfig(), figures="few")),
}


@functools.cache
def drawn(variant: str) -> Document:
    """The document of a variant, made once without rasterising."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings, "embedded", tiny)
        return present.document(VARIANTS[variant]())


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_formats_are_whole_in_every_variant(variant: str) -> None:
    document = drawn(variant)
    page = read_page(html.render(document))
    assert {link.removeprefix("#") for link in page.links} <= page.ids
    assert all(link.startswith("#") for link in page.links)
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert len(page.sources) == len(document.pictures()) > 0
    assert not {"link", "iframe", "object"} & page.tags and html.render(document).count("<script") == 1
    text = "".join(page.text)
    assert "nan" not in re.sub(r"[a-z]+nan|nan[a-z]+", "", text.lower())
    assert "None" not in text.replace("None: this search ends", "")
    assert not re.search(r"[{}]|\*\*", text.split("Provenance")[0])
    source = markdown.render(document)
    assert source.count("![") == len(document.pictures())
    for block in re.findall(r"(?:^\|.*\n)+", source, flags=re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.strip().split("\n")}
        assert len(widths) == 1


def test_few_figures_are_those_of_the_answer() -> None:
    few, whole = ({picture.name for picture in drawn(variant).pictures()} for variant in ("few figures", "claimed"))
    assert few < whole and len(few) <= 0.6 * len(whole)
    assert {"input_m_JJ", "mass_resonance_updated", "mass_light_updated", "mass_heavy_updated", "selections"} <= few
    assert not any(name.endswith("_first") for name in few)


def test_written_files(tmp_path: Path) -> None:
    """Everything that is named is there, the page holds the figures themselves, and nothing temporary is left."""
    found = nothing()
    written = present.write(found, tmp_path)
    there = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert there == set(written)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    linked = {tmp_path / name for name in re.findall(r"!\[.*?\]\((.*?)\)", text)}
    assert linked == {path for path in written if path.suffix == ".png"}
    for path in linked:
        assert path.read_bytes().startswith(TINY)
        assert path.with_suffix(".svg").read_text().startswith("<svg xmlns=")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\((?!#)", page)
    assert page.count('<svg role="img" aria-label="') == len(linked)
    read_page(page)  # every id once
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


@pytest.mark.usefixtures("quick")
def test_same_findings_give_the_same_pages() -> None:
    pages = [html.render(present.document(spectrum_only())) for _ in range(2)]
    assert pages[0] == pages[1]


def test_figures_are_the_same_bytes_again() -> None:
    found = claimed()
    assert drawings.selections(found).content == drawings.selections(found).content


@pytest.mark.parametrize(("preference", "prongs"), [(30.0, 2), (-30.0, 3), (1.0, None)])
def test_the_drawn_signal_is_of_the_kind_that_is_decided(
    preference: float, prongs: int | None, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of the signal-like events count, and events of the other kind of decay are not drawn."""
    drawn: list[np.ndarray] = []

    def figure(*_: object, signal: np.ndarray, **__: object) -> None:
        drawn.append(signal)

    monkeypatch.setattr(drawings, "data_and_background", figure)
    final = claimed().updated
    assert final is not None and final.yield_fit is not None
    assert final.template_scores is not None and final.span is not None
    like = signal_like(peak_masses(final.peaks)).inside(*final.span)
    scores = dataclasses.replace(final.template_scores, signal=np.where(like.prongs == 2, 1.0, -1.0))
    fitted = dataclasses.replace(final.yield_fit, two_prong_preference=preference)
    picture = drawings.template_distribution(dataclasses.replace(final, template_scores=scores, yield_fit=fitted))
    of_two = {2: 1.0, 3: 0.0, None: float(like.weights[like.prongs == 2].sum())}[prongs]
    seen = drawn[0][drawn[0] > 0]
    assert seen.sum() == pytest.approx(fitted.n_signal * fitted.share)
    assert len(seen) == (2 if prongs is None else 1)
    assert seen[-1] == pytest.approx((of_two or 1.0) * seen.sum())
    assert ("prong" in picture.caption) == (prongs is not None)


def test_output_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawings, "embedded", tiny)
    place = tmp_path / "out"
    place.write_text("here already")
    with pytest.raises(InputError):
        present.write(spectrum_only(), place)
    assert place.read_text() == "here already"


def test_claim_states_every_answer() -> None:
    text = markdown.render(drawn("claimed"))
    for part in (
        "New physics is claimed",
        "p = 5.0 × 10<sup>−12</sup>",
        "Z = 6.80",
        "tilted permutations",
        "2990 ± 33 GeV",
        "201.4 ± 2.3 GeV",
        "398.2 ± 4.4 GeV",
        "310 +82 −46",
        "494",
        "B (398 GeV) + C (201 GeV)",
        "`data.csv`",
        "ab" * 32,
        "seed 7",
        "✗ failed",
        "yield \\| limit",
    ):
        assert part in text, part


def test_no_claim_quotes_no_masses() -> None:
    text = markdown.render(drawn("nothing"))
    assert "No new physics is claimed" in text
    assert "**\\< 66**" in text
    assert "Resonance mass" not in text
    assert "Daughter mass" not in text
    assert NO_SIDEBANDS in text
    assert "p = 0.40" in text


@pytest.mark.parametrize(("z", "told"), [(3.44, True), (2.9, False)])
def test_a_cross_check_that_would_be_a_claim_is_in_the_answer(z: float, told: bool) -> None:
    step = Step("cross-check", {"z_global": 0.2}, {"z_global": z})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings, "embedded", tiny)
        text = markdown.render(present.document(dataclasses.replace(nothing(), steps=(step,))))
    assert ("another approach gives Z = 3.44 by itself" in text) is told


@pytest.mark.parametrize("given", [False, True])
def test_a_limit_names_the_masses_that_were_searched(given: bool) -> None:
    """A peak below the range that a dijet function follows is neither seen nor limited: the headline says so."""
    found = spectrum_only()
    answers = dataclasses.replace(found.answers, searched=Searched(3249.0, 5987.0, 37815, 10, given))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings, "embedded", tiny)
        text = markdown.render(present.document(dataclasses.replace(found, answers=answers)))
    assert "No new physics is claimed between 3249 and 5987 GeV" in text
    assert "95% confidence level, for masses from 3249 to 5987 GeV" in text
    assert "37 815 of 3 000 events lie below and 10 above" in text.replace("\u202f", " ")
    assert ("a peak so close to that edge" in text) is not given


def test_failed_sidebands_are_said_once_among_the_limitations() -> None:
    lists = [block for block in drawn("nothing").blocks if isinstance(block, Items)]
    assert sum(NO_SIDEBANDS in entry for entry in lists[0].entries) == 1


def test_spectra_that_are_fitted_with_the_background_table_are_said_to_be() -> None:
    found = claimed()
    spectra = tuple(dataclasses.replace(s, table=np.full(len(s.counts), 20.0)) for s in found.spectra)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings, "embedded", tiny)
        joint = markdown.render(present.document(dataclasses.replace(found, spectra=spectra)))
    told, alone = "data and background table are fitted together", "does not use the background table"
    assert told in joint and alone not in joint
    assert "to data and table added up" in joint and "fitted without signal" not in joint
    assert "with sidebands the mass spectrum becomes a second test" in joint
    apart = markdown.render(drawn("claimed"))
    assert alone in apart and told not in apart and "fitted without signal" in apart


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (PValue(1e-9, 5e-9, 6.0, 5.7, "global by union bound", 5e-5, 5, 1000), ("p < 5.0 × 10^{−9}", "Z > 5.70")),
        (PValue(0.3, 1.0, 0.5, -np.inf, "global by union bound", 5e-5, 5, 1000), ("p = 1.0", "Z = −∞")),
        (PValue(0.01, 0.04, 2.3, 1.75, "tilted permutations", 0.0, 5, 1000, 1e-3), ("p = 0.040", "Z = 1.75")),
        (PValue(0.02, 0.02, 2.05, 2.05, "exact law", 0.0, 1, 0), ("p = 0.020", "Z = 2.05")),
        (PValue(0.0, 0.0, np.inf, np.inf, "exact law", 0.0, 1, 0), ("p < 10^{−300}", "Z > 37")),
    ],
)
def test_p_values_at_a_bound(p: PValue, expected: tuple[str, str]) -> None:
    assert bound(p) == expected


def test_p_value_is_never_zero() -> None:
    found = claimed()
    p = dataclasses.replace(found.answers.p_value, local=0.0, overall=0.0, z_local=np.inf, z_global=np.inf)
    found = dataclasses.replace(found, answers=dataclasses.replace(found.answers, p_value=p))
    text = markdown.render(Document("", "", tuple(story.answer(found))))
    assert "p = 0 " not in text
    assert "p = 0." not in text.split("How to read")[0]
    assert "Z \\> 37" in text


@pytest.mark.usefixtures("quick")
def test_hostile_names_stay_text() -> None:
    names = ("<b>m_J1</b>", "$x$_{y}", "a|b*c", "tau")
    path = "<script>alert(1)<b>|`x`.csv"
    found = claimed(data_path=path)
    found = dataclasses.replace(
        found, data=events(500, 1, names=names, path=path), background=events(400, 2, names=names, path="b.csv")
    )
    found = dataclasses.replace(
        found, scores=dataclasses.replace(found.scores, survival=np.linspace(1e-3, 1, 500)), first=None, updated=None
    )
    document = present.document(found)
    page = read_page(html.render(document))
    assert "b>m_j1<" not in page.tags and html.render(document).count("<script") == 1
    text = "".join(page.text)
    assert "<script>alert(1)<b>|'x'.csv" in text
    assert all(name in text for name in names)
    paths = {Path(picture.path).name for picture in document.pictures()}
    assert all(re.fullmatch(r"[\w-]+\.png", name) for name in paths)


@pytest.mark.usefixtures("quick")
def test_names_of_figures_do_not_collide() -> None:
    """Features whose names differ only in characters that files cannot have get figures of their own."""
    found = dataclasses.replace(
        spectrum_only(), data=events(300, 1, names=("x y", "x/y", "x.y", "X y")), spectra=(spectrum(1, usable=False),)
    )
    pictures = drawings.inputs(found)
    assert len({picture.path.lower() for picture in pictures}) == len(pictures) == 5


@pytest.mark.usefixtures("quick")
def test_constant_feature_and_empty_scores_are_drawn() -> None:
    found = claimed()
    flat = found.data.features.copy()
    flat[:, 2] = 0.5
    found = dataclasses.replace(
        found,
        data=dataclasses.replace(found.data, features=flat),
        background=dataclasses.replace(found.background, features=flat[:2000]),
        scores=dataclasses.replace(found.scores, survival=np.ones(3000), background_survival=np.ones(2000)),
    )
    assert drawings.inputs(found)
    assert drawings.score(found).name == "score"


def test_long_tables_of_selections_are_cut_and_hold_the_best() -> None:
    table = next(b for b in drawn("windows").blocks if isinstance(b, Table) and b.name == "selection_table")
    assert len(table.rows) == 20
    assert table.rows[table.strong[0]][4] == "1.0 × 10^{−12}"


def test_mass_fits_stand_side_by_side() -> None:
    galleries = [b for b in drawn("claimed").blocks if isinstance(b, Gallery)]
    names = [p.name for g in galleries for p in g.pictures if p.name.startswith("mass_")]
    assert names[:3] == ["mass_resonance_updated", "mass_resonance_first", "mass_light_first"]
    assert len(names) == len(set(names)) == 6


def test_settings_come_back_from_the_report(tmp_path: Path) -> None:
    for config in (SearchConfig(), SearchConfig().quick(), SearchConfig(efficiencies=(0.2,), claim_z=5.0)):
        path = tmp_path / "search.toml"
        path.write_text(config_toml(config))
        assert read_config(path) == config


def test_command_repeats_the_search() -> None:
    words = shlex.split(command(claimed(data_path="my data.csv")))
    assert words[:5] == ["bumpfit", "run", "my data.csv", "--background", "background.csv"]
    assert words[words.index("--seed") + 1] == "7"
    assert words[words.index("--iterations") + 1] == "2"
    assert "--mass" not in words
    assert "--drop-bad" not in words
    dropped = dataclasses.replace(claimed().data, dropped=np.array([3]))
    assert "--drop-bad" in command(dataclasses.replace(claimed(), data=dropped))
    renamed = dataclasses.replace(claimed().data, mass_name="mass", names=("a", "b", "c", "d"))
    words = shlex.split(command(dataclasses.replace(claimed(), data=renamed)))
    assert words[words.index("--mass") + 1] == "mass"
    assert words[words.index("--features") + 1] == "a,b,c,d"
    assert command(claimed(data_path=None)).startswith("bumpfit.run(data, background, ")


def test_title_and_sections() -> None:
    numbers = drawn("claimed").numbers()
    assert numbers["answer"] == "Section 1"
    assert numbers["provenance"] == "Section 10"


def test_a_difference_quotes_no_particle_and_no_folder() -> None:
    text = markdown.render(drawn("difference"))
    assert "not like a resonance" in text and "m_J1 differs by 5%" in text
    assert "2990" not in text and "New physics is claimed" not in text and "310" not in text.split("Provenance")[0]
    assert "/home/somebody" not in text and "`data.csv`" in text


def test_words_that_contradict_the_evidence_are_not_there() -> None:
    for variant in VARIANTS:
        text = markdown.render(drawn(variant))
        assert "agree with the background" not in text
        assert "+-" not in text.split("Provenance")[0]
        assert "deeper insight" in text


def test_in_a_browser(chromium: Chromium, tmp_path: Path) -> None:
    document = present.document(VARIANTS["few figures"]())
    (tmp_path / "report.html").write_text(html.render(document))
    seen = chromium.see(tmp_path / "report.html")
    is_well_made(seen, len(document.pictures()))
    assert len(seen.tables) > 2
    bare = chromium.see(tmp_path / "report.html", scripts=False)
    assert bare.messages == [] and bare.facts == seen.facts
