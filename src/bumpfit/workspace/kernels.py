"""Expected rates of a HistFactory model with first and second derivatives: free numba functions on plain arrays.

A model is a sum over entries (one sample in one channel). In bin b of an entry with nominal yield n_b

    rate_b = (n_b + sum_k delta_kb(alpha_k)) * prod_l f_l(theta_l) * prod_m gamma_(m, b)

with additive shifts (histosys), scalar factors (normfactor, lumi, normsys) and one factor a bin (staterror, shapesys,
shapefactor). Interpolation codes follow CERN-OPEN-2012-016 (HistFactory) as numbered by pyhf. All kernels allocate
little and keep no state, so they serve one fit as well as a loop over many toys. Everything numba caches lives in
this file: a kernel in another file that calls these keeps its cache when they change, so clear `__pycache__` after
editing them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LINEAR = 0  # the parameter itself is the factor: normfactor, lumi
CODE0, CODE1, CODE4, CODE4P = 10, 11, 14, 15

# Stands for a factor of exactly zero, whose logarithmic derivative does not exist: the rates change by 1e-100 of
# themselves.
ZERO_FACTOR = 1e-100


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
    # scalar factors: columns of scale_coefficients are ln(lo), ln(hi) and the six coefficients of the code 4 polynomial
    scale_pointer: Integers
    scale_parameter: Integers
    scale_code: Integers
    scale_coefficients: Floats
    # one factor a bin: bin i of the entry is multiplied by parameter gamma_parameter[k] + i
    gamma_pointer: Integers
    gamma_parameter: Integers
    # Gaussian constraints N(aux | theta, sigma) and Poisson constraints P(aux | factor * theta)
    normal_parameter: Integers
    normal_sigma: Floats
    normal_aux: Integers
    poisson_parameter: Integers
    poisson_factor: Floats
    poisson_aux: Integers
    # bins that a parameter can change: first to last (exclusive); first == last when it changes none
    touched_first: Integers
    touched_last: Integers


@njit(cache=True, error_model="numpy")
def shift_weights(code, alpha):  # type: ignore[no-untyped-def]
    """Weights of `up` and `down` in an additive shift, and their first and second derivatives in alpha."""
    if code == CODE4P:
        if alpha > 1.0:
            return alpha, 0.0, 1.0, 0.0, 0.0, 0.0
        if alpha < -1.0:
            return 0.0, alpha, 0.0, 1.0, 0.0, 0.0
        q = alpha * alpha
        even = 0.0625 * q * (15.0 + q * (3.0 * q - 10.0))
        slope = 0.0625 * alpha * (30.0 + q * (18.0 * q - 40.0))
        bend = 0.0625 * (30.0 + q * (90.0 * q - 120.0))
        return 0.5 * alpha + even, 0.5 * alpha - even, 0.5 + slope, 0.5 - slope, bend, -bend
    if alpha >= 0.0:
        return alpha, 0.0, 1.0, 0.0, 0.0, 0.0
    return 0.0, alpha, 0.0, 1.0, 0.0, 0.0


@njit(cache=True, error_model="numpy")
def scale_parts(code, c, theta):  # type: ignore[no-untyped-def]
    """Parts of a scalar factor f = exp(exponent) * rest, with f'/f and f''/f; c is its row of coefficients."""
    if code == LINEAR:
        factor = theta if abs(theta) > ZERO_FACTOR else ZERO_FACTOR
        return 0.0, factor, 1.0 / factor, 0.0
    if code == CODE4 and abs(theta) < 1.0:
        factor = 1.0 + theta * (c[2] + theta * (c[3] + theta * (c[4] + theta * (c[5] + theta * (c[6] + theta * c[7])))))
        slope = c[2] + theta * (
            2.0 * c[3] + theta * (3.0 * c[4] + theta * (4.0 * c[5] + theta * (5.0 * c[6] + theta * 6.0 * c[7])))
        )
        bend = 2.0 * c[3] + theta * (6.0 * c[4] + theta * (12.0 * c[5] + theta * (20.0 * c[6] + theta * 30.0 * c[7])))
        if abs(factor) < ZERO_FACTOR:
            factor = ZERO_FACTOR
        return 0.0, factor, slope / factor, bend / factor
    if theta >= 0.0:
        return theta * c[1], 1.0, c[1], c[1] * c[1]
    return -theta * c[0], 1.0, -c[0], c[0] * c[0]


@njit(cache=True, error_model="numpy")
def rates(x, m, rate, shifted, factor):  # type: ignore[no-untyped-def]
    """Fill `rate` (B,), and for each yield in `m.nominal` its shifted value and the product of its factors."""
    rate[:] = 0.0
    for e in range(m.entry_bin.size):
        first, size, start = m.entry_bin[e], m.entry_size[e], m.entry_start[e]
        for b in range(size):
            shifted[start + b] = m.nominal[start + b]
        for k in range(m.shift_pointer[e], m.shift_pointer[e + 1]):
            up, down, _, _, _, _ = shift_weights(m.shift_code[k], x[m.shift_parameter[k]])
            o = m.shift_start[k]
            for b in range(size):
                shifted[start + b] += up * m.shift_up[o + b] + down * m.shift_down[o + b]
        exponent = 0.0
        common = 1.0
        for k in range(m.scale_pointer[e], m.scale_pointer[e + 1]):
            power, rest, _, _ = scale_parts(m.scale_code[k], m.scale_coefficients[k], x[m.scale_parameter[k]])
            exponent += power
            common *= rest
        if exponent != 0.0:
            common *= np.exp(exponent)
        for b in range(size):
            factor[start + b] = common
        for k in range(m.gamma_pointer[e], m.gamma_pointer[e + 1]):
            p = m.gamma_parameter[k]
            for b in range(size):
                gamma = x[p + b]
                factor[start + b] *= gamma if abs(gamma) > ZERO_FACTOR else ZERO_FACTOR
        for b in range(size):
            rate[first + b] += shifted[start + b] * factor[start + b]


@njit(cache=True, error_model="numpy")
def jacobian(x, m, shifted, factor, jac):  # type: ignore[no-untyped-def]
    """Fill `jac` (P, B) with d rate_b / d theta_p, from the `shifted` and `factor` that `rates` left."""
    jac[:, :] = 0.0
    for e in range(m.entry_bin.size):
        first, size, start = m.entry_bin[e], m.entry_size[e], m.entry_start[e]
        for k in range(m.shift_pointer[e], m.shift_pointer[e + 1]):
            p = m.shift_parameter[k]
            _, _, up, down, _, _ = shift_weights(m.shift_code[k], x[p])
            o = m.shift_start[k]
            for b in range(size):
                jac[p, first + b] += factor[start + b] * (up * m.shift_up[o + b] + down * m.shift_down[o + b])
        for k in range(m.scale_pointer[e], m.scale_pointer[e + 1]):
            p = m.scale_parameter[k]
            _, _, slope, _ = scale_parts(m.scale_code[k], m.scale_coefficients[k], x[p])
            for b in range(size):
                jac[p, first + b] += slope * shifted[start + b] * factor[start + b]
        for k in range(m.gamma_pointer[e], m.gamma_pointer[e + 1]):
            p = m.gamma_parameter[k]
            for b in range(size):
                gamma = x[p + b]
                if abs(gamma) <= ZERO_FACTOR:
                    gamma = ZERO_FACTOR
                jac[p + b, first + b] += shifted[start + b] * factor[start + b] / gamma


@njit(cache=True, error_model="numpy")
def add_curvature(x, m, weight, shifted, factor, hessian):  # type: ignore[no-untyped-def]
    """Add sum_b weight_b d2 rate_b / d theta_p d theta_q to `hessian` (P, P), both triangles.

    Every pair of modifiers of an entry contributes once to (p, q) and once to (q, p), which is also right when both
    belong to the same parameter.
    """
    for e in range(m.entry_bin.size):
        first, size, start = m.entry_bin[e], m.entry_size[e], m.entry_start[e]
        total = 0.0
        for b in range(size):
            total += weight[first + b] * shifted[start + b] * factor[start + b]
        s0, s1 = m.scale_pointer[e], m.scale_pointer[e + 1]
        slopes = np.empty(s1 - s0)
        for k in range(s0, s1):
            p = m.scale_parameter[k]
            _, _, slope, bend = scale_parts(m.scale_code[k], m.scale_coefficients[k], x[p])
            slopes[k - s0] = slope
            hessian[p, p] += total * bend
            for j in range(s0, k):
                q = m.scale_parameter[j]
                value = total * slope * slopes[j - s0]
                hessian[p, q] += value
                hessian[q, p] += value
        g0, g1 = m.gamma_pointer[e], m.gamma_pointer[e + 1]
        for k in range(m.shift_pointer[e], m.shift_pointer[e + 1]):
            p = m.shift_parameter[k]
            _, _, up, down, up2, down2 = shift_weights(m.shift_code[k], x[p])
            o = m.shift_start[k]
            first_order = 0.0
            second_order = 0.0
            for b in range(size):
                w = weight[first + b] * factor[start + b]
                slope_b = w * (up * m.shift_up[o + b] + down * m.shift_down[o + b])
                first_order += slope_b
                second_order += w * (up2 * m.shift_up[o + b] + down2 * m.shift_down[o + b])
                for g in range(g0, g1):
                    q = m.gamma_parameter[g] + b
                    gamma = x[q] if abs(x[q]) > ZERO_FACTOR else ZERO_FACTOR
                    value = slope_b / gamma
                    hessian[p, q] += value
                    hessian[q, p] += value
            hessian[p, p] += second_order
            for j in range(s0, s1):
                q = m.scale_parameter[j]
                value = first_order * slopes[j - s0]
                hessian[p, q] += value
                hessian[q, p] += value
        for g in range(g0, g1):
            for b in range(size):
                p = m.gamma_parameter[g] + b
                gamma = x[p] if abs(x[p]) > ZERO_FACTOR else ZERO_FACTOR
                slope_b = weight[first + b] * shifted[start + b] * factor[start + b] / gamma
                for j in range(s0, s1):
                    q = m.scale_parameter[j]
                    value = slope_b * slopes[j - s0]
                    hessian[p, q] += value
                    hessian[q, p] += value
                for h in range(g0, g):
                    q = m.gamma_parameter[h] + b
                    other = x[q] if abs(x[q]) > ZERO_FACTOR else ZERO_FACTOR
                    value = slope_b / other
                    hessian[p, q] += value
                    hessian[q, p] += value


@njit(cache=True, error_model="numpy")
def poisson_term(n, rate):  # type: ignore[no-untyped-def]
    """-ln of the Poisson probability of n at this rate, relative to its value at rate = n (half the deviance)."""
    if rate > 0.0:
        if n > 0.0:
            ratio = (rate - n) / n
            if abs(ratio) < 1e-3:
                # rate - n - n ln(rate / n) without the cancellation of its leading terms
                return n * ratio * ratio * (0.5 - ratio * (1.0 / 3.0 - ratio * (0.25 - ratio * (0.2 - ratio / 6.0))))
            return rate - n + n * np.log(n / rate)
        return rate
    if rate == 0.0 and n == 0.0:
        return 0.0
    return np.inf


@njit(cache=True, error_model="numpy")
def objective(x, main, aux, m, rate):  # type: ignore[no-untyped-def]
    """-ln L relative to the saturated model (data = expectation everywhere); infinite where a rate is not allowed."""
    value = 0.0
    for b in range(m.n_bins):
        value += poisson_term(main[b], rate[b])
    for i in range(m.normal_parameter.size):
        pull = (x[m.normal_parameter[i]] - aux[m.normal_aux[i]]) / m.normal_sigma[i]
        value += 0.5 * pull * pull
    for i in range(m.poisson_parameter.size):
        value += poisson_term(aux[m.poisson_aux[i]], m.poisson_factor[i] * x[m.poisson_parameter[i]])
    if np.isnan(value):
        return np.inf
    return value


@njit(cache=True, error_model="numpy")
def gradient(x, main, aux, m, rate, jac, grad):  # type: ignore[no-untyped-def]
    """Fill `grad` (P,) with the gradient of `objective`."""
    for p in range(m.n_parameters):
        total = 0.0
        for b in range(m.touched_first[p], m.touched_last[p]):
            if main[b] == 0.0:
                total += jac[p, b]
            else:
                total += jac[p, b] * (1.0 - main[b] / rate[b])
        grad[p] = total
    for i in range(m.normal_parameter.size):
        p = m.normal_parameter[i]
        grad[p] += (x[p] - aux[m.normal_aux[i]]) / (m.normal_sigma[i] * m.normal_sigma[i])
    for i in range(m.poisson_parameter.size):
        p = m.poisson_parameter[i]
        n = aux[m.poisson_aux[i]]
        grad[p] += m.poisson_factor[i] - (n / x[p] if n > 0.0 else 0.0)


@njit(cache=True, error_model="numpy")
def add_products(m, weight, jac, matrix):  # type: ignore[no-untyped-def]
    """Add sum_b weight_b jac_pb jac_qb to `matrix` (P, P), both triangles."""
    scaled = np.empty(m.n_bins)
    for p in range(m.n_parameters):
        first, last = m.touched_first[p], m.touched_last[p]
        for b in range(first, last):
            scaled[b] = weight[b] * jac[p, b]
        for q in range(p + 1):
            total = 0.0
            for b in range(max(first, m.touched_first[q]), min(last, m.touched_last[q])):
                total += scaled[b] * jac[q, b]
            if total != 0.0:
                matrix[p, q] += total
                if p != q:
                    matrix[q, p] += total


@njit(cache=True, error_model="numpy")
def hessian(x, main, aux, m, rate, shifted, factor, jac, matrix):  # type: ignore[no-untyped-def]
    """Fill `matrix` (P, P) with the exact second derivatives of `objective`."""
    matrix[:, :] = 0.0
    weight = np.empty(m.n_bins)
    for b in range(m.n_bins):
        weight[b] = main[b] / (rate[b] * rate[b]) if main[b] > 0.0 else 0.0
    add_products(m, weight, jac, matrix)
    for b in range(m.n_bins):
        weight[b] = 1.0 - (main[b] / rate[b] if main[b] > 0.0 else 0.0)
    add_curvature(x, m, weight, shifted, factor, matrix)
    for i in range(m.normal_parameter.size):
        p = m.normal_parameter[i]
        matrix[p, p] += 1.0 / (m.normal_sigma[i] * m.normal_sigma[i])
    for i in range(m.poisson_parameter.size):
        p = m.poisson_parameter[i]
        n = aux[m.poisson_aux[i]]
        matrix[p, p] += n / (x[p] * x[p]) if n > 0.0 else 0.0


@njit(cache=True, error_model="numpy")
def information(x, m, rate, jac, matrix):  # type: ignore[no-untyped-def]
    """Fill `matrix` (P, P) with the expected (Fisher) information at x, auxiliary measurements included."""
    matrix[:, :] = 0.0
    weight = np.empty(m.n_bins)
    for b in range(m.n_bins):
        weight[b] = 1.0 / rate[b] if rate[b] > 0.0 else 0.0
    add_products(m, weight, jac, matrix)
    for i in range(m.normal_parameter.size):
        p = m.normal_parameter[i]
        matrix[p, p] += 1.0 / (m.normal_sigma[i] * m.normal_sigma[i])
    for i in range(m.poisson_parameter.size):
        p = m.poisson_parameter[i]
        matrix[p, p] += m.poisson_factor[i] / x[p] if x[p] > 0.0 else 0.0
