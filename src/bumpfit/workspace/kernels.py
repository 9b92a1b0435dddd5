"""Expected rates of a HistFactory model with first and second derivatives: free numba functions on plain arrays.

A model is a sum over entries (one sample in one channel). In bin b of an entry with nominal yield n_b

    rate_b = (n_b + sum_k delta_kb(alpha_k)) * prod_l f_l(theta_l) * prod_m gamma_(m, b)

with additive shifts (histosys), scalar factors (normfactor, lumi, normsys) and one factor a bin (staterror, shapesys,
shapefactor). Interpolation codes follow CERN-OPEN-2012-016 (HistFactory) as numbered by pyhf. All kernels allocate
little and keep no state, so they serve one fit as well as a loop over many toys.
"""

from __future__ import annotations

import numpy as np

from bumpfit.compiled import njit
from bumpfit.compiled_rows import add_row, copy_row
from bumpfit.workspace.arrays import CODE4, CODE4P, LINEAR, NO_RATE, SMOOTH, ZERO_FACTOR
from bumpfit.workspace.formula_kernel import run_program

# Lets sums over bins run in vector registers; infinities and NaN keep their meaning.
SUMS_IN_ANY_ORDER = {"reassoc", "contract", "nsz"}


@njit(internal=True, plain=True)
def shift_weights(code, alpha, out):  # type: ignore[no-untyped-def]
    """Weights of `up` and `down` in an additive shift, then their first and second derivatives in alpha: `out` (6,)."""
    out[:] = 0.0
    if code == CODE4P and abs(alpha) <= 1.0:
        q = alpha * alpha
        even = 0.0625 * q * (15.0 + q * (3.0 * q - 10.0))
        slope = 0.0625 * alpha * (30.0 + q * (18.0 * q - 40.0))
        bend = 0.0625 * (30.0 + q * (90.0 * q - 120.0))
        out[0] = 0.5 * alpha + even
        out[1] = 0.5 * alpha - even
        out[2] = 0.5 + slope
        out[3] = 0.5 - slope
        out[4] = bend
        out[5] = -bend
    elif alpha >= 0.0:
        out[0] = alpha
        out[2] = 1.0
    else:
        out[1] = alpha
        out[3] = 1.0


@njit(internal=True, plain=True)
def scale_parts(code, c, theta, out):  # type: ignore[no-untyped-def]
    """Parts of a scalar factor f = exp(exponent) * rest, then f'/f and f''/f: `out` (4,); c is its row of
    coefficients.
    """
    out[0] = 0.0
    if code == LINEAR:
        out[1] = theta if abs(theta) > ZERO_FACTOR else ZERO_FACTOR
        out[2] = 1.0 / out[1]
        out[3] = 0.0
    elif code == CODE4 and abs(theta) < 1.0:
        value = 0.0
        slope = 0.0
        bend = 0.0
        for k in range(6, 0, -1):  # Horner's scheme for the polynomial sum_k c[k + 1] theta^k and its derivatives
            bend = bend * theta + 2.0 * slope
            slope = slope * theta + value
            value = value * theta + c[k + 1]
        bend = bend * theta + 2.0 * slope
        slope = slope * theta + value
        value = value * theta + 1.0
        out[1] = value if abs(value) > ZERO_FACTOR else ZERO_FACTOR
        out[2] = slope / out[1]
        out[3] = bend / out[1]
    elif code == SMOOTH and abs(theta * c[2]) < 1.0:
        t = theta * c[2]
        q = t * t
        step = 0.125 * t * (15.0 + q * (3.0 * q - 10.0))
        rise = 1.875 * (1.0 - q) * (1.0 - q)
        out[0] = theta * (c[3] + c[4] * step)
        out[1] = 1.0
        out[2] = c[3] + c[4] * (step + t * rise)
        out[3] = out[2] * out[2] + c[4] * c[2] * (2.0 * rise - 7.5 * q * (1.0 - q))
    else:
        log = c[1] if theta >= 0.0 else -c[0]
        out[0] = theta * log
        out[1] = 1.0
        out[2] = log
        out[3] = log * log


@njit(internal=True, plain=True)
def inputs(x, m):  # type: ignore[no-untyped-def]
    """What stands in modifiers: the parameters and then the values of the formulas; x itself where there are none."""
    if m.program_first.size == 0:
        return x
    result = np.empty(m.n_parameters + m.program_first.size)
    copy_row(x, result)
    for k in range(m.program_first.size):
        result[m.n_parameters + k] = run_program(m, m.program_first[k], x)
    return result


@njit(internal=True)
def rates(x, m, rate, shifted, factor, shift, scale):  # type: ignore[no-untyped-def]
    """Expected counts at x, and what their derivatives need.

    Fills `rate` (B,); for each yield in `m.nominal` its shifted value and the product of its factors (`shifted`,
    `factor`); for each additive shift `shift_weights` (K, 6); for each scalar factor `scale_parts` (K, 4).
    """
    y = inputs(x, m)
    rate[:] = 0.0
    for e in range(m.entry_bin.size):
        first, size, start = m.entry_bin[e], m.entry_size[e], m.entry_start[e]
        for b in range(start, start + size):
            shifted[b] = m.nominal[b]
        for k in range(m.shift_pointer[e], m.shift_pointer[e + 1]):
            shift_weights(m.shift_code[k], x[m.shift_parameter[k]], shift[k])
            o = m.shift_start[k]
            up, down = shift[k, 0], shift[k, 1]
            for b in range(size):
                shifted[start + b] += up * m.shift_up[o + b] + down * m.shift_down[o + b]
        exponent = 0.0
        common = 1.0
        for k in range(m.scale_pointer[e], m.scale_pointer[e + 1]):
            scale_parts(m.scale_code[k], m.scale_coefficients[k], y[m.scale_parameter[k]], scale[k])
            exponent += scale[k, 0]
            common *= scale[k, 1]
        if exponent != 0.0:
            common *= np.exp(exponent)
        for b in range(start, start + size):
            factor[b] = common
        for k in range(m.gamma_pointer[e], m.gamma_pointer[e + 1]):
            p = m.gamma_parameter[k]
            for b in range(size):
                gamma = x[p + b]
                factor[start + b] *= gamma if abs(gamma) > ZERO_FACTOR else ZERO_FACTOR
        for b in range(size):
            rate[first + b] += shifted[start + b] * factor[start + b]
    for b in range(m.n_bins):
        if abs(rate[b]) < NO_RATE:
            rate[b] = 0.0


@njit(internal=True, plain=True)
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


@njit(internal=True)
def objective(x, main, aux, m, rate):  # type: ignore[no-untyped-def]
    """-ln L relative to the saturated model (data = expectation everywhere); infinite where a rate is not allowed."""
    value = 0.0
    for b in range(m.n_bins):
        value += poisson_term(main[b], rate[b])
    for i in range(m.n_independent):
        pull = (x[m.normal_parameter[i]] - aux[m.normal_aux[i]]) / m.normal_sigma[i]
        value += 0.5 * pull * pull
    for i in range(m.joint_pointer.size - 1):
        pull = 0.0
        for j in range(m.joint_pointer[i], m.joint_pointer[i + 1]):
            c = m.joint_column[j]
            pull += m.joint_weight[j] * (x[m.normal_parameter[c]] - aux[m.normal_aux[c]])
        value += 0.5 * pull * pull
    for i in range(m.poisson_parameter.size):
        value += poisson_term(aux[m.poisson_aux[i]], m.poisson_factor[i] * x[m.poisson_parameter[i]])
    if np.isnan(value):
        return np.inf
    return value


@njit()
def objectives(points, main, aux, m):  # type: ignore[no-untyped-def]
    """`objective` at many parameters, (N, P) to (N,)."""
    rate, shifted, factor = np.empty(m.n_bins), np.empty(m.nominal.size), np.empty(m.nominal.size)
    shift, scale = np.empty((m.shift_parameter.size, 6)), np.empty((m.scale_parameter.size, 4))
    values = np.empty(points.shape[0])
    for n in range(points.shape[0]):
        rates(points[n], m, rate, shifted, factor, shift, scale)
        values[n] = objective(points[n], main, aux, m, rate)
    return values


@njit(internal=True, plain=True, fastmath=SUMS_IN_ANY_ORDER)
def derivatives(  # type: ignore[no-untyped-def]
    x, main, aux, m, rate, shifted, factor, shift, scale, jac, grad, hess, diagonal
):
    """Derivatives at x, from what `rates` left.

    Fills `jac` (P, B): d rate_b / d theta_p; `grad` (P,) and `hess` (P, P): first and exact second derivatives of
    `objective`; `diagonal` (P,) of the Fisher information, with observed counts where they exceed the expected ones.
    """
    if m.program_first.size == 0:
        of_rates(x, main, m, rate, shifted, factor, shift, scale, jac, grad, hess, diagonal)
    else:
        size = m.input_first.size
        wide, steep = np.empty((size, m.n_bins)), np.empty(size)
        curved, spread = np.empty((size, size)), np.empty(size)
        of_rates(inputs(x, m), main, m, rate, shifted, factor, shift, scale, wide, steep, curved, spread)
        _through_formulas(x, main, m, rate, wide, steep, curved, jac, grad, hess, diagonal)
    of_constraints(x, aux, m, grad, hess, diagonal)


@njit(internal=True, plain=True)
def _through_formulas(x, main, m, rate, wide, steep, curved, jac, grad, hess, diagonal):  # type: ignore[no-untyped-def]
    """From derivatives in parameters and formulas (`wide`, `steep`, `curved`) to those in the parameters (chain rule).

    With J = d(inputs)/d(parameters): J^T curved J + sum_k steep_k d^2 f_k.
    """
    n = m.n_parameters
    half = curved[:, :n].copy()  # curved J
    copy_row(steep[:n], grad)
    for p in range(n):
        copy_row(wide[p], jac[p])
    slopes = np.zeros(m.formula_parameter.size)
    for k in range(m.program_first.size):
        for i in range(m.formula_pointer[k], m.formula_pointer[k + 1]):
            q = m.formula_parameter[i]
            slopes[i] = run_program(m, m.program_first[k] + 1 + i - m.formula_pointer[k], x)
            grad[q] += slopes[i] * steep[n + k]
            add_row(jac[q], slopes[i], wide[n + k])
            add_row(half[:, q], slopes[i], curved[:, n + k])
    for p in range(n):
        copy_row(half[p], hess[p])
    for k in range(m.program_first.size):
        begin, size = m.formula_pointer[k], m.formula_pointer[k + 1] - m.formula_pointer[k]
        number = m.program_first[k] + 1 + size
        for i in range(size):
            p = m.formula_parameter[begin + i]
            add_row(hess[p], slopes[begin + i], half[n + k])
            for j in range(i + 1):
                q = m.formula_parameter[begin + j]
                bend = steep[n + k] * run_program(m, number, x)
                number += 1
                hess[p, q] += bend
                if p != q:
                    hess[q, p] += bend
    for p in range(n):
        diagonal[p] = 0.0
        for b in range(m.touched_first[p], m.touched_last[p]):
            if rate[b] > 0.0:
                diagonal[p] += jac[p, b] * jac[p, b] * max(1.0, main[b] / rate[b]) / rate[b]


@njit(internal=True, plain=True)
def of_constraints(x, aux, m, grad, hess, diagonal):  # type: ignore[no-untyped-def]
    """Add the derivatives of the constraint terms."""
    for i in range(m.n_independent):
        p = m.normal_parameter[i]
        strength = 1.0 / (m.normal_sigma[i] * m.normal_sigma[i])
        grad[p] += strength * (x[p] - aux[m.normal_aux[i]])
        hess[p, p] += strength
        diagonal[p] += strength
    for i in range(m.joint_pointer.size - 1):
        pull = 0.0
        for j in range(m.joint_pointer[i], m.joint_pointer[i + 1]):
            c = m.joint_column[j]
            pull += m.joint_weight[j] * (x[m.normal_parameter[c]] - aux[m.normal_aux[c]])
        for j in range(m.joint_pointer[i], m.joint_pointer[i + 1]):
            p, weight = m.normal_parameter[m.joint_column[j]], m.joint_weight[j]
            grad[p] += weight * pull
            diagonal[p] += weight * weight
            for k in range(m.joint_pointer[i], m.joint_pointer[i + 1]):
                hess[p, m.normal_parameter[m.joint_column[k]]] += weight * m.joint_weight[k]
    for i in range(m.poisson_parameter.size):
        p, n = m.poisson_parameter[i], aux[m.poisson_aux[i]]
        grad[p] += m.poisson_factor[i] - (n / x[p] if n > 0.0 else 0.0)
        hess[p, p] += n / (x[p] * x[p]) if n > 0.0 else 0.0
        diagonal[p] += m.poisson_factor[i] / max(x[p], ZERO_FACTOR)


@njit(internal=True, fastmath=SUMS_IN_ANY_ORDER)
def of_rates(x, main, m, rate, shifted, factor, shift, scale, jac, grad, hess, diagonal):  # type: ignore[no-untyped-def]
    """`derivatives` of the Poisson terms, in the parameters and quantities x that stand in modifiers (`inputs`).

    The curvature of the rates enters weighted with 1 - n / rate. In it every pair of modifiers of an entry contributes
    once to (p, q) and once to (q, p), which is also right when both belong to the same parameter.
    """
    jac[:, :] = 0.0
    hess[:, :] = 0.0
    n_bins = m.n_bins
    weight = np.empty(n_bins)
    for b in range(n_bins):
        weight[b] = 1.0 - main[b] / rate[b] if main[b] > 0.0 else 1.0
    slopes = np.empty(n_bins)
    gammas = np.empty(n_bins)
    for e in range(m.entry_bin.size):
        first, size, start = m.entry_bin[e], m.entry_size[e], m.entry_start[e]
        s0, s1 = m.scale_pointer[e], m.scale_pointer[e + 1]
        g0, g1 = m.gamma_pointer[e], m.gamma_pointer[e + 1]
        total = 0.0
        for b in range(size):
            total += weight[first + b] * shifted[start + b] * factor[start + b]
        for k in range(s0, s1):
            p, slope = m.scale_parameter[k], scale[k, 2]
            for b in range(size):
                jac[p, first + b] += slope * shifted[start + b] * factor[start + b]
            hess[p, p] += total * scale[k, 3]
            for j in range(s0, k):
                q = m.scale_parameter[j]
                value = total * slope * scale[j, 2]
                hess[p, q] += value
                hess[q, p] += value
        for k in range(m.shift_pointer[e], m.shift_pointer[e + 1]):
            p, o = m.shift_parameter[k], m.shift_start[k]
            first_order = 0.0
            second_order = 0.0
            for b in range(size):
                slope = factor[start + b] * (shift[k, 2] * m.shift_up[o + b] + shift[k, 3] * m.shift_down[o + b])
                bend = factor[start + b] * (shift[k, 4] * m.shift_up[o + b] + shift[k, 5] * m.shift_down[o + b])
                jac[p, first + b] += slope
                slopes[b] = weight[first + b] * slope
                first_order += slopes[b]
                second_order += weight[first + b] * bend
            hess[p, p] += second_order
            for j in range(s0, s1):
                q = m.scale_parameter[j]
                value = first_order * scale[j, 2]
                hess[p, q] += value
                hess[q, p] += value
            for g in range(g0, g1):
                for b in range(size):
                    q = m.gamma_parameter[g] + b
                    value = slopes[b] / (x[q] if abs(x[q]) > ZERO_FACTOR else ZERO_FACTOR)
                    hess[p, q] += value
                    hess[q, p] += value
        for g in range(g0, g1):
            for b in range(size):
                p = m.gamma_parameter[g] + b
                slope = shifted[start + b] * factor[start + b] / (x[p] if abs(x[p]) > ZERO_FACTOR else ZERO_FACTOR)
                jac[p, first + b] += slope
                gammas[b] = weight[first + b] * slope
                for j in range(s0, s1):
                    q = m.scale_parameter[j]
                    value = gammas[b] * scale[j, 2]
                    hess[p, q] += value
                    hess[q, p] += value
                for h in range(g0, g):
                    q = m.gamma_parameter[h] + b
                    value = gammas[b] / (x[q] if abs(x[q]) > ZERO_FACTOR else ZERO_FACTOR)
                    hess[p, q] += value
                    hess[q, p] += value
    scaled = np.empty(n_bins)
    for p in range(m.input_first.size):
        first, last = m.input_first[p], m.input_last[p]
        slope = 0.0
        fisher = 0.0
        for b in range(first, last):
            slope += weight[b] * jac[p, b]
            if rate[b] > 0.0:
                fisher += jac[p, b] * jac[p, b] * max(1.0, main[b] / rate[b]) / rate[b]
            scaled[b] = main[b] * jac[p, b] / (rate[b] * rate[b]) if main[b] > 0.0 else 0.0
        grad[p] = slope
        diagonal[p] = fisher
        for q in range(p + 1):
            value = 0.0
            for b in range(max(first, m.input_first[q]), min(last, m.input_last[q])):
                value += scaled[b] * jac[q, b]
            if value != 0.0:
                hess[p, q] += value
                if p != q:
                    hess[q, p] += value
