"""Command lines run in this process, and what came of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "workspaces"


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Run = Callable[..., Done]


def refused(done: Done, code: int = 2) -> str:
    """The one sentence of a refusal."""
    assert done.code == code, (done.out, done.err)
    assert "Traceback" not in done.err
    assert done.err.startswith("bumpfit: ")
    assert len(done.err.strip().splitlines()) == 1
    return done.err
