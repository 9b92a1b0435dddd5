"""Many worlds at once: toys of a model, and the p-values, limits and coverage that they calibrate."""

from bumpfit.clusters import dask_executor
from bumpfit.toys.coverage import Coverage, Sensitivity, coverage, sensitivity
from bumpfit.toys.curves import Curve, convergence, global_curve, tail_curve
from bumpfit.toys.importance import tail
from bumpfit.toys.jobs import job_files
from bumpfit.toys.law import Toys
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.look_elsewhere import GlobalToys, scan_toys
from bumpfit.toys.run import parse_shard, run, shard
from bumpfit.toys.tally import Tally, read
from bumpfit.toys.tallying import merge
from bumpfit.toys.throw import ToySample, engine, throw

__all__ = [
    "Coverage",
    "Curve",
    "GlobalToys",
    "LogLinear",
    "Sensitivity",
    "Tally",
    "ToySample",
    "Toys",
    "convergence",
    "coverage",
    "dask_executor",
    "engine",
    "global_curve",
    "job_files",
    "merge",
    "parse_shard",
    "read",
    "run",
    "scan_toys",
    "sensitivity",
    "shard",
    "tail",
    "tail_curve",
    "throw",
]
