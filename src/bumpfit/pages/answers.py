"""What a search answers, in words: the record behind `result.json`, and the findings that it was made of."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from bumpfit import __version__
from bumpfit.display import Shown, Table
from bumpfit.errors import BumpfitError
from bumpfit.normal import SMALLEST, upper_tail
from bumpfit.pages import search_words as words
from bumpfit.report.rounding import interval, measured
from bumpfit.results import plain
from bumpfit.search.findings import Findings, Particle
from bumpfit.search.sideband_test import SidebandTest
from bumpfit.search.spectra import combined
from bumpfit.search.surrogate import Masses

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Input:
    """An input table: path (None for a frame), SHA-256 and number of events."""

    path: str | None
    sha256: str
    events: int
    unit: str


@dataclasses.dataclass(frozen=True)
class PValue:
    """Primary p-value: `local` of the best mass window, `global` (`overall` here) over everything that was tried.

    `overall` is an upper bound when `method` says union bound; otherwise `error` is its Monte Carlo error from `draws`
    permutations or toys. `floor`: the smallest value that the method can give.
    """

    local: float
    overall: float
    z_local: float
    z_global: float
    method: str
    floor: float
    trials: int
    draws: int
    error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Keys of result.json."""
        result = plain({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
        result["global"] = result.pop("overall")
        return dict(result)


@dataclasses.dataclass(frozen=True)
class Value:
    """A measured value with a symmetric error; `name` for a daughter mass."""

    value: float
    error: float
    name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Keys of result.json; no `name` where there is none."""
        return {**({"name": self.name} if self.name else {}), "value": float(self.value), "error": float(self.error)}


@dataclasses.dataclass(frozen=True)
class SignalYield:
    """Signal events before any selection, with a 68.27 % interval."""

    value: float
    error_low: float
    error_high: float
    method: str


@dataclasses.dataclass(frozen=True)
class Check:
    """A check of the chain: what was looked at, whether it passed (None: it does not apply), and the numbers.

    While a `decisive` check fails no resonance is claimed.
    """

    name: str
    passed: bool | None
    detail: str
    decisive: bool = False

    @property
    def state(self) -> str:
        """passed, failed or not applicable."""
        return {True: "passed", False: "failed", None: "not applicable"}[self.passed]

    def to_dict(self) -> dict[str, Any]:
        """Keys of result.json."""
        return {**plain({f.name: getattr(self, f.name) for f in dataclasses.fields(self)}), "state": self.state}


@dataclasses.dataclass(frozen=True)
class ParticleAnswer:
    """A resonance that is claimed, in the words and keys of the leading one; `window`: searched masses in GeV."""

    p_value: PValue
    resonance_mass: Value | None
    daughter_masses: tuple[Value, ...] | None
    decay: str | None
    n_signal: SignalYield
    n_signal_upper_limit_95: float
    signal_percent: float
    window: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Keys of result.json."""
        return _keyed(self)


@dataclasses.dataclass(frozen=True)
class Iteration:
    """A further step that was taken after the first answer: what, why, and the numbers before and after."""

    task: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Searched:
    """Masses that a search without a background table looks at, GeV, and the events on both sides that it does not.

    `given`: the user gave an end.
    """

    low: float
    high: float
    below: int
    above: int
    given: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Answers(Shown):
    """All answers of a search; `to_dict` is the content of result.json (masses in GeV).

    `searched`: where the p-value and the limit hold; None where it is all masses of the table.
    """

    version: str
    seed: int
    inputs: tuple[Input, ...]
    runtime_s: float
    p_value: PValue
    verdict: str
    claim: bool
    claim_z: float
    particles: tuple[ParticleAnswer, ...]
    resonance_mass: Value | None
    daughter_masses: tuple[Value, ...] | None
    decay: str | None
    n_signal: SignalYield
    n_signal_upper_limit_95: float
    signal_percent: float
    selections: tuple[dict[str, Any], ...]
    mass_spectrum_fit: dict[str, Any]
    goodness_of_fit: dict[str, Any]
    checks: tuple[Check, ...]
    iterations: tuple[Iteration, ...]
    searched: Searched | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types in the order of the documented schema."""
        return _keyed(self)

    def _summary(self) -> dict[str, Any]:
        p = self.p_value
        found: dict[str, Any] = {"verdict": self.verdict, "p_global": p.overall, "z_global": p.z_global}
        masses = [*([self.resonance_mass] if self.resonance_mass else []), *(self.daughter_masses or ())]
        found |= {m.name or "resonance": measured(m.value, m.error, "GeV") for m in masses}
        n = self.n_signal
        return {**found, "n_signal": interval(n.value, n.error_low, n.error_high), "n_signal_upper_limit_95":
                self.n_signal_upper_limit_95}  # fmt: skip

    def _table(self) -> Table:
        return ("check", "state", "what was seen"), [(c.name, c.state, c.detail) for c in self.checks]

    def _picture(self) -> Figure:
        """Local significances of all selections: what the p-value rests on."""
        from bumpfit.report import significance  # here, because most answers are not drawn

        if not self.selections:
            raise BumpfitError(
                "there are no selections to draw: without a background table only a spectrum is searched"
            )
        windows = list(dict.fromkeys((s["mass_low"], s["mass_high"]) for s in self.selections))
        entries = [
            (windows.index((s["mass_low"], s["mass_high"])), s["background_efficiency"], s["z_local"])
            for s in self.selections
        ]
        efficiencies, z, best = significance.significance_grid(entries, len(windows))
        names = [_span(*window) for window in windows]
        return significance.selection_significances(efficiencies, z, names, self.claim_z, best)


def _span(low: float | None, high: float | None) -> str:
    """A mass window, GeV, which may be open, in TeV."""
    ends = ["" if end is None else f"{end / 1000:.2f}" for end in (low, high)]
    return f"{ends[0]} to {ends[1]} TeV" if all(ends) else f"from {ends[0]} TeV" if ends[0] else f"to {ends[1]} TeV"


Keyed = PValue | Value | Check | ParticleAnswer


def _keyed(record: Any) -> dict[str, Any]:
    """Fields of a record; those that know their keys, alone or in a tuple, by `to_dict`."""
    result: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Keyed):
            result[field.name] = value.to_dict()
        elif isinstance(value, tuple) and value and isinstance(value[0], Keyed):
            result[field.name] = [each.to_dict() for each in value]
        else:
            result[field.name] = plain(value)
    return result


@dataclasses.dataclass(frozen=True, eq=False)
class Told(Findings):
    """Findings with the answers that are made of them: what the pages are written from."""

    answers: Answers = dataclasses.field(kw_only=True)


def told(findings: Findings, started: float) -> Told:
    """Findings with their answers; `started`: `time.monotonic` at the start of the search."""
    fields = {field.name: getattr(findings, field.name) for field in dataclasses.fields(findings)}
    return Told(**fields, answers=answer(findings, round(time.monotonic() - started, 2)))


def answer(findings: Findings, runtime_s: float) -> Answers:
    """The answers of a search, with what they are called."""
    data, signal = findings.data, findings.signal
    particles = tuple(_particle(each, findings) for each in findings.particles)
    leading = particles[0] if particles else None
    return Answers(
        version=__version__,
        seed=findings.seed,
        inputs=tuple(Input(t.path, t.sha256, len(t), t.unit) for t in (data, findings.background) if t is not None),
        runtime_s=runtime_s,
        p_value=_p_value(findings),
        verdict=findings.verdict,
        claim=findings.claim,
        claim_z=findings.config.claim_z,
        particles=particles,
        resonance_mass=None if leading is None else leading.resonance_mass,
        daughter_masses=None if leading is None else leading.daughter_masses,
        decay=None if leading is None else leading.decay,
        n_signal=_signal(findings),
        n_signal_upper_limit_95=findings.upper_95,
        signal_percent=100 * signal.value / len(data),
        selections=_selections(findings),
        mass_spectrum_fit=_spectrum(findings),
        goodness_of_fit=_goodness(findings),
        checks=tuple(
            Check(name, c.passed, text, c.decisive) for c in findings.checks for name, text in [words.check(c)]
        ),
        iterations=tuple(
            Iteration(*words.step(s, findings.config.cross_check), words.numbers(s.before), words.numbers(s.after))
            for s in findings.steps
        ),
        searched=_searched(findings),
    )


def _searched(findings: Findings) -> Searched | None:
    """The range of the fitted dijet function, as the check of it knows it."""
    for check in findings.checks:
        if check.kind == "mass range":
            return Searched(*(check.numbers[field.name] for field in dataclasses.fields(Searched)))
    return None


def _signal(findings: Findings) -> SignalYield:
    found = SignalYield(**words.events(findings.signal))
    if findings.verdict == "difference":
        return dataclasses.replace(
            found, method=f"if the difference were a signal, which is not claimed: {found.method}"
        )
    return found


def _particle(found: Particle, findings: Findings) -> ParticleAnswer:
    mass = found.resonance
    p = dataclasses.replace(
        _p_value(findings), local=found.p_local, overall=found.p_global, z_local=found.z_local, z_global=found.z_global,
        trials=found.trials, draws=found.draws, error=found.error,
    )  # fmt: skip
    daughters = tuple(Value(m.value, m.error, name) for m, name in zip(found.daughters, ("J1", "J2"), strict=False))
    return ParticleAnswer(
        p_value=p,
        resonance_mass=None if mass is None else Value(mass.value, mass.error),
        daughter_masses=daughters or None,
        decay=_decay(found),
        n_signal=SignalYield(**words.events(found.signal)),
        n_signal_upper_limit_95=found.upper_95,
        signal_percent=100 * found.signal.value / len(findings.data),
        window=(found.low, found.high),
    )


def _decay(found: Particle) -> str | None:
    if found.description is not None:
        return words.decay(found.description)
    if found.resonance is None or len(found.daughters) < 2:
        return None
    light, heavy = found.daughters
    return words.decay_of(Masses(found.resonance.value, light.value, heavy.value), found.two_prong_preference)


def _p_value(findings: Findings) -> PValue:
    method, test = words.method(findings), findings.test
    if test is not None:
        found = test.overall
        return PValue(
            found.p_local,
            found.p,
            max(found.z_local),
            found.z,
            method,
            0.0,
            found.trials,
            found.draws,
            found.error,
        )  # fmt: skip
    if findings.sidebands is not None:
        regions = findings.sidebands
        return PValue(
            regions.p_local, regions.p_global, regions.z_local, regions.z_global, method, SMALLEST, regions.trials,
            regions.toys, regions.error,
        )  # fmt: skip
    (spectrum,) = findings.spectra
    assert spectrum.p_local is not None and spectrum.p_global is not None and spectrum.masses is not None
    assert spectrum.z_local is not None and spectrum.z_global is not None
    trials = len(spectrum.masses)
    return PValue(spectrum.p_local, spectrum.p_global, spectrum.z_local, spectrum.z_global, method, SMALLEST, trials, 0)


def _selections(findings: Findings) -> tuple[dict[str, Any], ...]:
    shown = (
        "name", "background_efficiency", "mass_low", "mass_high", "n_data", "n_background_expected",
        "background_error", "p_local", "z_local", "q0",
    )  # fmt: skip
    if findings.sidebands is not None:
        return _of_regions(findings.sidebands)
    selections = () if findings.test is None else findings.test.selections
    return tuple({key: getattr(s, key) for key in shown} for s in selections)


def _of_regions(test: SidebandTest) -> tuple[dict[str, Any], ...]:
    """Selections of signal regions whose spectra could be tested."""
    return tuple(
        {
            "name": s.name,
            "background_efficiency": s.efficiency,
            "mass_low": test.regions[s.region].low,
            "mass_high": test.regions[s.region].high,
            "n_data": s.n_data,
            "n_background_expected": s.n_background,
            "background_error": s.background_error,
            "p_local": upper_tail(s.z_local),
            "z_local": s.z_local,
            "q0": s.z_local**2,
        }
        for s in test.selections
        if s.z_local is not None
    )


def _spectrum(findings: Findings) -> dict[str, Any]:
    """The second p-value, or why there is none, and all spectra."""
    found, spectra = combined(findings.spectra), findings.spectra
    result: dict[str, Any] = {
        "usable": found is not None,
        "reason": "" if found is not None else spectra[0].reason,
        "spectra": [s.to_dict() for s in spectra],
    }
    if found is not None:
        best = found.best
        result |= {
            "selection": best.name,
            "mass": best.mass,
            "p_local": best.p_local,
            "z_local": best.z_local,
            "p_global": found.p_global,
            "z_global": found.z_global,
            "method": words.spectrum_method(found) if findings.sidebands is None else words.method(findings),
            "n_signal": best.n_signal,
            "n_signal_error": best.n_signal_error,
            "n_parameters": best.n_parameters,
        }
    return result


def _goodness(findings: Findings) -> dict[str, Any]:
    """Probabilities of all fits."""
    result: dict[str, Any] = {"spectra": {s.name: s.goodness_p for s in findings.spectra}}
    if findings.test is not None:
        result["background_shape"] = {f"{s.background_efficiency:g}": s.p for s in findings.shapes}
    if findings.yield_fit is not None:
        result["templates"] = findings.yield_fit.goodness_p
    if findings.final is not None:
        result["peaks"] = {p.name: p.goodness_p for p in findings.final.peaks}
    return result
