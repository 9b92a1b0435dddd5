"""From templates to a HistFactory workspace, and from it to expected and observed significance and limit."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bumpfit import inference
from bumpfit.errors import InputError
from bumpfit.events.dataset import PARTS, Dataset
from bumpfit.histograms import check_edges, fill
from bumpfit.results import Discovery, Limit, Record
from bumpfit.tagging.templates import (
    Array,
    Templates,
    equal_edges,
    expected_events,
    not_negative,
    score_edges,
    templates,
)
from bumpfit.tagging.variations import Effect, Variation, effects, modifiers
from bumpfit.workspace.build import Spec, sample, workspace
from bumpfit.workspace.effects_bins import SHAPESYS
from bumpfit.workspace.effects_scale import LUMI, LUMINOSITY, NORMFACTOR, NORMSYS
from bumpfit.workspace.read import compile_model


@dataclasses.dataclass(frozen=True)
class Setup:
    """What turns a data set into an experiment.

    `luminosity` in fb^-1 and `cross_sections` in pb by class, or expected `events` by class; where neither is given the
    weights of the data set are expected events. `luminosity_error` and `cross_section_errors` are relative (the latter
    `background_error` for every class but the signal that is not named). `bins`: bins of the histogram before sparse
    ones are joined; `edges` gives them instead; `least_background`: simulated background events that a bin must hold.
    `variation_norms`: False lets systematic variations change shapes, not the expected events of a class.

    Examples:
        >>> from bumpfit.tagging import Setup
        >>> Setup(signal="w", luminosity=36.1).background_error
        0.1
    """

    signal: str | None = None
    luminosity: float | None = None
    luminosity_error: float = 0.02
    cross_sections: Mapping[str, float] = dataclasses.field(default_factory=dict)
    events: Mapping[str, float] = dataclasses.field(default_factory=dict)
    cross_section_errors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    background_error: float = 0.1
    bins: int = 10
    edges: tuple[float, ...] | None = None
    least_background: int = 10
    variation_norms: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class Prospects(Record):
    """What the experiment can say about the strength mu of the signal (1 as expected).

    `expected` is the median significance of the signal at strength 1 (Asimov data), `observed` that of the data (None
    without data); `limit` is the 95 % CLs limit on mu, its `observed` None without data. `yields` and `errors` are
    expected events and their statistical errors a bin, `data` what was observed, or the expected background.
    `variations` are the expected events of the classes that a systematic uncertainty changes, at +1 and -1 of it.

    Examples:
        >>> import numpy as np
        >>> from bumpfit import tagging
        >>> from bumpfit.events.dataset import Dataset
        >>> score = np.tile([0.1, 0.3, 0.6, 0.9], 50)[:, None].astype(np.float32)
        >>> made = Dataset(score, np.arange(200) // 100, np.ones(200), ("score",), ("background", "signal"))
        >>> setup = tagging.Setup(events={"background": 400.0, "signal": 40.0}, edges=(0.0, 0.5, 1.0))
        >>> found = tagging.prospects(made, made.samples[:, 0], setup, part=None)
        >>> np.round(found.yields["signal"], 6).tolist(), found.has_data
        ([20.0, 20.0], False)
    """

    channel: str
    edges: tuple[float, ...]
    yields: Mapping[str, tuple[float, ...]]
    errors: Mapping[str, tuple[float, ...]]
    data: tuple[float, ...]
    has_data: bool
    expected: Discovery
    observed: Discovery | None
    limit: Limit
    workspace: Spec
    signal: str
    variations: Mapping[str, Mapping[str, Effect]]
    notes: tuple[str, ...] = ()

    def totals(self) -> dict[str, tuple[Array, Array]]:
        """Expected events of all classes a bin, (B,), at +1 and -1 of each systematic uncertainty."""
        found = {}
        for name, affected in self.variations.items():
            sides = [{**self.yields, **{c: getattr(e, side) for c, e in affected.items()}} for side in ("up", "down")]
            up, down = (np.sum(list(side.values()), axis=0) for side in sides)
            found[name] = (up, down)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the fits behind the significances and without the workspace."""
        full = super().to_dict()
        for name in ("expected", "observed"):
            if full[name] is not None:
                full[name] = {key: value for key, value in full[name].items() if not key.endswith("_fit")}
        del full["workspace"]
        return full


def prospects(
    dataset: Dataset,
    values: ArrayLike,
    setup: Setup = Setup(),
    *,
    name: str = "score",
    part: str | None = "test",
    observed: ArrayLike | None = None,
    variations: Mapping[str, Variation] | None = None,
) -> Prospects:
    """Histogram a value of every event, build the likelihood and ask it.

    Args:
        dataset: all parts; templates are made of one and stand for all.
        values: score or observable of every event of the data set, shape (N,).
        name: what it is called.
        part: which part the templates are made of, so that no training event is among them; None takes all.
        observed: the same value of observed events, shape (M,).
        variations: systematic uncertainties by name, each with varied data sets and the same value of their events.

    Raises:
        InputError: unknown classes, numbers out of range, values that cannot be binned, variations that do not fit.
        BumpfitError: a fit does not converge.

    Examples:
        >>> import numpy as np
        >>> from bumpfit import tagging
        >>> from bumpfit.events.dataset import Dataset
        >>> rng, kind = np.random.default_rng(1), np.arange(2000) % 2
        >>> score = rng.normal(2.0 * kind, 1.0)[:, None].astype(np.float32)
        >>> made = Dataset(score, kind, np.ones(2000), ("score",), ("background", "signal")).split(seed=1)
        >>> setup = tagging.Setup(events={"background": 400.0, "signal": 80.0}, bins=4)
        >>> found = tagging.prospects(made, made.samples[:, 0], setup)
        >>> bool(found.expected.z > 2 and found.limit.expected[2] < 1)
        True
    """
    expected = check(dataset, setup)
    signal = dataset.classes[-1] if setup.signal is None else setup.signal
    x = np.asarray(values, dtype=np.float64)
    if x.shape != (len(dataset),):
        raise InputError(f"there are {len(dataset)} samples and values of shape {x.shape}; expected one value a sample")
    notes = []
    whole = dataset
    if part is not None and dataset.part is None:
        notes.append("the data set is not split: templates are made of all its events, training events among them")
    if part is not None and dataset.part is not None:
        rows = dataset.part == PARTS.index(part)
        dataset, x = dataset.get(part), x[rows]
    known = ~np.isnan(x)
    if not known.any():
        raise InputError(f"no event has a value of {name}")
    is_signal = (dataset.targets == dataset.classes.index(signal))[known]
    if setup.edges is not None:
        edges: Array = np.array(setup.edges)
    elif name == "score":
        edges = score_edges(
            x[known], is_signal, dataset.weights[known], setup.bins, least_background=setup.least_background
        )
    else:
        edges = equal_edges(
            x[known], is_signal, setup.bins, least_background=setup.least_background, weights=dataset.weights[known]
        )
    if setup.edges is None:
        edges = not_negative(x[known], dataset.targets[known], dataset.weights[known], edges)
    if len(edges) == 2:
        notes.append(
            f"{name} has one bin: no more can hold {setup.least_background} simulated background events each"
            if setup.edges is None and setup.bins > 1
            else f"{name} has one bin"
        )
    outside = known & ((x < edges[0]) | (x > edges[-1]))
    if outside.any():
        notes.append(
            f"{outside.sum()} of {known.sum()} events lie outside of the edges and count in the outermost bins"
        )
    made = templates(dataset, x, edges, expected, name)
    notes += [f"{n} events of {label} have no value and are in no bin" for label, n in made.missing.items() if n]
    by_weight = frozenset(dataset.classes) - set(setup.cross_sections) - set(setup.events)
    if by_weight and len(by_weight) < len(dataset.classes):
        weighted = ", ".join(f"{label} ({expected[label]:g} events)" for label in sorted(by_weight))
        notes.append(f"no cross-section or number of events was given for {weighted}: its weights are taken instead")
    changes = {}
    for label, variation in (variations or {}).items():
        changes[label], told = effects(
            label, variation, whole, made, expected, part=part, by_weight=by_weight, norms=setup.variation_norms
        )
        notes += told
        if not any(modifiers(label, effect, made.histograms[c].counts) for c, effect in changes[label].items()):
            notes.append(f"the variation '{label}' changes nothing")
    counts = None
    if observed is not None:
        seen = np.asarray(observed, dtype=np.float64).ravel()
        if np.isnan(seen).any():
            notes.append(f"{int(np.isnan(seen).sum())} observed events have no value and are in no bin")
        counts = fill(np.clip(seen[~np.isnan(seen)], edges[0], np.nextafter(edges[-1], -np.inf)), edges).counts
    spec = build(made, signal, setup, counts, changes)
    model = compile_model(spec)
    limit = inference.limit(model)
    return Prospects(
        channel=spec["channels"][0]["name"],
        edges=tuple(edges.tolist()),
        yields={label: tuple(h.counts.tolist()) for label, h in made.histograms.items()},
        errors={label: tuple(np.sqrt(h.variances).tolist()) for label, h in made.histograms.items()},
        data=tuple(spec["observations"][0]["data"]),
        has_data=counts is not None,
        expected=inference.discovery(model, inference.asimov(model, 1.0, fitted=False)),
        observed=None if counts is None else inference.discovery(model),
        limit=limit if counts is not None else dataclasses.replace(limit, observed=None),
        workspace=spec,
        signal=signal,
        variations=changes,
        notes=tuple(notes),
    )


def build(
    made: Templates,
    signal: str,
    setup: Setup,
    observed: Array | None = None,
    changes: Mapping[str, Mapping[str, Effect]] | None = None,
) -> Spec:
    """The HistFactory workspace of templates: strength mu of the signal, luminosity, cross-sections, the numbers of
    simulated background events, and the systematic `changes`.

    The simulated events of each background class have a Poisson constraint in every bin (`shapesys`; Barlow and
    Beeston, Comput. Phys. Commun. 77 (1993) 219, with (sum w)^2 / sum w^2 equivalent events). Without observed counts
    the data are the expected background.
    """
    if all(label == signal for label in made.histograms):
        raise InputError(f"'{signal}' is the only class; a likelihood needs a background")
    channel = re.sub(r"\W+", "_", made.name).strip("_") or "channel"
    samples = []
    for label, histogram in made.histograms.items():
        attached = [NORMFACTOR.modifier("mu")] if label == signal else []
        if setup.luminosity_error > 0:
            attached.append(LUMI.modifier(LUMINOSITY))
        error = setup.cross_section_errors.get(label, 0.0 if label == signal else setup.background_error)
        if error > 0:
            attached.append(NORMSYS.modifier(f"xsec_{label}", (1 - error, 1 + error)))
        if label != signal:
            # of the background alone: a factor on signal and background together would let the signal take the
            # fluctuations of the simulated background. Poisson: ten simulated events are no Gaussian
            spread = np.where(histogram.counts > 0, np.sqrt(histogram.variances), 0.0)
            attached.append(SHAPESYS.modifier(f"stat_{channel}_{label}", spread))
        for name, affected in (changes or {}).items():
            if label in affected:
                attached += modifiers(name, affected[label], histogram.counts)
        samples.append(sample(label, histogram.counts, *attached))
    background = np.sum([h.counts for label, h in made.histograms.items() if label != signal], axis=0)
    data = background if observed is None else observed
    total = float(made.histograms[signal].counts.sum())
    if not total > 0:
        raise InputError(f"no signal events of '{signal}' are expected in any bin")
    top = max(10.0, 2 * float(data.sum() + background.sum()) / total)
    settings: dict[str, Mapping[str, Any]] = {"mu": {"inits": [1.0], "bounds": [[0.0, top]]}}
    if setup.luminosity_error > 0:
        width = setup.luminosity_error
        bounds = [[max(1 - 5 * width, 1e-3), 1 + 5 * width]]
        settings[LUMINOSITY] = {"inits": [1.0], "bounds": bounds, "auxdata": [1.0], "sigmas": [width]}
    return workspace({channel: samples}, {channel: data}, "mu", settings, measurement="tagging")


def check(dataset: Dataset, setup: Setup) -> dict[str, float]:
    """Expected events of each class.

    Raises:
        InputError: unknown classes, numbers out of range, edges that do not increase.

    Examples:
        >>> import numpy as np
        >>> from bumpfit.events.dataset import Dataset
        >>> from bumpfit.tagging import Setup, check
        >>> samples, targets = np.ones((4, 1), np.float32), np.array([0, 0, 1, 1], np.int32)
        >>> dataset = Dataset(samples, targets, np.ones(4), ("m",), ("qcd", "w"))
        >>> check(dataset, Setup(signal="w", events={"qcd": 100.0, "w": 10.0}))
        {'qcd': 100.0, 'w': 10.0}
    """
    named: list[Sequence[str]] = [[setup.signal] if setup.signal else [], list(setup.cross_section_errors)]
    for name in (name for names in named for name in names):
        if name not in dataset.classes:
            raise InputError(f"there is no class '{name}'; the data set has {', '.join(dataset.classes)}")
    errors = {"luminosity": setup.luminosity_error, "backgrounds": setup.background_error, **setup.cross_section_errors}
    for name, value in errors.items():
        if not (np.isfinite(value) and 0 <= value < 1):
            raise InputError(f"the relative error of '{name}' is {value}; expected a fraction from 0 to below 1")
    if setup.bins < 1 or setup.least_background < 1:
        raise InputError(
            f"bins {setup.bins}, least_background {setup.least_background}; expected at least one bin and one event"
        )
    if setup.edges is not None:
        check_edges(setup.edges)
    return expected_events(
        dataset, luminosity=setup.luminosity, cross_sections=setup.cross_sections, events=setup.events
    )
