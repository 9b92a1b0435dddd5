"""Models that many tests share."""

import pytest
from toy_models import dijet

from bumpfit.toys import LogLinear


@pytest.fixture(scope="session")
def spectrum() -> LogLinear:
    return dijet(60_000)


@pytest.fixture(scope="session")
def few_events() -> LogLinear:
    return dijet(600)
