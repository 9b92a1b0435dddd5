"""Tables that cannot be compared are refused, and what looks wrong is told."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bumpfit.errors import InputError, InputWarning
from bumpfit.events.pairs import check_pair
from bumpfit.events.tables import FEATURES, read
from bumpfit.scoring.crossfit import survival


def table(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "m_JJ": 3000 * (1 - rng.random(n) * 0.6) ** -0.25, "m_J1": rng.gamma(4, 40, n),
        "delta_m_J": rng.gamma(3, 60, n), "tau_2_over_tau_1_J1": rng.beta(5, 2, n),
        "tau_2_over_tau_1_J2": rng.beta(5, 2, n),
    })  # fmt: skip


def check(data: pd.DataFrame, background: pd.DataFrame, features: tuple[str, ...] = FEATURES) -> None:
    check_pair(read(data, features=features), read(background, features=features))


def test_good_tables_pass_without_a_word() -> None:
    for seed in range(5):
        check(table(3000, seed), table(2000, seed + 100))
        check(table(60, seed), table(40, seed + 100))


def test_a_strong_signal_is_not_told() -> None:
    data = table(5000, 1)
    data.loc[:400, "m_J1"] = np.random.default_rng(2).normal(300, 10, 401)
    check(data, table(4000, 2))


@pytest.mark.parametrize("column", ["m_J1", "delta_m_J"])
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_jets_in_another_unit(column: str, factor: float) -> None:
    data = table(2000, 1)
    other = data.assign(**{column: data[column] * factor})
    if factor < 1:
        with pytest.raises(InputError, match=f"'{column}' differs by a factor"):
            check(other, table(1500, 2))
        with pytest.raises(InputError, match=f"'{column}' differs by a factor"):
            check(table(1500, 2), other)
    else:
        with pytest.raises(InputError):
            check(other, table(1500, 2))


@pytest.mark.parametrize("share", [0.5, 0.2, 0.03])
def test_some_masses_in_another_unit(share: float) -> None:
    data = table(2000, 1)
    data["m_JJ"] = np.where(np.arange(2000) < share * 2000, data.m_JJ / 1000, data.m_JJ)
    with pytest.raises(InputError, match="m_JJ"):
        check(data, table(1500, 2))
    with pytest.raises(InputError, match="m_JJ"):
        check(table(1500, 2), data)


@pytest.mark.parametrize("value", [0.0, 17.0, 0.5])
def test_a_feature_that_is_constant_in_one_table(value: float) -> None:
    data, background = table(2000, 1), table(1500, 2)
    name = "tau_2_over_tau_1_J1"
    with pytest.raises(InputError, match=f"'{name}' is {value:g} in all events of the data"):
        check(data.assign(**{name: value}), background)
    with pytest.raises(InputError, match="in all events of the background"):
        check(data, background.assign(**{name: value}))
    with pytest.raises(InputError, match=name):
        check(data.assign(**{name: value + 1}), background.assign(**{name: value}))
    with pytest.warns(InputWarning, match="tells nothing"):
        check(data.assign(**{name: value}), background.assign(**{name: value}))


def test_a_mass_that_is_constant_is_refused() -> None:
    with pytest.raises(InputError, match="'m_J1' is 100 in all events"):
        check(table(300, 1).assign(m_J1=100.0), table(200, 2).assign(m_J1=100.0))


def test_the_same_events_in_both_tables() -> None:
    data, background = table(2000, 1), table(1500, 2)
    shuffled = data.sample(frac=1, random_state=1).reset_index(drop=True)
    with pytest.raises(InputError, match=r"2000 events \(100.0% of the smaller table\) are in the data"):
        check(data, shuffled)
    with pytest.raises(InputError, match="750 events"):
        check(data, pd.concat([data[:750], background[:750]], ignore_index=True))
    rounded = data.astype(np.float32).astype(np.float64)
    with pytest.raises(InputError, match="2000 events"):
        check(data, rounded.sample(frac=1, random_state=2).reset_index(drop=True))
    with pytest.warns(InputWarning, match="3 events"):
        check(data, pd.concat([data[:3], background], ignore_index=True))


@pytest.mark.parametrize("digits", [4, 5, 6])
def test_the_same_events_rounded(digits: int) -> None:
    data, background = table(3000, 1), table(2000, 2)
    rounded = data.map(lambda value: float(f"{value:.{digits}g}"))
    with pytest.raises(InputError, match="but for rounding"):
        check(rounded.sample(frac=1, random_state=1).reset_index(drop=True), data)
    with pytest.raises(InputError, match="but for rounding"):
        check(data, pd.concat([rounded[:300], background], ignore_index=True))


@pytest.mark.parametrize("decimals", [2, 1])
def test_other_events_of_few_digits_are_no_shared_ones(decimals: int) -> None:
    for seed in range(3):
        check(table(3000, seed).round(decimals), table(2000, seed + 100).round(decimals))


def test_repeated_events() -> None:
    data, background = table(2000, 1), table(1500, 2)
    with pytest.raises(InputError, match=r"1000 events .* repeat"):
        check(pd.concat([data, data[:1000]], ignore_index=True), background)
    with pytest.raises(InputError, match="the table has 1500 events"):
        check(data, pd.concat([background] * 2, ignore_index=True))
    with pytest.warns(InputWarning, match="2 events"):
        check(pd.concat([data, data[:2]], ignore_index=True), background)


def test_coarse_features_repeat_by_chance() -> None:
    def coarse(n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        return pd.DataFrame({"m_JJ": rng.integers(3000, 4000, n).astype(float), "n_jets": rng.poisson(1.0, n)})

    with pytest.warns(InputWarning) as told:
        check(coarse(3000, 1), coarse(2000, 2), ("n_jets",))
    assert {"repeat", "shared"} <= {word for warning in told for word in str(warning.message).split()}


def test_shapes_that_no_small_signal_makes() -> None:
    data, background = table(3000, 1), table(2000, 2)
    with pytest.warns(InputWarning, match="'m_J1' differ"):
        check(data.assign(m_J1=data.m_J1 * 1.6), background)


def test_csv_and_parquet_have_one_content(tmp_path: Path) -> None:
    data = table(500, 1)
    data.to_csv(tmp_path / "d.csv")
    data.to_parquet(tmp_path / "d.parquet")
    data.astype(np.float32).to_parquet(tmp_path / "single.parquet")
    found = [read(path) for path in (tmp_path / "d.csv", tmp_path / "d.parquet", tmp_path / "single.parquet", data)]
    assert len({each.content for each in found}) == 1
    assert read(data[["m_JJ", *FEATURES[::-1]]], features=FEATURES[::-1]).content == found[0].content
    assert read(data.assign(m_J1=data.m_J1 * 1.001)).content != found[0].content


@pytest.mark.parametrize(
    ("text", "words"),
    [("1.5,2,3\n4,5,6\n", "no header line"), ("# made today\nm_JJ,x\n1,2\n", "begins with a comment")],
)
def test_first_lines_that_are_no_header(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read(tmp_path / "a.csv")


def test_a_survival_is_never_zero() -> None:
    found = survival(np.array([5.0, 1e6, 1e-3]), np.zeros(100))
    assert (found > 0).all() and (found < 1).all()


def test_a_spectrum_in_two_units_is_refused() -> None:
    for share, other in ((2, 1000.0), (10, 1000.0), (3, 0.001)):
        mixed = table(3000, 1)
        mixed.loc[mixed.index % share == 0, "m_JJ"] /= other
        with pytest.raises(InputError, match="none between; expected all masses in the same unit"):
            read(mixed)
    stray = table(3000, 1)
    stray.loc[7, "m_JJ"] /= 1000.0
    read(stray)
