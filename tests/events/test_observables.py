"""Every observable against values read by uproot and combined by awkward and vector."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import vector

from bumpfit import events
from bumpfit.errors import InputError
from bumpfit.events import observables
from bumpfit.events.arrays import Jagged
from bumpfit.events.source import Source

vector.register_awkward()
Same = Callable[..., None]


@lru_cache
def tree_of(path: str) -> Any:
    return uproot.open(path)["Delphes"]


@lru_cache
def source_of(path: str) -> Source:
    return events.open(path)


def momenta(path: str, branch: str) -> Jagged:
    tree = tree_of(path)
    get = lambda *names: next((tree[f"{branch}.{n}"].array() for n in names if f"{branch}.{n}" in tree), None)  # noqa: E731
    pt = get("PT", "ET", "MET")
    fields = {"pt": pt, "eta": get("Eta"), "phi": get("Phi"), "mass": get("Mass")}
    if fields["mass"] is None:
        fields["mass"] = ak.zeros_like(pt)
    return ak.zip({k: ak.values_astype(v, np.float64) for k, v in fields.items()}, with_name="Momentum4D")


def raw(path: str, branch: str) -> Jagged:
    return tree_of(path)[branch].array()


BRANCHES = ["Jet", "ParticleFlowJet08", "Electron", "Muon", "Photon"]


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("name", ["px", "py", "pz", "e", "pt", "eta", "phi", "m", "mt"])
def test_momentum_of_collections(delphes: str, branch: str, name: str, same: Same) -> None:
    p4 = momenta(delphes, branch)
    theirs = getattr(p4, {"m": "mass", "e": "energy"}.get(name, name))
    same(events.observable(f"{branch.lower()}.{name}", source_of(delphes)), theirs, 1e-6)


@pytest.mark.parametrize("name", ["px", "pz", "e", "phi", "m"])
def test_flat_file(flat: str, name: str, same: Same) -> None:
    theirs = getattr(momenta(flat, "Jet"), {"m": "mass", "e": "energy"}.get(name, name))
    same(events.observable(f"jet.{name}", source_of(flat)), theirs, 1e-6)


def test_indices_and_ranges(flat: str, same: Same) -> None:
    pt = raw(flat, "Jet.PT")
    source = source_of(flat)
    same(events.observable("jet.pt", source), pt)
    same(events.observable("Jet0.PT", source), ak.firsts(pt))
    same(events.observable("jet2.pT", source), ak.pad_none(pt, 3)[:, 2])
    same(events.observable("jet[2].pt", source), ak.pad_none(pt, 3)[:, 2])
    same(events.observable("jet:3.pt", source), ak.pad_none(pt, 3, clip=True))
    same(events.observable("jet1:3.pt", source), ak.pad_none(pt[:, 1:], 2, clip=True))
    same(events.observable("jet[1:3].pt", source), ak.pad_none(pt[:, 1:], 2, clip=True))
    same(events.observable("jet1:.pt", source), pt[:, 1:])
    assert ak.to_list(events.observable("jet99.pt", source)) == [None] * 400


def test_sizes(flat: str, same: Same) -> None:
    count = ak.num(raw(flat, "Jet.PT"))
    same(events.observable("jet.size", source_of(flat)), count)
    same(events.observable("jet:2.size", source_of(flat)), np.minimum(count, 2))
    same(events.observable("jet1:.size", source_of(flat)), np.maximum(count - 1, 0))
    same(events.observable("jet1.size", source_of(flat)), ak.values_astype(count > 1, int))


@pytest.mark.parametrize("name", ["Charge", "BTag"])
def test_stored(flat: str, name: str, same: Same) -> None:
    same(events.observable(f"jet.{name}", source_of(flat)), raw(flat, f"Jet.{name}"))
    same(events.observable("jet0.b_tag", source_of(flat)), ak.firsts(raw(flat, "Jet.BTag")))


def test_tags_and_subjettiness(delphes: str, same: Same) -> None:
    tau = raw(delphes, "Jet.Tau[5]")
    for n in range(1, 6):
        same(events.observable(f"jet.tau{n}", source_of(delphes)), tau[..., n - 1])
    for m, n in ((2, 1), (3, 2), (4, 3)):
        below = ak.mask(ak.values_astype(tau[..., n - 1], "f8"), tau[..., n - 1] > 0)
        same(events.observable(f"jet.tau{m}{n}", source_of(delphes)), ak.values_astype(tau[..., m - 1], "f8") / below)
    same(events.observable("jet.tau_tag", source_of(delphes)), raw(delphes, "Jet.TauTag"))
    same(events.observable("jet0.BTag", source_of(delphes)), ak.firsts(raw(delphes, "Jet.BTag")))


def test_undefined_ratio_is_none() -> None:
    tau = ak.Array([[[0.0, 0.0], [2.0, 1.0]]])
    source = events.open({"Jet": ak.zip({"Tau": tau, "PT": ak.Array([[10.0, 20.0]])}, depth_limit=2)})
    assert ak.to_list(events.observable("jet.tau21", source)) == [[None, 0.5]]


def test_branches_that_end_in_digits(delphes: str, same: Same) -> None:
    pt = raw(delphes, "ParticleFlowJet08.PT")
    source = source_of(delphes)
    same(events.observable("particleflowjet08.pt", source), pt)
    same(events.observable("ParticleFlowJet080.pt", source), ak.firsts(pt))
    same(events.observable("ParticleFlowJet08[1].pt", source), ak.pad_none(pt, 2)[:, 1])
    same(events.observable("ParticleFlowJet08:2.pt", source), ak.pad_none(pt, 2, clip=True))


def test_pairs(flat: str, same: Same) -> None:
    jet, muon = momenta(flat, "Jet"), momenta(flat, "Muon")
    first, second = ak.pad_none(jet, 2)[:, 0], ak.pad_none(jet, 2)[:, 1]
    source = source_of(flat)
    same(events.observable("jet0,jet1.delta_r", source), first.deltaR(second), 1e-9)
    same(events.observable("jet0,jet1.delta_phi", source), first.deltaphi(second), 1e-9)
    same(events.observable("jet0,jet1.delta_eta", source), first.deltaeta(second), 1e-9)
    same(events.observable("jet,jet0.delta_r", source), ak.fill_none(jet.deltaR(first), [], axis=0), 1e-9)
    table = jet[:, :, None].deltaR(muon[:, None, :])
    same(events.observable("jet,muon.delta_r", source), table, 1e-9)
    gap = events.observable("jet,muon.delta_phi", source)
    assert ak.all(np.abs(gap) <= np.pi)


def test_sums(flat: str, same: Same) -> None:
    jet, muon = momenta(flat, "Jet"), momenta(flat, "Muon")
    two = ak.pad_none(jet, 2)
    source = source_of(flat)
    pair = (two[:, 0] + two[:, 1]).mass
    same(events.observable("jet0,jet1.inv_mass", source), pair, 1e-7)
    same(events.observable("jet:2.invariant_mass", source), pair, 1e-7)
    total = ak.sum(jet, axis=1)
    same(events.observable("jet.inv_mass", source), ak.mask(total.mass, ak.num(jet) > 0), 1e-6)
    same(events.observable("jet.ht", source), ak.sum(jet.pt, axis=1), 1e-9)
    same(events.observable("jet,muon.ht", source), ak.sum(jet.pt, axis=1) + ak.sum(muon.pt, axis=1), 1e-9)
    same(events.observable("jet.met", source), total.pt, 1e-9)
    same(events.observable("jet,muon.met", source), (total + ak.sum(muon, axis=1)).pt, 1e-9)


def test_missing_energy(flat: str, same: Same) -> None:
    met, phi = raw(flat, "MissingET.MET"), raw(flat, "MissingET.Phi")
    jet, muon = momenta(flat, "Jet"), momenta(flat, "Muon")
    source = source_of(flat)
    same(events.observable("missinget.met", source), met)
    for name in ("met0.met", "MET0.pt", "missing_et0.MET"):
        same(events.observable(name, source), met[:, 0])
    same(events.observable("met0.pz", source), ak.zeros_like(met[:, 0]))
    same(events.observable("met0.px", source), met[:, 0] * np.cos(phi[:, 0]))
    gap = np.abs((jet.phi - phi[:, 0] + np.pi) % (2 * np.pi) - np.pi)
    same(events.observable("jet,met0.min_delta_phi", source), ak.min(gap, axis=1), 1e-9)
    same(events.observable("jet:2,met0.min_delta_phi", source), ak.min(gap[:, :2], axis=1), 1e-9)
    mt = np.sqrt(2 * muon.pt * met[:, 0] * (1 - np.cos(muon.phi - phi[:, 0])))
    same(events.observable("muon,met0.mt", source), mt, 1e-9)
    same(events.observable("muon0,met0.mt", source), ak.firsts(mt), 1e-9)


def test_smallest_angle_within_a_collection(flat: str, same: Same) -> None:
    pairs = ak.combinations(momenta(flat, "Jet"), 2)
    theirs = ak.min(np.abs(pairs["0"].deltaphi(pairs["1"])), axis=1)
    same(events.observable("jet.min_delta_phi", source_of(flat)), theirs, 1e-9)


def test_angle_across_the_seam() -> None:
    source = events.open({"Jet": ak.zip({"PT": [[1.0, 1.0]], "Eta": [[0.0, 0.0]], "Phi": [[3.1, -3.1]]})})
    assert events.observable("jet0,jet1.delta_phi", source)[0] == pytest.approx(6.2 - 2 * np.pi)
    assert events.observable("jet0,jet1.delta_r", source)[0] == pytest.approx(2 * np.pi - 6.2)


def test_leptons_are_electrons_and_muons(flat: str, same: Same) -> None:
    both = ak.concatenate([raw(flat, "Electron.PT"), raw(flat, "Muon.PT")], axis=1)
    charge = ak.concatenate([raw(flat, "Electron.Charge"), raw(flat, "Muon.Charge")], axis=1)
    order = ak.argsort(both, axis=1, ascending=False)
    same(events.observable("lepton.pt", source_of(flat)), both[order])
    same(events.observable("lepton0.charge", source_of(flat)), ak.firsts(charge[order]))
    same(events.observable("leptons.size", source_of(flat)), ak.num(both))
    only = events.open({"Muon": ak.zip({"PT": [[5.0], []]})})
    assert ak.to_list(events.observable("lepton.pt", only)) == [[5.0], []]
    with pytest.raises(InputError, match="no branch 'lepton"):
        events.observable("lepton.pt", {"Jet": ak.zip({"PT": [[5.0], []]})})


def references(path: str, jets: str) -> list[list[list[tuple[float, float, float, float]]]]:
    """Constituents by plain loops over events, jets and references."""
    tree = tree_of(path)
    refs = tree[f"{jets}.Constituents"].array()["refs"].to_list()
    table: list[dict[int, tuple[float, float, float, float]]] = [{} for _ in refs]
    for branch, pt, mass in (("EFlowTrack", "PT", "Mass"), ("EFlowPhoton", "ET", ""), ("EFlowNeutralHadron", "ET", "")):
        arrays = tree.arrays([f"{branch}.{n}" for n in ("fUniqueID", pt, "Eta", "Phi", *([mass] if mass else []))])
        for event, row in enumerate(arrays.to_list()):
            values = [row[f"{branch}.{n}"] for n in ("fUniqueID", pt, "Eta", "Phi")]
            masses = row[f"{branch}.{mass}"] if mass else [0.0] * len(values[0])
            for entry in zip(*values, masses, strict=True):
                table[event][entry[0] % 2**24] = entry[1:]
    return [[[table[event][ref % 2**24] for ref in jet] for jet in row] for event, row in enumerate(refs)]


@pytest.mark.parametrize("jets", ["Jet", "ParticleFlowJet08"])
def test_constituents(delphes: str, jets: str, same: Same) -> None:
    theirs = references(delphes, jets)
    source = source_of(delphes)
    for place, name in enumerate(("pt", "eta", "phi", "m")):
        values = [[[entry[place] for entry in jet] for jet in row] for row in theirs]
        same(events.observable(f"{jets}.constituents.{name}", source), values)
        first = [row[0] if row else None for row in values]
        same(events.observable(f"{jets}[0].constituents.{name}", source), first)
        five = [None if row is None else [*row, *[None] * 5][:5] for row in first]
        same(events.observable(f"{jets}[0].constituents:5.{name}", source), five)
        third = [None if row is None or len(row) < 3 else row[2] for row in first]
        same(events.observable(f"{jets}[0].constituents2.{name}", source), third)
    same(events.observable(f"{jets}.constituents.size", source), [[len(jet) for jet in row] for row in theirs])


def test_constituents_add_up_to_their_jet(delphes: str, same: Same) -> None:
    source = source_of(delphes)
    p4 = ak.zip(
        {n: events.observable(f"jet.constituents.{n}", source) for n in ("px", "py", "pz", "e")}, with_name="Momentum4D"
    )
    total = ak.sum(p4, axis=2)
    # this card calibrates jets, which changes the length of the sum but hardly its direction
    same(events.observable("jet.phi", source), ak.values_astype(total.phi, "f4"), 0.02)
    same(events.observable("jet.constituents.inv_mass", source), total.mass, 1e-3)
    same(events.observable("jet0.constituents.ht", source), ak.firsts(ak.sum(p4.pt, axis=2)), 1e-6)
    near = events.observable("jet0.constituents,jet0.delta_r", source)
    assert ak.max(near) < 0.75


def test_constituents_of_charge_and_other_branches(delphes: str, full_delphes: str) -> None:
    charge = events.observable("jet0.constituents.charge", source_of(delphes))
    assert set(np.unique(ak.to_numpy(ak.flatten(charge)))) == {-1.0, 0.0, 1.0}
    source = source_of(full_delphes)
    for jets in ("calojet04", "genjet04", "trackjet04", "particleflowjet15"):
        assert not ak.any(ak.is_none(events.observable(f"{jets}.constituents.pt", source), axis=2))
    electron = events.observable("electron.particle.pid", source)
    assert set(ak.flatten(electron)) <= {-11.0, 11.0} and ak.count(electron) > 0
    assert ak.all(events.observable("jet.particles.size", source) > 0)


def test_records_with_records_inside() -> None:
    inside = ak.zip({"pt": [[[1.0, 2.0], [3.0]], []], "eta": [[[0.1, 0.2], [0.3]], []], "phi": [[[0.0, 1], [2]], []]})
    jets = ak.zip({"pt": [[9.0, 8.0], []], "constituents": inside}, depth_limit=2)
    source = events.open({"jet": jets})
    assert ak.to_list(events.observable("jet0.constituents.pt", source)) == [[1.0, 2.0], None]
    assert ak.to_list(events.observable("jet.constituents.size", source)) == [[2, 1], []]
    assert events.observable("jet0.constituents1.px", source)[0] == pytest.approx(2 * np.cos(1))


def test_registering_is_one_line(flat: str, same: Same) -> None:
    events.register("rapidity", lambda jet: np.arctanh(jet.pz / jet.e))
    same(events.observable("jet.rapidity", source_of(flat)), momenta(flat, "Jet").rapidity, 1e-6)
    events.register("pt_asymmetry", lambda a, b: (a.pt - b.pt) / (a.pt + b.pt), objects=2)
    jets = ak.pad_none(raw(flat, "Jet.PT"), 2)
    same(
        events.observable("jet0,jet1.PtAsymmetry", source_of(flat)),
        (jets[:, 0] - jets[:, 1]) / (jets[:, 0] + jets[:, 1]),
        1e-5,
    )
    assert "ptasymmetry" in observables.known()
    with pytest.raises(InputError, match="cannot name an observable"):
        events.register("a b", lambda jet: jet.pt)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fatjet0.pt", "no branch 'fatjet0'; the file has Electron, Jet, MissingET, Muon"),
        ("jett.pt", "did you mean Jet"),
        ("jet0.ptt", r"no observable 'ptt' \(did you mean PT\?\); stored: BTag, Charge, Eta"),
        ("jet0,jet1.pt", "pt takes 1 object, got 2"),
        ("jet0.delta_r", "delta_r takes 2 objects, got 1"),
        ("jet0,jet1.nope", "not an observable of several objects; those are"),
        ("jet0.constituents.pt", "no observable 'constituents'"),
        ("jet0.charge.pt", "holds no references"),
        ("jet0.tau1", "no observable 'tau1'"),
        ("nope", "no column 'nope'"),
        ("lepton0.particle.pt", "reached by electron0"),
        ("jet1[0].pt", "no branch 'jet1'; did you mean Jet"),
    ],
)
def test_wrong_names(flat: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        events.observable(name, source_of(flat))


def test_undefined_momenta_are_none_and_do_not_count() -> None:
    far = ak.zip({"ET": [[0.0, 10.0]], "Eta": [[999.9, 0.0]], "Phi": [[0.0, 0.0]]})
    source = events.open({"Tower": far})
    assert ak.to_list(events.observable("tower.pz", source)) == [[None, 0.0]]
    assert events.observable("tower.inv_mass", source)[0] == pytest.approx(0.0)


def test_single_references() -> None:
    """`Track.Particle` is one reference an object (TRef), `fUniqueID` has the process id in its upper 8 bits."""
    process = 3 << 24
    columns = {
        "Track.PT": [[5.0, 4.0], [3.0], []],
        "Track.Phi": [[0.1, 0.2], [0.3], []],
        "Track.Particle": [[12, 11], [11], []],
        "Particle.fUniqueID": [[process + 11, process + 12], [process + 11], []],
        "Particle.PID": [[211, -13], [22], []],
        "Particle.Phi": [[0.5, 0.6], [3.0], []],
    }
    source = events.open(columns)
    for name, expected in {
        "track.particle.pid": [[-13, 211], [22], []],
        "track0.particle.pid": [-13, 22, None],
        "track:1.particle.pid": [[-13], [22], [None]],
        "track0.particle.size": [1, 1, 0],
        "track.particle.size": [[1, 1], [1], []],
    }.items():
        assert ak.to_list(events.observable(name, source)) == expected, name
    gap = events.observable("track.particle,track0.delta_phi", source)
    assert ak.to_list(gap)[:2] == [[pytest.approx(0.5), pytest.approx(0.4)], [pytest.approx(2.7)]]
    assert events.mask("track.particle.pid > 0 [any]", source).tolist() == [True, True, False]
    assert events.mask("track.particle.pid > 0 and track.pt < 4.5 [any]", source).tolist() == [True, True, False]
    with pytest.raises(InputError, match="Track has one particle each"):
        events.observable("track0.particle0.pid", source)


def test_masses_from_energies() -> None:
    """Without a stored mass it follows from E (as in tables of pT, eta, phi, E); rounding makes no mass."""
    rng = np.random.default_rng(3)
    pt, eta, phi, m = (rng.uniform(low, high, 500) for low, high in ((20, 500), (-4, 4), (-3, 3), (5, 100)))
    massive = vector.array({"pt": pt, "eta": eta, "phi": phi, "mass": m})
    one = [[{"pt": a, "eta": b, "phi": c, "e": d}] for a, b, c, d in zip(pt, eta, phi, massive.energy, strict=True)]
    table = events.open({"Jet": ak.Array(one)})
    for name in ("jet0.m", "jet0.inv_mass"):
        np.testing.assert_allclose(events.observable(name, table), m, rtol=1e-6)
    light = vector.array({"pt": pt, "eta": eta, "phi": phi, "mass": np.zeros(500)})
    small = {"ET": pt, "Eta": eta, "Phi": phi, "E": light.energy}
    tower = ak.unflatten(ak.zip({k: v.astype("f4") for k, v in small.items()}), np.ones(500, int))
    np.testing.assert_array_equal(events.observable("tower0.m", {"Tower": tower}), 0)
    whole = {k: v.astype("f4").astype("f8") for k, v in {"pt": pt, "eta": eta, "phi": phi, "mass": 0 * pt}.items()}
    first, second = (vector.array({k: v[part] for k, v in whole.items()}) for part in (slice(250), slice(250, None)))
    both = ak.concatenate([tower[:250], tower[250:]], axis=1)
    np.testing.assert_allclose(
        events.observable("tower0,tower1.inv_mass", {"Tower": both}), (first + second).mass, rtol=1e-6
    )


def test_registering_what_gives_no_value_an_event(flat: str) -> None:
    source = events.open(flat)
    events.register("constant_of_nature", lambda jet: 3.0)
    events.register("first_three", lambda jet: np.arange(3.0))
    with pytest.raises(InputError, match="one float for all events"):
        events.observable("jet0.constant_of_nature", source)
    with pytest.raises(InputError, match="gives 3 values for 400 events"):
        events.observable("jet0.first_three", source)
    with pytest.raises(InputError, match="expected a function"):
        events.register("nothing", None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="for -1 objects"):
        events.register("nothing", lambda: 1, objects=-1)


@pytest.mark.parametrize("what", [3, None])
def test_names_and_cuts_are_text(what: object, flat: str) -> None:
    with pytest.raises(InputError, match="expected text"):
        events.observable(what, flat)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected a sentence"):
        events.mask(what, flat)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected a file or a table"):
        events.open(what)


def test_parameters_and_bare_names(flat: str) -> None:
    source = events.open(flat)
    pt = events.observable("jet0.pt", source)
    events.register("scaled_pt", lambda jet, factor=1.0: factor * jet.pt)
    assert events.observable("jet0.scaled_pt", source, factor=2.0).tolist() == (2.0 * pt).tolist()
    assert events.observable("jet0.scaled_pt", source).tolist() == pt.tolist()
    with pytest.raises(InputError, match="unexpected keyword argument 'colour'"):
        events.observable("jet0.scaled_pt", source, colour=3)
    events.register("leading_pt", lambda chunk, place=0: events.observable(f"jet{place}.pt", chunk), objects=0)
    assert events.observable("leading_pt", source).tolist() == pt.tolist()
    assert events.observable("Leading_PT", source, place=1).tolist() == events.observable("jet1.pt", source).tolist()
    assert events.mask("leading_pt > 60", source).tolist() == events.mask("jet0.pt > 60", source).tolist()


def test_subjettiness_by_its_names_in_tables() -> None:
    tau = ak.Array([[[0.4, 0.2, 0.1, 0.05, 0.01]], [], [[0.8, 0.2, 0.1, 0.05, 0.01]]])
    source = events.open({"FatJet.PT": ak.Array([[500.0], [], [400.0]]), "FatJet.Tau[5]": tau})
    assert events.observable("fatjet0.n_subjettiness", source, n=2).tolist() == [0.2, None, 0.2]
    assert events.observable("fatjet.n_subjettiness", source).tolist() == tau.tolist()
    for name in ("taumn", "n_subjettiness_ratio", "TauMN"):
        found = events.observable(f"fatjet0.{name}", source, m=2, n=1)
        assert found.tolist() == events.observable("fatjet0.tau21", source).tolist() == [0.5, None, 0.25]
    with pytest.raises(InputError, match="needs m and n"):
        events.observable("fatjet0.taumn", source)
    with pytest.raises(InputError, match="number of subjets is 0"):
        events.observable("fatjet0.n_subjettiness", source, n=0)
