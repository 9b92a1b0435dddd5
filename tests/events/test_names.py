import pytest
from hypothesis import given
from hypothesis import strategies as st

from bumpfit.errors import InputError
from bumpfit.events import names
from bumpfit.events.layout import build
from bumpfit.events.names import Name, Part


@pytest.mark.parametrize(
    ("text", "objects", "observable"),
    [
        ("jet0.pt", ((Part("jet", "0"),),), "pt"),
        ("jet.pt", ((Part("jet"),),), "pt"),
        ("jet:3.pt", ((Part("jet", ranged=True, high=3),),), "pt"),
        ("jet1:3.pt", ((Part("jet", "1", ranged=True, high=3),),), "pt"),
        ("jet1:.pt", ((Part("jet", "1", ranged=True),),), "pt"),
        ("jet02[3].pt", ((Part("jet", "02", index=3),),), "pt"),
        ("jet02[1:3].pt", ((Part("jet", "02", ranged=True, low=1, high=3),),), "pt"),
        ("jet0.constituents:10.pt", ((Part("jet", "0"), Part("constituents", ranged=True, high=10)),), "pt"),
        ("jet0,jet1.delta_r", ((Part("jet", "0"),), (Part("jet", "1"),)), "delta_r"),
        ("jet0 , met0.delta_r", ((Part("jet", "0"),), (Part("met", "0"),)), "delta_r"),
        ("jet0.constituents,jet1.delta_r", ((Part("jet", "0"), Part("constituents")), (Part("jet", "1"),)), "delta_r"),
        ("m_JJ", (), "m_JJ"),
    ],
)
def test_forms(text: str, objects: tuple[tuple[Part, ...], ...], observable: str) -> None:
    assert names.parse(text) == Name(objects, observable, text)


@pytest.mark.parametrize(
    "text", ["", " ", "jet0,jet1", "jet:3", "jet0.pt:2", ".pt", "jet0.", "0jet.pt", "a.b.c.d", "jet[.pt", "é.pt"]
)
def test_wrong_forms(text: str) -> None:
    with pytest.raises(InputError, match="expected"):
        names.parse(text)


@given(st.text(max_size=30) | st.text(alphabet="jet0123.,:[]_ pt", max_size=30))
def test_any_text_is_a_name_or_an_input_error(text: str) -> None:
    try:
        parsed = names.parse(text)
    except InputError:
        return
    assert parsed.observable and parsed.text == text.strip()


def test_layout_of_delphes_nanoaod_and_records() -> None:
    layout = build(
        {
            "Jet.PT": None,
            "Jet.Tau[5]": None,
            "Jet_size": None,
            "ParticleFlowJet04.PT": None,
            "nMuon": None,
            "Muon_pt": None,
            "MET_pt": None,
            "m_JJ": None,
            "FatJet": ("pt", "eta"),
        },
        ["Jet.PT", "Jet.Tau[5]", "ParticleFlowJet04.PT", "Muon_pt", "FatJet"],
    )
    assert set(layout.collections) == {"jet", "particleflowjet04", "muon", "fatjet"}
    assert layout.collections["jet"].counter == "Jet_size" and layout.collections["muon"].counter == "nMuon"
    assert set(layout.collections["jet"].fields) == {"pt", "tau"}
    assert layout.column("M_jj") == "m_JJ" and layout.column("MET_pt") == "MET_pt"
    for part, expected in (
        (Part("jet", "0"), ("Jet", "0")),
        (Part("Jets"), ("Jet", "")),
        (Part("fat_jet", "1"), ("FatJet", "1")),
        (Part("ParticleFlowJet", "04"), ("ParticleFlowJet04", "")),
        (Part("particleflowjet", "040"), ("ParticleFlowJet04", "0")),
    ):
        found = layout.collection(part)
        assert found is not None and (found[0].name, found[1]) == expected
    assert layout.collection(Part("photon")) is None


def test_a_misspelt_name_is_answered_with_what_there_is() -> None:
    layout = build({"Jet.PT": None, "Muon.PT": None}, ["Jet.PT", "Muon.PT"])
    assert "did you mean Jet?" in str(layout.unknown_object("jett"))
    assert "the file has Jet, Muon" in str(layout.unknown_object("tau"))
