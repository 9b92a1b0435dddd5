"""How large the statistical experiments are: reduced but still meaningful in the usual tests, whole for studies."""

import os

FULL = bool(os.environ.get("BUMPFIT_STUDIES"))
"""Set by `make studies`."""
