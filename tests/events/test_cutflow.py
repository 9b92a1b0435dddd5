import numpy as np
import pytest
import uproot

from bumpfit import events
from bumpfit.errors import InputError
from bumpfit.events import cutflow
from bumpfit.events.source import Source

CUTS = {"two jets": "jet.size > 1", "hard": "jet0.pt > 60", "apart": "jet0,jet1.delta_r > 1.5"}


@pytest.fixture(scope="module")
def source(flat: str) -> Source:
    return events.open([flat] * 3)


def test_counts_by_hand(source: Source) -> None:
    flow = cutflow.cutflow(source, CUTS)
    masks = [events.mask(cut, source) for cut in CUTS.values()]
    kept = np.ones(len(source), bool)
    for step, passed in zip(flow.steps, masks, strict=True):
        before = kept.sum()
        kept = kept & passed
        assert (step.events, step.weighted, step.error) == (kept.sum(), kept.sum(), pytest.approx(np.sqrt(kept.sum())))
        assert step.efficiency == pytest.approx(kept.sum() / before)
        assert step.total_efficiency == pytest.approx(kept.sum() / len(source))
    for place, step in enumerate(flow.steps):
        rest = np.logical_and.reduce([m for other, m in enumerate(masks) if other != place])
        assert step.others == rest.sum() and step.alone == pytest.approx(kept.sum() / rest.sum())
    assert flow.events == 1200 and flow.scale == "one"
    assert flow.bars()[0] == ["all", *CUTS] and flow.bars()[1][0] == 1200


def test_weights_and_cross_section(source: Source, flat: str) -> None:
    met = np.tile(uproot.open(flat)["Delphes"]["MissingET.MET"].array().to_numpy().ravel(), 3).astype(float)
    flow = cutflow.cutflow(source, CUTS, weights="met0.met", cross_section=2.0, luminosity=3.0)
    passed = events.mask(CUTS["two jets"], source)
    scale = 2.0 * 3.0 * 1000 / met.sum()
    assert flow.weighted == pytest.approx(6000)
    assert flow.steps[0].weighted == pytest.approx(met[passed].sum() * scale)
    assert flow.steps[0].error == pytest.approx(np.sqrt((met[passed] ** 2).sum()) * scale)
    assert "event weights" in flow.scale and "2 pb x 3 fb^-1" in flow.scale
    same = cutflow.cutflow(source, CUTS, weights=met, cross_section=2.0, luminosity=3.0)
    assert [step.weighted for step in same.steps] == pytest.approx([step.weighted for step in flow.steps])


def test_tables(source: Source, flat: str) -> None:
    a, b = cutflow.cutflow(source, CUTS, name="signal"), cutflow.cutflow(flat, CUTS, name="back<ground")
    lines = cutflow.text([a, b]).split("\n")
    assert len({len(line) for line in lines}) == 1 and len(lines) == 6
    assert lines[0].split("  ")[0] == "cut" and "signal: events" in lines[0]
    assert str(a.steps[1].events) in lines[4] and f"{100 * a.steps[1].efficiency:.2f} %" in lines[4]
    page = cutflow.html([a, b])
    assert page.count("<tr>") == 5 and "back&lt;ground" in page and "<ground" not in page
    others = cutflow.text(a, n_minus_1=True)
    assert str(a.steps[0].others) in others and len(others.split("\n")) == 5
    weighted = cutflow.text(cutflow.cutflow(flat, CUTS, weights="met0.met"))
    assert "+-" in weighted


def test_one_sentence_is_one_cut(flat: str) -> None:
    flow = cutflow.cutflow(flat, "jet.size > 1", weights=0.5)
    assert [step.cut for step in flow.steps] == ["jet.size > 1"]
    assert flow.steps[0].weighted == 0.5 * events.mask("jet.size > 1", flat).sum() == 0.5 * flow.steps[0].events


def test_nothing_left(flat: str) -> None:
    flow = cutflow.cutflow(flat, ["jet0.pt > 1e9", "jet.size > 0"])
    assert flow.steps[0].events == 0 and flow.steps[1].efficiency is None
    assert "-" in cutflow.text(flow)


def test_a_sum_of_weights_that_is_negative_has_no_fractions() -> None:
    table = {"pt": [1.0, 2.0, 3.0, 4.0, 5.0], "w": [2.5, -2.0, 0.5, -1.0, 1.5]}
    flow = cutflow.cutflow(table, ["pt > 1", "pt > 3", "pt > 4"], weights="w")
    assert [step.weighted for step in flow.steps] == [-1.0, 0.5, 1.5]
    assert [step.error for step in flow.steps] == pytest.approx(np.sqrt([7.5, 3.25, 2.25]))
    assert [step.efficiency for step in flow.steps] == [pytest.approx(-1 / 1.5), None, 3.0]
    assert [step.total_efficiency for step in flow.steps] == pytest.approx([-1 / 1.5, 1 / 3, 1.0])
    negative = cutflow.cutflow({"pt": [1.0, 2.0, 3.0], "w": [1.0, -2.0, 0.5]}, ["pt > 1"], weights="w")
    assert negative.weighted == -0.5 and "%" not in cutflow.text(negative)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cuts": []}, "at least one cut"),
        ({"cross_section": 1.0}, "needed together"),
        ({"cross_section": 1.0, "luminosity": -1.0}, "the luminosity is -1.0; expected a positive number"),
        ({"cross_section": float("nan"), "luminosity": 1.0}, "the cross-section is nan"),
        ({"weights": "jet.pt"}, "is a list in every event"),
        ({"weights": "jet0.eta"}, "weights are not finite"),
        ({"weights": np.full(400, np.nan)}, "400 of 400 weights"),
        ({"weights": ["a"]}, "the weights are no numbers"),
        ({"cuts": ["jet.size > 1", "jet.size > 1"]}, "given twice"),
        ({"weights": np.ones(3)}, r"shape \(3,\); expected one for each of 400"),
    ],
)
def test_wrong_use(flat: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cutflow.cutflow(flat, **{"cuts": ["jet.size > 1"], **options})  # type: ignore[arg-type]


def test_tables_of_different_cuts(flat: str) -> None:
    a, b = (cutflow.cutflow(flat, [cut]) for cut in ("jet.size > 1", "jet.size > 2"))
    with pytest.raises(InputError, match="cut differently"):
        cutflow.text([a, b])
    with pytest.raises(InputError, match="no cut flow"):
        cutflow.html([])
