"""Names and collections of files of the kinds that others write, on small inputs made here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from bumpfit import events
from bumpfit.errors import InputError, InputWarning

Same = Callable[..., None]
NANO: dict[str, Any] = {
    "nElectron": np.array([2, 1, 0]),
    "Electron_pt": ak.Array([[30.0, 20.0], [50.0], []]),
    "Electron_pfRelIso03_all": ak.Array([[0.1, 0.2], [0.3], []]),
    "Electron_pfRelIso03_chg": ak.Array([[0.1, 0.2], [0.05], []]),
    "Electron_mvaFall17V2Iso_WP90": ak.Array([[True, False], [False], []]),
    "MET_pt": np.array([10.0, 20.0, 30.0]),
    "MET_phi": np.array([0.0, np.pi / 2, 1.0]),
    "PV_npvsGood": np.array([3, 4, 5]),
    "Generator_weight": np.array([1.0, -1.0, 1.0]),
}


@pytest.fixture(params=["memory", "tree", "rntuple", "parquet", "extension"])
def nano(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        return events.open(NANO)
    path = str(tmp_path / f"nano.{'parquet' if request.param in ('parquet', 'extension') else 'root'}")
    if request.param == "tree":
        with uproot.recreate(path) as file:
            inner = {name.partition("_")[2]: v for name, v in NANO.items() if name.startswith("Electron_")}
            rest = {name: v for name, v in NANO.items() if "lectron" not in name}
            electrons = ak.zip(inner)
            branches = {"Electron": electrons.type.content, **{name: v.dtype for name, v in rest.items()}}
            file.mktree("Events", branches).extend({"Electron": electrons, **rest})
    elif request.param == "rntuple":
        with uproot.recreate(path) as file:
            file.mkrntuple("Events", ak.Array(NANO))
    else:
        table = ak.to_arrow_table(ak.Array(NANO), extensionarray=request.param == "extension")
        kinds = [type(field.type) for field in table.schema]
        assert any(issubclass(kind, pa.BaseExtensionType) for kind in kinds) == (request.param == "extension")
        pq.write_table(table, path)
    return events.open(path)


def test_a_prefix_with_a_counter_owns_all_its_branches(nano: Any, same: Same) -> None:
    assert list(nano.layout.collections) == ["electron"]
    same(events.observable("electron.pfRelIso03_all", nano), NANO["Electron_pfRelIso03_all"])
    assert events.mask("electron.pfRelIso03_all < 0.15 [any]", nano).tolist() == [True, False, False]
    both = "electron.pt > 25 and electron.pfRelIso03_all < 0.15 [any]"
    assert events.mask(both, nano).tolist() == [True, False, False]
    flat = "electron.pt > 25 and Electron_pfRelIso03_chg < 0.15 [any]"
    assert events.mask(flat, nano).tolist() == [True, True, False]
    assert events.observable("electron0.pt", nano).tolist() == [30.0, 50.0, None]


def test_groups_of_scalars_are_objects(nano: Any) -> None:
    assert events.observable("met.pt", nano).tolist() == [10.0, 20.0, 30.0]
    assert events.observable("met.py", nano).tolist()[1] == pytest.approx(20.0)
    assert events.observable("met0.pt", nano).tolist() == [10.0, 20.0, 30.0]
    assert events.observable("met1.pt", nano).tolist() == [None, None, None]
    assert events.observable("met.size", nano).tolist() == [1, 1, 1]
    assert events.observable("pv.npvs_good", nano).tolist() == [3, 4, 5]
    assert events.mask("generator.weight < 0", nano).tolist() == [False, True, False]


def test_collections_of_converted_trees() -> None:
    """ROOT's importer makes `_collection0` of the branches that shared a counter."""
    source = events.open({"_collection0": ak.Array([[{"Muon_pt": 3.0, "Muon_pf_iso": 0.5}], []]), "x": [1, 2]})
    assert events.observable("muon0.pt", source).tolist() == [3.0, None]
    assert events.observable("muon.pf_iso", source).tolist() == [[0.5], []]
    assert events.observable("muon.size", source).tolist() == [1, 0]


def test_members_with_dots() -> None:
    columns = {f"Particles.momentum.{axis}": [[value], []] for axis, value in {"x": 3, "y": 4, "z": 0}.items()}
    jets = {f"Jets.fCoordinates.f{name}": [[value], []] for name, value in {"Pt": 5.0, "Eta": 0.0, "Phi": 0.0}.items()}
    source = events.open({**columns, **jets})
    assert events.observable("particles.momentum.x", source).tolist() == [[3], []]
    assert events.observable("particles0.pt", source).tolist() == [5.0, None]
    assert events.observable("jets0.px", source).tolist() == [5.0, None]


@pytest.mark.parametrize("value", [1.0, 2.0])
def test_one_record_an_event(value: float) -> None:
    source = events.open({"vertex": ak.Array([{"x": value, "hits": [1, 2]}, {"x": 4.0, "hits": []}])})
    for name in ("vertex.x", "vertex0.x"):
        assert events.observable(name, source).tolist() == [value, 4.0]
    assert events.observable("vertex.size", source).tolist() == [1, 1]
    assert events.observable("vertex1.x", source).tolist() == [None, None]
    assert events.observable("vertex:2.x", source).tolist() == [[value, None], [4.0, None]]
    assert events.observable("vertex.hits", source).tolist() == [[1, 2], []]


def test_the_exact_name_comes_first() -> None:
    source = events.open({"pt": [1.0], "Pt": [2.0], "m_1": [3.0], "m1": [4.0], "Jet.pt": [[5.0]], "Jet.PT": [[6.0]]})
    for name, value in {"pt": 1.0, "Pt": 2.0, "m1": 4.0, "m_1": 3.0, "jet0.pt": 5.0, "jet0.PT": 6.0}.items():
        assert events.observable(name, source).tolist() == [value], name
    for name, fits in {"PT": "pt and Pt", "M1": "m_1 and m1", "jet0.p_t": "pt and PT"}.items():
        with pytest.raises(InputError, match=f"fits {fits}; write one of them exactly"):
            events.observable(name, source)
    two = events.open({"jet": ak.Array([[{"pt": 1.0}]]), "Jet": ak.Array([[{"pt": 2.0}]])})
    assert events.observable("jet0.pt", two).tolist() == [1.0]
    assert events.observable("Jet0.pt", two).tolist() == [2.0]
    with pytest.raises(InputError, match="fits jet and Jet"):
        events.observable("JET0.pt", two)


@pytest.mark.parametrize("name", ["dr", "dphi", "mass", "energy", "invm", "scalar_ht", "tau21", "size"])
def test_a_stored_branch_comes_before_an_alias(name: str) -> None:
    source = events.open({"Jet": ak.Array([[{"pt": 30.0, "m": 7.0, "e": 8.0, name: 0.3}]])})
    assert events.observable(f"jet.{name}", source).tolist() == [[0.3]]


@pytest.mark.parametrize(
    "name",
    [
        "X:pt",
        "a::b",
        "2jets",
        "b tag",
        "c[3]",
        "d#1",
        "e.f",
        "and",
        "1",
        "(x,y)",
        "Jet.PT",
        "Jet1",
        "`",
        "a`b",
        "`a`",
        "``",
        "a`,`.b",
    ],
)
def test_backticks_name_any_branch(name: str) -> None:
    source = events.open({name: [1.0, 3.0], "other": [2.0, 2.0]})
    stored, name = name, name.replace("`", "``")  # a backtick of the name itself is doubled
    assert events.observable(f"`{name}`", source).tolist() == [1.0, 3.0]
    assert events.mask(f"`{name}` > 2 and other == 2", source).tolist() == [False, True]
    assert events.mask(f"max(`{name}`,other) > 2.5 and abs(`{name}`) > 0", source).tolist() == [False, True]
    inside = events.open({stored: ak.Array([[{stored: 1.0, "pt": 2.0}], []])})
    if "." not in name and "[" not in name:
        assert events.observable(f"`{name}`0.`{name}`", inside).tolist() == [1.0, None]
        assert events.mask(f"`{name}`.pt > 1 [any]", inside).tolist() == [True, False]


@pytest.mark.parametrize("name", ["jet0.nothing", "nothing", "nothing0.pt", "`no:thing`"])
def test_errors_list_at_most_twelve_names(name: str) -> None:
    flat = {f"column{i}": [1.0] for i in range(300)} | {"nothin": [2.0]}
    jets = {f"Jet.field{i}": [[1.0]] for i in range(300)} | {"Jet.nothin": [[2.0]]}
    objects = {f"Object{i}x.pt": [[1.0]] for i in range(300)} | {"Nothin.pt": [[2.0]]}
    with pytest.raises(InputError, match=r"(?i)nothin\b.* and \d+ more") as failure:
        events.observable(name, events.open({**flat, **jets, **objects}))
    listed = str(failure.value).partition("; ")[2]
    assert all(len(part.split(", ")) <= 13 for part in listed.split("; computed")[0].split(", and the objects"))


def test_momenta_of_edm4hep_and_treemaker(same: Same) -> None:
    x, y, z = ak.Array([[30.0, 1.0], [3.0]]), ak.Array([[40.0, 2.0], [4.0]]), ak.Array([[0.0, 2.0], [5.0]])
    edm = events.open(
        {"RP.momentum.x": x, "RP.momentum.y": y, "RP.momentum.z": z, "RP.energy": ak.Array([[50.0, 10.0], [20.0]])}
    )
    same(events.observable("rp.pt", edm), np.hypot(x, y))
    same(events.observable("rp.momentum.z", edm), z)
    same(events.observable("rp0.e", edm), [50.0, 20.0])
    assert events.observable("rp.size", edm).tolist() == [2, 1]
    tree = events.open(
        {
            "Jets.fCoordinates.fPt": ak.Array([[50.0, 10.0], [20.0]]), "Jets.fCoordinates.fEta": z,
            "Jets.fCoordinates.fPhi": y, "Jets.fCoordinates.fE": ak.Array([[60.0, 100.0], [2000.0]]),
            "Jets_bDiscriminatorCSV": ak.Array([[0.5, 0.6], [0.7]]), "NJets": np.array([2, 1]),
        }
    )  # fmt: skip
    same(events.observable("jet0.pt", tree), [50.0, 20.0])
    same(events.observable("jets.m", tree)[0, :1], np.sqrt(60.0**2 - 50.0**2) * np.ones(1))
    same(events.observable("jet0.bDiscriminatorCSV", tree), [0.5, 0.7])


@pytest.mark.parametrize("mark", [".", ":"])
def test_atlas_derivations(mark: str, same: Same) -> None:
    columns = {
        f"AnalysisJetsAuxDyn{mark}pt": ak.Array([[5e4, 1e4], [2e4]]),
        f"AnalysisJetsAuxDyn{mark}eta": ak.Array([[0.5, 1.0], [2.0]]),
        f"EventInfoAuxDyn{mark}eventNumber": np.array([7, 8]),
    }
    with pytest.warns(InputWarning, match=r"of ATLAS \(AnalysisJetsAuxDyn\): .* in MeV"):
        source = events.open(columns)
    for name in ("AnalysisJets0.pt", "AnalysisJetsAuxDyn0.pt", "analysisjets0.pt"):
        same(events.observable(name, source), [5e4, 2e4])
    assert events.observable("EventInfo.eventNumber", source).tolist() == [7, 8]
    same(events.observable(f"`AnalysisJetsAuxDyn{mark}pt`", source), columns[f"AnalysisJetsAuxDyn{mark}pt"])


@pytest.mark.parametrize("how", ["mktree", "mkrntuple"])
def test_fields_with_dots_in_their_names(tmp_path: Path, how: str) -> None:
    """As PHYSLITE, EDM4hep and TreeMaker call their branches; uproot's writer makes an RNTuple of such names too."""
    rng = np.random.default_rng(4)
    lists = {name: ak.unflatten(rng.normal(size=5), [2, 0, 3]) for name in ("x", "y", "z")}
    content = {**{f"Particles.momentum.{name}": values for name, values in lists.items()}, "Info.number": np.arange(3)}
    with uproot.recreate(tmp_path / "a.root") as file:
        if how == "mktree":
            types = {name: v.type if isinstance(v, ak.Array) else v.dtype for name, v in content.items()}
            file.mktree("EVENT", types).extend(content)
        else:
            file.mkrntuple("EVENT", ak.Array(content))
    source = events.open(tmp_path / "a.root")
    assert ak.almost_equal(events.observable("particles.px", source), lists["x"])
    assert ak.almost_equal(events.observable("Particles.pt", source), np.hypot(lists["x"], lists["y"]))
    assert events.observable("Particles.size", source).tolist() == [2, 0, 3]
    assert events.observable("Info.number", source).tolist() == [0, 1, 2]
    assert events.mask("info.number > 0 and `Particles.momentum.z` > -99 [any]", source).tolist() == [
        False,
        False,
        True,
    ]
