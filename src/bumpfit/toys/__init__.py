"""Many worlds at once: toys of a model, and the p-values, limits and coverage that they calibrate."""

from bumpfit.toys.importance import tail
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.throw import Toys, engine, throw

__all__ = ["LogLinear", "Toys", "engine", "tail", "throw"]
