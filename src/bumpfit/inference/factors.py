"""Triangular factors of symmetric matrices: modified Cholesky factorisation, solutions, inverses.

Each runs as it stands, with numpy's LAPACK, and compiled for toys.
"""

from __future__ import annotations

import numpy as np

from bumpfit.compiled import njit
from bumpfit.compiled_rows import add_row
from bumpfit.types import Floats
from bumpfit.workspace.kernels import SUMS_IN_ANY_ORDER

ROUNDING = 1e-14  # relative size of what rounding can leave of a singular pivot, or add to -ln L
FLAT = 1e-8  # negative pivot relative to the diagonal that counts as curvature and not as a flat direction
ENVELOPE = 200  # rows from which on a factorisation looks for leading zeros; below, whole rows by SIMD are quicker
BLOCK = 64  # rows that numpy takes at once where it has no routine for the whole matrix


@njit(internal=True, fastmath=SUMS_IN_ANY_ORDER)
def cholesky(matrix, lower, smallest, repair):  # type: ignore[no-untyped-def]
    """Fill the lower triangle L of matrix = L L^T.

    A pivot is bad when it is not above `smallest` times its diagonal element. With `repair` (n,) it is replaced by its
    absolute value or its element of `repair`, whichever is larger (modified Cholesky factorisation, Gill and Murray
    1974): a positive definite matrix that differs only where the given one is not. With an empty `repair` the
    factorisation ends there and leaves the pivot on the diagonal. Returns the first row with a bad pivot, or n.

    Zeros at the beginning of a row stay zeros of L and cost nothing in large matrices (envelope method; George and
    Liu, Computer Solution of Large Sparse Positive Definite Systems, 1981, chapter 4).
    """
    n = matrix.shape[0]
    bad = n
    begin = np.zeros(n, np.int64)
    for i in range(n):
        while n >= ENVELOPE and begin[i] < i and matrix[i, begin[i]] == 0.0:
            lower[i, begin[i]] = 0.0
            begin[i] += 1
        for j in range(begin[i], i + 1):
            total = matrix[i, j]
            first = max(begin[i], begin[j])
            if first == 0:  # a loop of its own: a variable start would keep it from SIMD
                for k in range(j):
                    total -= lower[i, k] * lower[j, k]
            else:
                for k in range(first, j):
                    total -= lower[i, k] * lower[j, k]
            if i == j:
                if not total > smallest * abs(matrix[i, i]):
                    bad = min(bad, i)
                    if repair.size == 0:
                        lower[i, i] = total
                        return bad
                    total = max(abs(total), repair[i])
                lower[i, i] = np.sqrt(total)
            else:
                lower[i, j] = total / lower[j, j]
    return bad


def _cholesky(matrix: Floats, lower: Floats, smallest: float, repair: Floats) -> int:
    """`cholesky` by LAPACK; a matrix that it refuses column by column, the rest of the matrix after each block."""
    n: int = matrix.shape[0]
    least = smallest * np.abs(np.diag(matrix))
    try:
        found = np.linalg.cholesky(matrix)
        if (np.diag(found) ** 2 > least).all():
            lower[:] = found
            return n
    except np.linalg.LinAlgError:
        pass
    work = matrix.copy()
    with np.errstate(divide="ignore", invalid="ignore"):  # a pivot of 0 ends the fit by nan, as when compiled
        return _by_columns(work, lower, least, repair)


def _by_columns(work: Floats, lower: Floats, least: Floats, repair: Floats) -> int:
    n: int = len(work)
    bad = n
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        for i in range(first, last):
            total = work[i, i]
            if not total > least[i]:
                bad = min(bad, i)
                if repair.size == 0:
                    lower[i, i] = total
                    return bad
                total = max(abs(total), repair[i])
            lower[i, i] = np.sqrt(total)
            lower[i + 1 :, i] = work[i + 1 :, i] / lower[i, i]
            work[i + 1 :, i + 1 : last] -= np.outer(lower[i + 1 :, i], lower[i + 1 : last, i])
        work[last:, last:] -= lower[last:, first:last] @ lower[last:, first:last].T
    return bad


cholesky.from_python(_cholesky)


@njit(internal=True, fastmath=SUMS_IN_ANY_ORDER)
def solve_triangular(lower, right):  # type: ignore[no-untyped-def]
    """Solve L L^T y = right in place; returns right^T (L L^T)^-1 right."""
    n = right.size
    square = 0.0
    for i in range(n):
        total = right[i]
        for k in range(i):
            total -= lower[i, k] * right[k]
        right[i] = total / lower[i, i]
        square += right[i] * right[i]
    for i in range(n - 1, -1, -1):
        total = right[i]
        for k in range(i + 1, n):
            total -= lower[k, i] * right[k]
        right[i] = total / lower[i, i]
    return square


def _solve_triangular(lower: Floats, right: Floats) -> float:
    """`solve_triangular` by blocks, of which numpy gives the inverses: scipy's solver takes longer to import."""
    diagonal = np.diag(lower)
    if not (np.isfinite(diagonal) & (diagonal != 0.0)).all():  # as a division by the pivot would end
        right[:] = np.nan
        return float("inf")
    blocks = [slice(first, min(first + BLOCK, right.size)) for first in range(0, right.size, BLOCK)]
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite ends the fit
        inverses = [_inverse(lower[block, block]) for block in blocks]
        for block, inverse in zip(blocks, inverses, strict=True):
            right[block] = inverse @ (right[block] - lower[block, : block.start] @ right[: block.start])
        square = float(right @ right)
        for block, inverse in zip(blocks[::-1], inverses[::-1], strict=True):
            right[block] = (right[block] - right[block.stop :] @ lower[block.stop :, block]) @ inverse
    return square


def _inverse(lower: Floats) -> Floats:
    """Of a triangle. By rows where numpy, which takes it for any matrix and exchanges rows, loses a small pivot above a
    large element.
    """
    try:
        inverse = np.asarray(np.linalg.inv(lower), dtype=np.float64)
    except np.linalg.LinAlgError:
        inverse = np.zeros_like(lower)
        for i in range(len(lower)):
            inverse[i] = -lower[i, :i] @ inverse[:i]
            inverse[i, i] += 1.0
            inverse[i] /= lower[i, i]
    return inverse


solve_triangular.from_python(_solve_triangular)


def invert(matrix: Floats, smallest: float, inverse: Floats) -> bool:
    """Fill `inverse` of a positive definite matrix; False when it is not, as `cholesky` sees it."""
    lower = np.zeros_like(matrix)
    if cholesky(matrix, lower, smallest, np.empty(0)) < matrix.shape[0]:
        return False
    half = np.linalg.inv(lower)
    inverse[:] = half.T @ half
    return True


@njit(internal=True, plain=True, fastmath=SUMS_IN_ANY_ORDER)
def downhill(matrix, direction):  # type: ignore[no-untyped-def]
    """Fill `direction` along which a matrix that is not positive definite bends down; False when it is (semi)definite.

    From the rows before the failing pivot: d_i = 1 and d_j = -(M^-1 m)_j there give d^T matrix d = pivot.
    """
    n = matrix.shape[0]
    lower = np.zeros((n, n))
    i = cholesky(matrix, lower, ROUNDING, np.empty(0))
    direction[:] = 0.0
    if i == n or lower[i, i] > -FLAT * abs(matrix[i, i]):
        return False
    direction[i] = 1.0
    add_row(direction[:i], -1.0, matrix[i, :i])
    solve_triangular(lower[:i, :i], direction[:i])
    return True
