"""The registry of approaches: every classifier by name, for the search, `score` and `train` alike.

A new approach is a `Classifier` in a file of its own and one name here. `Average` makes one approach of several.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from bumpfit.errors import InputError
from bumpfit.scoring.approaches import SURE, BoostedTrees, mean_log_odds
from bumpfit.scoring.classifier import Array, Classifier, Labels, State, check_settings
from bumpfit.scoring.cuts import CutAndCount
from bumpfit.scoring.forests import ExtraTrees, RandomForest
from bumpfit.scoring.networks import CNN, MLP


@dataclasses.dataclass(unsafe_hash=True)
class Average(Classifier):
    """Several approaches trained on the same events, each with a seed of its own; their log odds are averaged.

    `members`: names of approaches, a name may come more than once; `settings`: settings by name of approach.

    Examples:
        >>> bumpfit.scoring.Average().members
        ('trees', 'extra_trees')
    """

    kind: ClassVar[str] = "average"
    members: tuple[str, ...] = ("trees", "extra_trees")
    settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        self.members = tuple(self.members)

    def made(self) -> tuple[Classifier, ...]:
        """The untrained members; raises InputError for unknown names, settings, and members that cannot be averaged."""
        if not self.members:
            raise InputError("an average needs at least one member")
        unused = set(self.settings) - set(self.members)
        if unused:
            raise InputError(f"the average has settings of {', '.join(sorted(unused))}, which is none of its members")
        found = tuple(approach(name, **self.settings.get(name, {})) for name in self.members)
        for one in found:
            if isinstance(one, Average) or not ranks(one):
                raise InputError(f"'{one.kind}' cannot be a member of an average; expected {', '.join(RANKING[:-1])}")
        return found

    def _train(self, features: Array, index: Labels, weights: Array, seed: int) -> None:
        seeds = np.random.SeedSequence(seed).generate_state(len(self.members))
        self.members_ = tuple(
            one.fit(features, index, weights, seed=int(s)) for one, s in zip(self.made(), seeds, strict=True)
        )

    def _probabilities(self, features: Array) -> Array:
        return mean_log_odds([one.predict_proba(features) for one in self.members_], SURE)

    def _state(self) -> State:
        states = [one.state() for one in self.members_]
        return State(
            {"members": [dict(s.plain) for s in states]},
            {f"{i}/{name}": array for i, s in enumerate(states) for name, array in s.arrays.items()},
            {f"{i}/{name}": content for i, s in enumerate(states) for name, content in s.files.items()},
        )

    def _restore(self, state: State) -> None:
        def part(i: int, of: Mapping[str, Any]) -> dict[str, Any]:
            return {name.removeprefix(f"{i}/"): each for name, each in of.items() if name.startswith(f"{i}/")}

        self.members_ = tuple(
            one.restore(State(plain, part(i, state.arrays), part(i, state.files)))
            for i, (one, plain) in enumerate(zip(self.made(), state.plain["members"], strict=True))
        )
        if any(one.classes_.tolist() != list(range(len(self.classes_))) for one in self.members_):
            raise ValueError("the members of the average know other classes")
        if any(one.n_features_in_ != self.n_features_in_ for one in self.members_):
            raise ValueError("the members of the average have other features")


APPROACHES: dict[str, type[Classifier]] = {
    each.kind: each for each in (CutAndCount, BoostedTrees, RandomForest, ExtraTrees, MLP, CNN, Average)
}


def ranks(made: Classifier) -> bool:
    """Whether an approach puts events of a table into an order: cuts only accept or reject, images are no table."""
    return made.dimensions == 2 and not isinstance(made, CutAndCount)


RANKING = tuple(name for name, each in APPROACHES.items() if ranks(each()))
"""Approaches that can serve a search."""


def approach(name: str, **settings: Any) -> Classifier:
    """The approach of this name; raises InputError for an unknown name or setting.

    Examples:
        >>> bumpfit.scoring.approach("forest", trees=10)
        RandomForest(trees=10, leaf_events=50, features=0.5)
    """
    if name not in APPROACHES:
        raise InputError(f"there is no approach '{name}'; expected one of {', '.join(APPROACHES)}")
    check_settings(APPROACHES[name], settings)
    return APPROACHES[name](**settings)
