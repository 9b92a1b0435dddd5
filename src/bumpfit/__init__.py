"""bumpfit: likelihood fits for particle-physics searches, from event tables to calibrated p-values, masses and yields."""

from importlib.metadata import version

__version__ = version("bumpfit")
