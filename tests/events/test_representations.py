from collections.abc import Callable

import awkward as ak
import numpy as np
import pytest

from bumpfit import events, report
from bumpfit.errors import InputError
from bumpfit.events.representations import Image, Set
from bumpfit.events.source import Source

INSIDE = "ParticleFlowJet08[0].constituents"
RANGE = ((-1.6, 1.6), (-1.6, 1.6))


def image() -> Image:
    return Image(f"{INSIDE}.phi", f"{INSIDE}.eta", f"{INSIDE}.pt")


@pytest.fixture(scope="module")
def source(delphes: str) -> Source:
    return events.open(delphes)


def one(**fields: list[float]) -> Source:
    """One event with one jet of given constituents."""
    inside = ak.zip({key: [[values]] for key, values in fields.items()})
    return events.open(
        {"fatjet": ak.zip({"pt": [[100.0]], "eta": [[0.0]], "phi": [[0.0]], "constituents": inside}, depth_limit=2)}
    )


def test_set_of_observables(source: Source) -> None:
    values = Set(["jet0.pt", "jet.size", "lepton0.pt", "met.met", "jet0,jet1.delta_r"]).read(source)
    assert values.shape == (25, 5) and values.dtype == np.float64
    for place, name in enumerate(["jet0.pt", "jet.size", "lepton0.pt", "met0.met", "jet0,jet1.delta_r"]):
        theirs = ak.to_numpy(ak.fill_none(events.observable(name, source), np.nan))
        np.testing.assert_array_equal(values[:, place], theirs)
    assert np.isnan(values[:, 2]).any()
    with pytest.raises(InputError, match=r"'jet\.pt' is a list"):
        Set(["jet.pt"]).read(source)
    for wrong in ([], "jet0.pt"):
        with pytest.raises(InputError, match="needs a list"):
            Set(wrong)


def test_pixels_against_numpy(source: Source) -> None:
    ours = image().pixelate((11, 7), ((-3.2, 3.2), (-4.0, 4.0))).read(source)
    assert ours.shape == (25, 11, 7) and ours.dtype == np.float32
    phi, eta, pt = (events.observable(f"{INSIDE}.{k}", source) for k in ("phi", "eta", "pt"))
    for event in range(25):
        there, _, _ = np.histogram2d(
            np.array(phi[event]),
            np.array(eta[event]),
            bins=(11, 7),
            range=((-3.2, 3.2), (-4, 4)),
            weights=np.array(pt[event]),
        )
        np.testing.assert_allclose(ours[event], there, rtol=1e-5, atol=1e-6)


def test_a_channel_is_optional(source: Source) -> None:
    counted = Image(f"{INSIDE}.phi", f"{INSIDE}.eta").pixelate((5, 5), ((-4, 4), (-9, 9))).read(source)
    inside = np.abs(events.observable(f"{INSIDE}.eta", source)) < 9
    np.testing.assert_array_equal(counted.sum(axis=(1, 2)), ak.to_list(ak.sum(inside, axis=1)))


def test_translation_by_an_object_wraps_phi() -> None:
    made = one(pt=[1.0, 2.0], eta=[0.5, -0.5], phi=[3.1, -3.1])
    names = [f"fatjet0.constituents.{k}" for k in ("phi", "eta", "pt")]
    moved = Image(*names).translate("fatjet0.constituents0").points(made)
    assert ak.to_list(moved["width"]) == [[0.0, pytest.approx(-1.0)]]
    assert ak.to_list(moved["height"]) == [[0.0, pytest.approx(2 * np.pi - 6.2)]]


def test_the_points_of_one_event_are_drawn() -> None:
    made = one(pt=[1.0, 5.0, 2.0], eta=[0.5, -0.5, 0.2], phi=[3.1, -3.1, 0.3])
    shape = Image(*(f"fatjet0.constituents.{k}" for k in ("phi", "eta", "pt"))).translate("fatjet0.constituents0")
    axis, colours = report.point_cloud(shape, made).axes
    (drawn,) = axis.collections
    moved = shape.points(made)[0]
    order = [0, 2, 1]  # the largest pT on top
    np.testing.assert_allclose(drawn.get_offsets(), np.column_stack([moved["width"], moved["height"]])[order])
    assert drawn.get_array().tolist() == [1.0, 2.0, 5.0]
    assert (axis.get_xlabel(), axis.get_ylabel(), colours.get_ylabel()) == ("eta", "phi", "pt [GeV]")
    framed = report.point_cloud(shape.pixelate((3, 3), ((-1, 2), (-3, 4))), made).axes[0]
    assert framed.get_ylim() == (-1, 2) and framed.get_xlim() == (-3, 4)
    nothing = one(pt=[], eta=[], phi=[])
    assert report.point_cloud(Image("fatjet0.constituents.phi", "fatjet0.constituents.eta"), nothing).axes
    for wrong in (1, -1, True, 0.0):
        with pytest.raises(InputError, match="expected a number from 0 to 0"):
            report.point_cloud(shape, made, event=wrong)  # type: ignore[arg-type]


def test_rotation_puts_the_axis_at_the_orientation() -> None:
    made = one(pt=[3.0, 2.0, 1.0], eta=[0.1, 0.7, -0.3], phi=[0.2, 0.9, 0.4])
    names = [f"fatjet0.constituents.{k}" for k in ("phi", "eta", "pt")]
    for degrees in (-90.0, 0.0, 35.0, 180.0):
        turned = Image(*names).translate("fatjet0.constituents0").rotate("fatjet0.constituents1", degrees).points(made)
        width, height = (np.array(turned[key][0]) for key in ("width", "height"))
        length = np.hypot(0.6, 0.7)
        np.testing.assert_allclose(
            [width[1], height[1]],
            length * np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))]),
            atol=1e-12,
        )
        np.testing.assert_allclose(np.hypot(width, height)[2], np.hypot(-0.4, 0.2))  # distances do not change


def test_subjets_are_fastjets(source: Source) -> None:
    fastjet = pytest.importorskip("fastjet")
    made = image().with_subjets(INSIDE, "kt", 0.3, 0).translate("SubJet0").rotate("SubJet1", -90)
    points = made.points(source)
    momenta = [events.observable(f"{INSIDE}.{k}", source).to_list() for k in ("px", "py", "pz", "e")]
    definition = fastjet.JetDefinition(fastjet.kt_algorithm, 0.3)
    for event in range(25):
        entries = zip(*(column[event] for column in momenta), strict=True)
        particles = [fastjet.PseudoJet(*entry) for entry in entries if None not in entry]
        cluster = fastjet.ClusterSequence(particles, definition)
        subjets = fastjet.sorted_by_pt(cluster.inclusive_jets(0))
        phi, eta = (np.array(events.observable(f"{INSIDE}.{k}", source)[event]) for k in ("phi", "eta"))
        up, right = (phi - subjets[0].phi() + np.pi) % (2 * np.pi) - np.pi, eta - subjets[0].eta()
        if len(subjets) > 1:
            a = (subjets[1].phi() - subjets[0].phi() + np.pi) % (2 * np.pi) - np.pi
            b = subjets[1].eta() - subjets[0].eta()
            angle = -np.pi / 2 - np.arctan2(a, b)
            up, right = np.sin(angle) * right + np.cos(angle) * up, np.cos(angle) * right - np.sin(angle) * up
        np.testing.assert_allclose(np.array(points["height"][event]), up, atol=1e-6)
        np.testing.assert_allclose(np.array(points["width"][event]), right, atol=1e-6)


def test_subjets_of_nothing_and_of_undefined_momenta() -> None:
    pytest.importorskip("fastjet")
    names = [f"fatjet0.constituents.{k}" for k in ("phi", "eta", "pt")]
    made = (
        Image(*names)
        .with_subjets("fatjet0.constituents", "antikt", 0.4, 0)
        .translate()
        .rotate()
        .pixelate((3, 3), RANGE)
    )
    assert made.read(one(pt=[0.0], eta=[999.9], phi=[0.0])).sum() == 0
    some = made.read(one(pt=[0.0, 5.0], eta=[999.9, 1.0], phi=[0.0, 1.0]))
    assert some[0, 1, 1] == 5.0 and some.sum() == 5.0
    assert made.left_out(one(pt=[0.0, 5.0, np.nan], eta=[999.9, 1.0, 0.0], phi=[0.0, 1.0, 0.0])) == 2
    nobody = events.open({"fatjet": ak.zip({k: ak.Array([[], [1.0]])[:1] for k in ("pt", "eta", "phi")})})
    with pytest.raises(InputError, match="no observable 'constituents'"):
        made.read(nobody)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: image().translate("SubJet0"), "call with_subjets first"),
        (lambda: image().rotate("jet0"), "translate it first"),
        (lambda: image().with_subjets(INSIDE, "cone"), "expected one of kt, cambridge, antikt"),
        (lambda: image().with_subjets(INSIDE, "kt", -1), "expected a positive radius"),
        (lambda: image().pixelate((0, 3), RANGE), "expected"),
        (lambda: image().pixelate((3, 3), ((1, 0), (0, 1))), "expected"),
    ],
)
def test_wrong_steps(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_wrong_reading(source: Source) -> None:
    with pytest.raises(InputError, match="no pixels"):
        image().read(source)
    with pytest.raises(InputError, match="not one list an event"):
        Image("jet0.phi", "jet0.eta").pixelate((3, 3), RANGE).read(source)
    with pytest.raises(InputError, match="expected one object"):
        image().translate("jet").points(source)


POINTS = Image("jet.phi", "jet.eta", "jet.pt")
UNIT = ((-1, 1), (-1, 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: POINTS.pixelate((3.5, 3), UNIT), r"expected \(rows, columns\)"),  # type: ignore[arg-type]
        (lambda: POINTS.pixelate(33, UNIT), r"expected \(rows, columns\)"),  # type: ignore[arg-type]
        (lambda: POINTS.pixelate((10**6, 10**6), UNIT), "of 1 to 2048"),
        (lambda: POINTS.pixelate((3, 3), ((-np.inf, 1), (-1, 1))), "two ranges"),
        (lambda: POINTS.pixelate((3, 3), None), "two ranges"),  # type: ignore[arg-type]
        (lambda: POINTS.with_subjets("jet", "kt", 2000.0), "expected a positive radius up to 3.2"),
        (lambda: POINTS.with_subjets("jet").translate("subjet99999999999"), "SubJet0 to SubJet999"),
        (lambda: POINTS.translate("jet0").rotate("jet1", np.nan), "the orientation is nan"),
    ],
)
def test_images_that_cannot_be_made(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_points_of_different_lists(flat: str) -> None:
    mixed = Image("jet.phi", "muon.eta").pixelate((3, 3), UNIT)
    with pytest.raises(InputError, match=r"different lists \(Jet, Muon\)"):
        mixed.read(events.open(flat))


@pytest.mark.parametrize("values", [["a", "b"], [1 + 2j, 3], np.array(["2020-01-01"] * 2, "M8[D]")])
def test_sets_of_what_is_no_number(values: object) -> None:
    with pytest.raises(InputError, match="'x' holds no numbers"):
        Set(["x"]).read({"x": values})
