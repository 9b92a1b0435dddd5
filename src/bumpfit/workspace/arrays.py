"""The arrays of a compiled HistFactory model, which the numba kernels read, and the numbers of its interpolations."""

from __future__ import annotations

from typing import NamedTuple

from bumpfit.compiled import record
from bumpfit.types import Floats, Integers

LINEAR = 0  # the parameter itself is the factor: normfactor, lumi
CODE0, CODE1, CODE4, CODE4P = 10, 11, 14, 15
SMOOTH = 16  # an exponential whose two slopes join smoothly (Combine's asymmetric lnN)

# Stands for a factor of exactly zero, whose logarithmic derivative does not exist.
ZERO_FACTOR = 1e-100

# Rates below this come from such factors and are zero.
NO_RATE = 1e-60


@record
class Compiled(NamedTuple):
    """A HistFactory model as plain arrays. E entries, B bins over all channels, P parameters.

    An entry covers bins `entry_bin[e]` to `entry_bin[e] + entry_size[e]`, trimmed to the bins where it can be
    non-zero; its yields start at `entry_start[e]` in `nominal`. Lists of modifiers are in compressed rows: entry e
    owns items `pointer[e]` to `pointer[e + 1]`.
    """

    n_bins: int
    n_parameters: int
    entry_bin: Integers
    entry_size: Integers
    entry_start: Integers
    nominal: Floats
    # additive shifts: yields rise by `up` at alpha = 1 and fall by `down` at alpha = -1; item k starts at
    # shift_start[k]
    shift_pointer: Integers
    shift_parameter: Integers
    shift_code: Integers
    shift_start: Integers
    shift_up: Floats
    shift_down: Floats
    # scalar factors: columns of scale_coefficients are ln(lo), ln(hi) and the six coefficients of the code 4
    # polynomial, or (SMOOTH) the inverse of the half-width where the slopes join, their mean and half of their
    # difference
    scale_pointer: Integers
    scale_parameter: Integers
    scale_code: Integers
    scale_coefficients: Floats
    # one factor a bin: bin i of the entry is multiplied by parameter gamma_parameter[k] + i
    gamma_pointer: Integers
    gamma_parameter: Integers
    # quantities that are formulas of parameters; quantity k scales as "parameter" n_parameters + k. Its names are
    # parameters formula_parameter[formula_pointer[k] : formula_pointer[k + 1]] (n of them); its programs, from number
    # program_first[k] on, are the value, n slopes and the second derivatives (i, j) with j <= i; program number r is
    # program_code and program_argument[program_pointer[r] : program_pointer[r + 1]]
    formula_pointer: Integers
    formula_parameter: Integers
    program_first: Integers
    program_pointer: Integers
    program_code: Integers
    program_argument: Floats
    # Gaussian constraints N(aux | theta, sigma) and Poisson constraints P(aux | factor * theta); the first
    # n_independent Gaussian ones are independent, the others, in joint rows, correlated: with d = theta - aux of the
    # constraints joint_column[joint_pointer[i] : joint_pointer[i + 1]], sum_j joint_weight_j d_j is a unit Gaussian
    # pull, and theta + sum_j joint_lower_j z_j with unit Gaussian z of the same columns a fluctuated aux
    normal_parameter: Integers
    normal_sigma: Floats
    normal_aux: Integers
    n_independent: int
    joint_pointer: Integers
    joint_column: Integers
    joint_weight: Floats
    joint_lower: Floats
    poisson_parameter: Integers
    poisson_factor: Floats
    poisson_aux: Integers
    # bins that a parameter can change: first to last (exclusive); first == last when it changes none
    touched_first: Integers
    touched_last: Integers
    # the same for the parameters and quantities that stand in modifiers, shape (n_parameters + K,)
    input_first: Integers
    input_last: Integers
