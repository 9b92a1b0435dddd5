"""`bumpfit bumphunter`."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, refused

from bumpfit import inference

# the histograms of pyBumpHunter's example (data/data.root, 60 bins from 0 to 20)
DATA = [
    15133, 13122, 11053, 9347, 7862, 6678, 5629, 4645, 4125, 3404, 2916, 2509, 2028, 1818, 1510, 1268, 1121, 950, 771,
    667, 513, 488, 398, 324, 267, 231, 222, 183, 153, 132, 101, 82, 79, 60, 59, 44, 41, 35, 43, 22, 19, 19, 15, 6, 8, 6,
    9, 5, 5, 3, 2, 4, 2, 5, 3, 0, 1, 1, 1, 0,
]  # fmt: skip
BACKGROUND = [
    15394, 13137, 11006, 9232, 7911, 6636, 5661, 4729, 4024, 3412, 2788, 2551, 2108, 1789, 1474, 1264, 1078, 894, 705,
    624, 552, 495, 394, 322, 275, 239, 178, 189, 151, 133, 100, 66, 69, 65, 47, 38, 43, 35, 32, 25, 19, 19, 23, 13, 10,
    8, 5, 7, 5, 5, 3, 4, 1, 1, 2, 1, 1, 3, 0, 1,
]  # fmt: skip
EDGES = np.linspace(0.0, 20.0, 61)
WIDTHS = ("--narrowest", "2", "--widest", "6")


def uhi(counts: list[int]) -> dict[str, object]:
    axis = {"type": "regular", "lower": 0.0, "upper": 20.0, "bins": 60, "underflow": False, "overflow": False,
            "circular": False}  # fmt: skip
    return {"uhi_schema": 1, "axes": [axis], "storage": {"type": "double", "values": counts}}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = zip(EDGES[:-1], EDGES[1:], DATA, BACKGROUND, strict=True)
    table = "low,high,data,background\n" + "\n".join(",".join(map(repr, map(float, row))) for row in rows)
    (tmp_path / "pair.csv").write_text(table.replace("data,background", "count,events"))
    (tmp_path / "pair.json").write_text(json.dumps({"data": uhi(DATA), "bkg": uhi(BACKGROUND)}))
    return tmp_path


def test_the_published_example_in_one_command(bumpfit: Run, files: Path) -> None:
    """pyBumpHunter, example/results/1D/results.txt: local 0.00017341, global 0.0177 of 10000 toys, 208 events."""
    figure = files / "window.png"
    found = bumpfit(
        "bumphunter", files / "pair.json:data", files / "pair.json:bkg", *WIDTHS, "--json", "--figure", figure
    ).json
    assert found["p_local"] == pytest.approx(0.00017341067835451395, rel=1e-9)
    assert found["t"] == pytest.approx(8.659847913307976, rel=1e-12)
    assert found["z_local"] == pytest.approx(3.57756, abs=1e-5)
    assert (found["low"], found["high"], found["bins"]) == (pytest.approx(16 / 3), pytest.approx(20 / 3), 4)
    assert found["data"] - found["background"] == 208.0
    assert abs(found["p"] - 0.0177) < 3 * np.hypot(np.sqrt(0.0177 / 10_000), found["error"])
    assert figure.exists()
    direct = inference.bump_hunter((DATA, EDGES), (BACKGROUND, EDGES), narrowest=2, widest=6, toys=100_000)
    assert found["p"] == direct.p and found["exceeding"] == direct.exceeding


def test_histograms_of_every_form_are_the_same_pair(bumpfit: Run, files: Path) -> None:
    uproot = pytest.importorskip("uproot")
    counts = {"data": np.array(DATA, dtype=float), "bkg": np.array(BACKGROUND, dtype=float)}
    with uproot.recreate(files / "pair.root") as file:
        for name, values in counts.items():
            file[f"SR/{name}"] = (values, EDGES)
    centres = 0.5 * (EDGES[1:] + EDGES[:-1])
    for name, values in counts.items():
        events = np.repeat(centres, values.astype(int))
        (files / f"{name}.csv").write_text("x\n" + "\n".join(f"{x:.4f}" for x in events))
    pairs = [
        ("pair.json:data", "pair.json:bkg", ()),
        ("pair.csv:count", "pair.csv:events", ()),
        ("pair.root:SR/data", "pair.root:SR/bkg", ()),
        ("data.csv", "bkg.csv", ("--bins", "60", "--range", "0:20")),
        ("data.csv", "bkg.csv", ("--bins", "60", "--range", "0:40", "--column", "2 * x")),
    ]
    results = [
        bumpfit("bumphunter", files / a, files / b, *WIDTHS, *more, "--toys", "200", "--json").json
        for a, b, more in pairs
    ]
    for key in ("t", "p", "data", "background"):
        assert [one[key] for one in results] == pytest.approx([results[0][key]] * len(pairs), rel=1e-12)


def test_deficits_scale_and_sidebands(bumpfit: Run, files: Path) -> None:
    pair = (files / "pair.json:data", files / "pair.json:bkg", "--toys", "300", "--json")
    fewer = bumpfit("bumphunter", *pair, *WIDTHS, "--deficits").json
    assert fewer["data"] < fewer["background"]
    # twice the background, scaled to the sidebands, is the background
    same, scaled = (bumpfit("bumphunter", *pair, *WIDTHS, "--sidebands", *more).json for more in ((), ("--scale", "2")))
    assert scaled["t"] == pytest.approx(same["t"], rel=1e-9)
    assert "at 95 % the global p-value is at most" in bumpfit("bumphunter", *pair[:-1], *WIDTHS, "--scale", "0.5").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--narrowest", "9", "--widest", "4"), "windows of 9 to 4 bins"),
        (("--narrowest", "1"), "no events are expected from 19.3333 to 19.6667, but some are there"),
        (("--bins", "5"), "need both --bins and --range"),
        (("--bins", "5", "--range", "3"), "expected LOW:HIGH"),
        (("--bins", "5", "--range", "3:1"), "cannot take --range 3:1; expected LOW:HIGH with LOW below HIGH"),
        (("--scale", "-1"), "--scale must be positive"),
        (("--figure", "x.gif"), "cannot draw"),
    ],
)
def test_wrong_use_is_one_sentence(bumpfit: Run, files: Path, words: tuple[str, ...], message: str) -> None:
    pair = (files / "pair.json:data", files / "pair.json:bkg")
    assert message in refused(bumpfit("bumphunter", *pair, *words, "--toys", "10"))


def test_files_that_are_no_pair(bumpfit: Run, files: Path) -> None:
    short = {**uhi(DATA), "axes": [{**uhi(DATA)["axes"][0], "upper": 30.0}]}  # type: ignore[index]
    (files / "short.json").write_text(json.dumps(short))
    good = files / "pair.json:data"
    assert "different edges" in refused(bumpfit("bumphunter", good, files / "short.json"))
    assert "no histogram 'dat'" in refused(bumpfit("bumphunter", files / "pair.json:dat", good))
    assert refused(bumpfit("bumphunter", files / "missing.root:h", good))
    (files / "halves.csv").write_text("low,high,count\n0,1,2.5\n1,2,3\n")
    assert "no whole numbers of events" in refused(bumpfit("bumphunter", files / "halves.csv", files / "halves.csv"))
