"""Configuration of a search: every number that changes a result, with its meaning; read from TOML."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from bumpfit.errors import InputError
from bumpfit.foreign import read_toml
from bumpfit.scoring import APPROACHES, RANKING, Average, BoostedTrees, Classifier, ExtraTrees, ForwardPlan, approach
from bumpfit.search.equality import EqualitySettings
from bumpfit.search.hypotheses import LibrarySettings
from bumpfit.search.peaks import PeakSettings
from bumpfit.search.sensitivity import SensitivitySettings
from bumpfit.search.sidebands import SidebandSettings
from bumpfit.search.spectrum import SpectrumSettings
from bumpfit.search.template import TemplateSettings
from bumpfit.search.two_sample import RankSettings
from bumpfit.search.windows import WindowPlan


@dataclasses.dataclass(frozen=True)
class ScoringSettings:
    """Which approach tells data from background; its settings are in the table of its name."""

    approach: str = "extra_trees"


@dataclasses.dataclass(frozen=True)
class ParticleSettings:
    """When a further excess is another particle.

    `most`: particles that are looked for; `leftover`: share of a particle's signal that may stay when its events are
    removed; `apart`: distance, in errors and widths of both, from which two masses differ; `seen`: significance that
    the templates at its masses need.
    """

    most: int = 4
    leftover: float = 0.01
    apart: float = 3.0
    seen: float = 3.0


def _approaches() -> dict[str, Classifier]:
    return {"extra_trees": ExtraTrees(trees=60, leaf_events=30), "trees": BoostedTrees(models=4)}


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """All settings of `bumpfit run`; a TOML file has the same names, the nested records as tables.

    `efficiencies`: background efficiencies of the selections; `claim_z`: global significance from which a discovery
    is claimed; `min_background`: background events that a selection must expect above its cuts; `rank`: the statistic
    of the primary test; `library`: decays of the packaged library as its second source; `folds`: of the
    event scores; `scoring`: the approach that tells data from background;
    `approaches`: settings of approaches by name (tables like [trees] or [mlp]; those of the registry
    where none are given); `template_trees`: tell simulated signal-like events from background; `forward`,
    `windows`, `peaks`, `spectrum`, `templates`, `equality`, `sensitivity`, `particles`: settings of those steps;
    `sidebands`: signal regions and their sidebands, where there is no background table;
    `cross_check`: the approach that repeats the primary test as a check; `figures` of the report: all, or few, those of
    the answer.
    """

    efficiencies: tuple[float, ...] = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
    claim_z: float = 3.0
    min_background: int = 5
    rank: RankSettings = RankSettings()
    library: LibrarySettings = LibrarySettings()
    folds: int = 5
    scoring: ScoringSettings = ScoringSettings()
    approaches: Mapping[str, Classifier] = dataclasses.field(default_factory=_approaches)
    template_trees: BoostedTrees = BoostedTrees(models=2, learning_rate=0.1, iterations=100)
    forward: ForwardPlan = ForwardPlan()
    windows: WindowPlan = WindowPlan()
    peaks: PeakSettings = PeakSettings()
    spectrum: SpectrumSettings = SpectrumSettings()
    templates: TemplateSettings = TemplateSettings()
    equality: EqualitySettings = EqualitySettings()
    sensitivity: SensitivitySettings = SensitivitySettings()
    particles: ParticleSettings = ParticleSettings()
    sidebands: SidebandSettings = SidebandSettings()
    cross_check: str = "trees"
    figures: str = "all"

    @property
    def approach(self) -> Classifier:
        """The approach that tells data from background."""
        return self.approach_of(self.scoring.approach)

    def approach_of(self, name: str) -> Classifier:
        """The approach of this name with the settings given here; an average takes those of its members."""
        made = self.approaches.get(name) or approach(name)
        if not isinstance(made, Average):
            return made
        given = {member: self.approaches[member].get_params() for member in made.members if member in self.approaches}
        merged = {member: {**given.get(member, {}), **made.settings.get(member, {})} for member in made.members}
        return dataclasses.replace(made, settings={**made.settings, **merged})

    def quick(self) -> SearchConfig:
        """The same search with fewer, smaller trainings and few figures: a first look, with a valid p-value.

        Settings that differ from the defaults, such as those of a configuration file, are kept.
        """
        default = SearchConfig()
        smaller = {
            "folds": 2,
            "rank": dataclasses.replace(default.rank, error=0.1),
            "library": dataclasses.replace(default.library, step=1.2, cloud=10_000),
            "template_trees": BoostedTrees(models=1, learning_rate=0.2, iterations=50),
            "templates": dataclasses.replace(default.templates, folds=2),
            "forward": ForwardPlan(first=0.4, blocks=3),
            "sensitivity": dataclasses.replace(default.sensitivity, steps=4, events=5000),
            "sidebands": dataclasses.replace(default.sidebands, folds=2, step=default.sidebands.ratio, toys=500),
            "figures": "few",
        }
        chosen: dict[str, Any] = {k: v for k, v in smaller.items() if getattr(self, k) == getattr(default, k)}
        fewer = {"extra_trees": ExtraTrees(trees=25, leaf_events=30), "trees": BoostedTrees(models=1)}
        chosen["approaches"] = {
            name: fewer[name] if name in fewer and made == default.approaches.get(name) else made
            for name, made in self.approaches.items()
        }
        return dataclasses.replace(self, **chosen)


def read_config(path: str | os.PathLike[str]) -> SearchConfig:
    """Settings from a TOML file; raises InputError for a missing file, bad TOML, unknown names and wrong types."""
    content = read_toml(path, "settings of a search")
    config: SearchConfig = _filled(SearchConfig(), content, str(path))
    _check(config, str(path))
    return config


def with_approach(config: SearchConfig, name: str) -> SearchConfig:
    """The same search with another approach; raises InputError for one that cannot serve a search."""
    changed = dataclasses.replace(config, scoring=ScoringSettings(name))
    _check(changed, f"--approach {name}")
    return changed


def _filled(default: Any, content: Mapping[str, Any], where: str) -> Any:
    known = [field.name for field in dataclasses.fields(default) if field.name != "approaches"]
    values: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(default, SearchConfig) and key in APPROACHES:
            if not isinstance(value, dict):
                raise InputError(f"{where}: '{key}' is {value!r}; expected a table of settings")
            old = default.approaches.get(key) or approach(key)
            values.setdefault("approaches", dict(default.approaches))[key] = _filled(
                old, value, f"{where}, table '{key}'"
            )
            continue
        if key not in known:
            raise InputError(f"{where} has the setting '{key}', which does not exist; known: {', '.join(known)}")
        old = getattr(default, key)
        if dataclasses.is_dataclass(old):
            if not isinstance(value, dict):
                raise InputError(f"{where}: '{key}' is {value!r}; expected a table of settings")
            values[key] = _filled(old, value, f"{where}, table '{key}'")
        elif isinstance(old, tuple):
            kind, fits = ("texts", _text) if isinstance(old[0], str) else ("numbers", _number)
            if not isinstance(value, list) or not value or not all(fits(v) for v in value):
                raise InputError(f"{where}: '{key}' is {value!r}; expected a list of {kind}")
            values[key] = tuple(type(old[0])(v) for v in value)
        elif isinstance(old, Mapping):
            if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
                raise InputError(f"{where}: '{key}' is {value!r}; expected tables of settings by name")
            values[key] = value
        elif isinstance(old, bool):
            if not isinstance(value, bool):
                raise InputError(f"{where}: '{key}' is {value!r}; expected true or false")
            values[key] = value
        elif isinstance(old, str):
            if not isinstance(value, str):
                raise InputError(f"{where}: '{key}' is {value!r}; expected a text")
            values[key] = value
        else:
            if not _number(value) or (isinstance(old, int) and not isinstance(value, int)):
                kind = "a whole number" if isinstance(old, int) else "a number"
                raise InputError(f"{where}: '{key}' is {value!r}; expected {kind}")
            values[key] = float(value) if old is None else type(old)(value)
    return dataclasses.replace(default, **values)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check(config: SearchConfig, where: str) -> None:
    """Ranges outside of which the statistics are not what they say."""
    trees = (*(t for t in config.approaches.values() if isinstance(t, BoostedTrees)), config.template_trees)
    used = (config.scoring.approach, config.cross_check)
    e = config.efficiencies
    rules = [
        (all(0 < x <= 0.5 for x in e) and len(set(e)) == len(e), "efficiencies must be different and lie in (0, 0.5]"),
        (0 < config.claim_z < 40, "claim_z must be a number of standard deviations above 0"),
        (config.min_background >= 1, "min_background must be at least 1"),
        (config.rank.depth > 0 and 0 < config.rank.reach <= 0.5, "rank needs depth > 0 and 0 < reach <= 0.5"),
        (0 < config.rank.error <= 0.2, "rank needs an error above 0 and of at most 0.2"),
        (config.rank.draws >= 1000, "rank needs at least 1000 draws"),
        (1 < config.rank.interval <= 2, "rank needs an interval above 1 and of at most 2"),
        (config.library.step > 1 and config.library.mass_step > 1, "library needs steps above 1"),
        (all(0 < f < 0.5 for f in config.library.fractions), "library needs fractions between 0 and 0.5"),
        (config.library.first_parts >= 1, "library needs first_parts of at least 1"),
        (config.library.cloud >= 1000, "library needs a cloud of at least 1000 decays"),
        (2 <= config.library.folds <= 100, "library needs from 2 to 100 folds"),
        (config.templates.models >= 1, "templates needs at least 1 model"),
        (2 <= config.folds <= 100, "folds must be from 2 to 100"),
        (0 < config.forward.first < 1, "forward needs 0 < first < 1"),
        (1 <= config.forward.blocks <= 100, "forward needs from 1 to 100 blocks"),
        (config.windows.ratio > config.windows.step > 1, "windows needs ratio > step > 1"),
        (config.windows.min_events >= 100, "windows needs min_events of at least 100"),
        (all(t.models >= 1 and t.iterations >= 1 for t in trees), "trees need at least one model and one iteration"),
        (all(0 < t.learning_rate <= 1 and t.leaves >= 2 for t in trees), "trees need 0 < learning_rate <= 1"),
        (all(t.leaf_events >= 1 and t.l2 >= 0 for t in trees), "trees need leaf_events >= 1 and l2 >= 0"),
        (all(0 < t.validation_fraction < 1 for t in trees), "trees need 0 < validation_fraction < 1"),
        (all(t.patience >= 1 for t in trees), "trees need patience >= 1"),
        (0 <= config.templates.tau_scale < 1 and 0 <= config.templates.tau_spread < 1, "templates needs tau_* < 1"),
        (2 <= config.templates.folds <= 100, "templates needs from 2 to 100 folds"),
        (
            config.spectrum.low >= 0 and (not config.spectrum.high or config.spectrum.low < config.spectrum.high),
            "spectrum needs 0 <= low < high (0: found from the spectrum)",
        ),
        (
            min(config.sidebands.ratio, config.sidebands.side, config.sidebands.step) > 1,
            "sidebands needs ratio, side and step above 1",
        ),
        (config.sidebands.min_events >= 100, "sidebands needs min_events of at least 100"),
        (0.01 <= config.sidebands.width <= 1, "sidebands needs a width from 0.01 to 1"),
        (2 <= config.sidebands.folds <= 100, "sidebands needs from 2 to 100 folds"),
        (config.sidebands.toys >= 100, "sidebands needs at least 100 toys"),
        (0 < config.spectrum.least_p <= config.spectrum.smooth_p < 1, "spectrum needs 0 < least_p <= smooth_p < 1"),
        (3 <= config.equality.bins <= 1000, "equality needs from 3 to 1000 bins"),
        (0 < config.equality.differ < 1 and 0 < config.equality.leftover < 1, "equality needs probabilities below 1"),
        (config.particles.most >= 1 and 0 < config.particles.leftover < 1, "particles needs most >= 1"),
        (0 < config.sensitivity.largest < 1, "sensitivity needs 0 < largest < 1"),
        (config.sensitivity.steps >= 1 and config.sensitivity.events >= 100, "sensitivity needs 100 events"),
        (config.peaks.bins >= 10, "peaks needs at least 10 bins"),
        (config.figures in ("all", "few"), "figures must be all or few"),
        (all(name in RANKING for name in used), f"scoring and cross_check need one of {', '.join(RANKING)}"),
    ]
    for good, message in rules:
        if not good:
            raise InputError(f"{where}: {message}")
    for name in used:  # settings out of range are told before anything is trained
        found = config.approach_of(name)
        found.made() if isinstance(found, Average) else found.estimator(0)


def config_toml(config: Any, table: str = "") -> str:
    """Settings (nested records of numbers, texts and tuples) as TOML that `read_config` takes back unchanged."""
    lines, tables = [], []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(config, SearchConfig) and field.name == "approaches":
            tables += [f"\n[{name}]\n{config_toml(each, name)}" for name, each in value.items()]
        elif dataclasses.is_dataclass(value):
            tables.append(f"\n[{field.name}]\n{config_toml(value)}")
        elif isinstance(value, Mapping):
            for name, each in value.items():
                rows = "".join(f"{key} = {_toml(entry)}\n" for key, entry in each.items())
                tables.append(f"\n[{table}.{field.name}.{name}]\n{rows}")
        else:
            lines.append(f"{field.name} = {_toml(value)}\n")
    return "".join(lines + tables)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    return repr(value)
