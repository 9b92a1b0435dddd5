"""Systematic variations: how data sets made with a shifted energy scale, resolution or weight change the templates.

A variation is a data set at +1 standard deviation and one at -1, made with the same cuts and observables and scored by
the same model. Cross-sections stay as they are: what changes is the efficiency of the cuts and the shape.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from bumpfit.errors import InputError
from bumpfit.events.dataset import PARTS, Dataset
from bumpfit.results import Record
from bumpfit.tagging.templates import Templates, templates
from bumpfit.workspace.build import Spec
from bumpfit.workspace.effects_scale import LUMINOSITY, NORMSYS
from bumpfit.workspace.effects_shape import HISTOSYS

RESERVED = ("mu", LUMINOSITY)
PREFIXES = ("xsec_", "stat_")


@dataclasses.dataclass(frozen=True, eq=False)
class Varied:
    """A varied data set and the score or observable of each of its events, shape (N,).

    Examples:
        >>> import numpy as np
        >>> from bumpfit.events.dataset import Dataset
        >>> from bumpfit.tagging import Varied, scaled
        >>> samples, targets = np.ones((4, 1), np.float32), np.array([0, 0, 1, 1], np.int32)
        >>> dataset = Dataset(samples, targets, np.ones(4), ("m",), ("qcd", "w"))
        >>> Varied(scaled(dataset, "m", 1.25), [0.2, 0.9, 0.7, 0.9]).dataset.classes
        ('qcd', 'w')
    """

    dataset: Dataset
    values: ArrayLike


@dataclasses.dataclass(frozen=True, eq=False)
class Variation:
    """A systematic uncertainty at +1 and -1 standard deviation; without `down` the change of `up` is mirrored.

    Classes that the data sets do not hold are not affected.

    Examples:
        >>> import numpy as np
        >>> from bumpfit.events.dataset import Dataset
        >>> from bumpfit.tagging import Variation, Varied, scaled
        >>> samples, targets = np.ones((4, 1), np.float32), np.array([0, 0, 1, 1], np.int32)
        >>> dataset = Dataset(samples, targets, np.ones(4), ("m",), ("qcd", "w"))
        >>> up = Varied(scaled(dataset, "m", 1.25), [0.2, 0.9, 0.7, 0.9])
        >>> Variation(up).down is None  # the change of `up` is mirrored
        True
    """

    up: Varied
    down: Varied | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Effect(Record):
    """Expected events of a class a bin, (B,) each, with the uncertainty at +1 and -1 standard deviation.

    Examples:
        >>> from bumpfit.tagging import Effect
        >>> Effect(up=(1.1,), down=(0.9,)).up
        (1.1,)
    """

    up: tuple[float, ...]
    down: tuple[float, ...]


def effects(
    name: str,
    variation: Variation,
    dataset: Dataset,
    made: Templates,
    expected: Mapping[str, float],
    *,
    part: str | None,
    by_weight: frozenset[str] = frozenset(),
    norms: bool = True,
) -> tuple[dict[str, Effect], list[str]]:
    """The effect of a variation on the templates `made` of each class that it holds, and notes.

    Args:
        name: of the variation, which becomes that of the nuisance parameter.
        variation: its data sets.
        dataset: the data set as it is, all parts.
        made: its templates.
        expected: its expected events of each class.
        part: the part that templates are made of, where a data set is split; None for all events.
        by_weight: classes whose weights add up to the expected events; others are scaled with the efficiency.
        norms: False keeps the expected events of each class: the shape alone changes.

    Raises:
        InputError: unknown classes or names, nothing left of a class, or events that trained the model among those of
            the template.
    """
    if name in RESERVED or name.startswith(PREFIXES) or not name.strip():
        raise InputError(f"a variation cannot be called '{name}', as a parameter of the workspace is; rename it")
    sides = {"up": variation.up} if variation.down is None else {"up": variation.up, "down": variation.down}
    notes: list[str] = []
    found: dict[str, dict[str, np.ndarray]] = {}
    for side, varied in sides.items():
        there = [label for label, number in _numbers(varied.dataset) if (varied.dataset.targets == number).any()]
        for label in there:
            if label not in dataset.classes:
                raise InputError(
                    f"the variation '{name}' has the class '{label}'; the data set has {', '.join(dataset.classes)}"
                )
        totals = {}
        for label in there:
            totals[label], note = _expected(dataset, varied.dataset, label, expected[label], label in by_weight, norms)
            notes += [f"{name}: {note}"] if note else []
        if part is not None and made.name == "score":
            notes += [
                f"{name}: {note}" for label in there for note in _unseen(name, dataset, varied.dataset, label, part)
            ]
        histograms = _histograms(varied, part, made, totals)
        found[side] = {label: histograms[label] for label in there}
    if "down" in found and set(found["up"]) != set(found["down"]):
        raise InputError(
            f"the variation '{name}' has the classes {', '.join(found['up'])} upwards and {', '.join(found['down'])} "
            "downwards; expected the same"
        )
    result = {}
    for label, up in found["up"].items():
        nominal = made.histograms[label].counts
        if not up.sum() > 0 or ("down" in found and not found["down"][label].sum() > 0):
            raise InputError(f"the variation '{name}' leaves no events of '{label}'")
        down = found["down"][label] if "down" in found else _mirrored(nominal, up)
        result[label] = Effect(tuple(up.tolist()), tuple(down.tolist()))
    return result, list(dict.fromkeys(notes))


def modifiers(name: str, effect: Effect, nominal: ArrayLike) -> list[Spec]:
    """The effect in HistFactory: a `normsys` for the total and a `histosys` for the shape, of one parameter.

    At +1 and -1 the product is the varied template exactly; the total is interpolated as an exponential between, so it
    cannot become negative.
    """
    n, up, down = (np.asarray(values, dtype=np.float64) for values in (nominal, effect.up, effect.down))
    high, low = up.sum() / n.sum(), down.sum() / n.sum()
    made = []
    if max(abs(high - 1), abs(low - 1)) > 1e-9:
        made.append(NORMSYS.modifier(name, (low, high)))
    if len(n) > 1 and not (np.allclose(up / high, n, rtol=1e-9) and np.allclose(down / low, n, rtol=1e-9)):
        made.append(HISTOSYS.modifier(name, (down / low, up / high)))
    return made


def scaled(dataset: Dataset, feature: str, factor: float) -> Dataset:
    """The data set with a feature multiplied; events do not move over its cuts.

    Raises:
        InputError: no such feature.

    Examples:
        >>> import numpy as np
        >>> from bumpfit.events.dataset import Dataset
        >>> from bumpfit.tagging import scaled
        >>> samples, targets = np.ones((4, 1), np.float32), np.array([0, 0, 1, 1], np.int32)
        >>> dataset = Dataset(samples, targets, np.ones(4), ("m",), ("qcd", "w"))
        >>> scaled(dataset, "m", 1.25).samples.ravel().tolist()
        [1.25, 1.25, 1.25, 1.25]
    """
    if feature not in dataset.features:
        raise InputError(f"the data set has no '{feature}'; its features are {', '.join(dataset.features) or 'images'}")
    samples = dataset.samples.copy()
    samples[:, dataset.features.index(feature)] *= factor
    return dataclasses.replace(dataset, samples=samples)


def _numbers(dataset: Dataset) -> list[tuple[str, int]]:
    return [(label, number) for number, label in enumerate(dataset.classes)]


def _histograms(
    varied: Varied, part: str | None, made: Templates, totals: Mapping[str, float]
) -> dict[str, np.ndarray]:
    data, x = varied.dataset, np.asarray(varied.values, dtype=np.float64)
    if x.shape != (len(data),):
        raise InputError(f"there are {len(data)} varied samples and values of shape {x.shape}; expected one a sample")
    if part is not None and data.part is not None:
        rows = data.part == PARTS.index(part)
        data, x = data.get(part), x[rows]
    full = templates(data, x, made.edges, totals, made.name)
    return {label: histogram.counts for label, histogram in full.histograms.items()}


def _mirrored(nominal: np.ndarray, up: np.ndarray) -> np.ndarray:
    """The shape on the other side of the nominal one, the total divided where that of `up` was multiplied."""
    ratio = up.sum() / nominal.sum()
    shape = np.maximum(2 * nominal - up / ratio, 0.0)
    return np.asarray(shape * nominal.sum() / shape.sum() / ratio)


def _expected(
    dataset: Dataset, varied: Dataset, label: str, nominal: float, by_weight: bool, norms: bool
) -> tuple[float, str]:
    """Expected events of the varied class, and a note where only its shape can be had."""
    if not norms:
        return nominal, ""
    passed, generated = [], []
    for data in (dataset, varied):
        passed.append(float(data.weights[data.targets == data.classes.index(label)].sum()))
        generated.append(data.provenance.get("classes", {}).get(label, {}).get("weight"))
    if by_weight:
        return passed[1], ""
    if not all(generated):
        return nominal, f"it is not known how many events of '{label}' were generated, so its shape alone is varied"
    return nominal * (passed[1] / generated[1]) / (passed[0] / generated[0]), ""


def _unseen(name: str, dataset: Dataset, varied: Dataset, label: str, part: str) -> list[str]:
    """Raise InputError when events that trained the model are in the varied template; a note where that may be."""
    origins = [data.provenance.get("classes", {}).get(label, {}) for data in (dataset, varied)]
    events, digests = ([origin.get(key) for origin in origins] for key in ("events", "files"))
    if dataset.part is None or part == "train" or events[0] is None or events[0] != events[1]:
        return []
    if not digests[0] or sorted(digests[0].values()) != sorted((digests[1] or {}).values()):
        if varied.provenance.get("split", {}).get("alike"):
            return []
        return [
            f"if the varied events of '{label}' are those of the data set, make it with --split-as, so that none that "
            "trained the model is in a template"
        ]
    if dataset.index is None or varied.index is None:
        return []
    trained = np.zeros(events[0], bool)
    trained[
        dataset.index[(dataset.part == PARTS.index("train")) & (dataset.targets == dataset.classes.index(label))]
    ] = 1
    used = varied.targets == varied.classes.index(label)
    used &= True if varied.part is None else varied.part == PARTS.index(part)
    both = int(trained[varied.index[used]].sum())
    if both:
        raise InputError(
            f"{both} events of '{label}' that the template of the variation '{name}' is made of are training events of "
            "the data set; make it with bumpfit dataset --split-as (Dataset.split_as)"
        )
    return []
