"""The lowest versions that pyproject.toml promises, as requirements for pip.

python tests/lowest_versions.py [EXTRA ...]
"""

import re
import sys
import tomllib
from pathlib import Path


def lowest(extras: list[str]) -> list[str]:
    """`name==version` of the dependencies and of those of the extras."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    promised = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    return [re.sub(">=", "==", one) for one in dict.fromkeys(promised)]


if __name__ == "__main__":
    print("\n".join(lowest(sys.argv[1:])))
