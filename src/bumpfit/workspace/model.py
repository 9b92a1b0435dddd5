"""The likelihood of a HistFactory workspace: rates, -2 ln L and their derivatives for any values and data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bumpfit.display import Shown, Table
from bumpfit.errors import InputError
from bumpfit.types import Flags, Floats
from bumpfit.workspace import kernels
from bumpfit.workspace import vectorised as vectorised
from bumpfit.workspace.arrays import Compiled
from bumpfit.workspace.parameters import Parameter

Values = Mapping[str, float | Sequence[float]] | ArrayLike
Data = Mapping[str, ArrayLike] | ArrayLike | None


def scratch(compiled: Compiled) -> tuple[Floats, Floats, Floats, Floats]:
    """Arrays that `kernels.rates` fills besides the rates: shifted, factor (N,), shift (K, 6), scale (K, 4)."""
    size = compiled.nominal.size
    shift, scale = compiled.shift_parameter.size, compiled.scale_parameter.size
    return np.empty(size), np.empty(size), np.empty((shift, 6)), np.empty((scale, 4))


def _log_factorials(counts: Floats) -> Floats:
    """ln n!, from the standard library: importing scipy's costs more than a small fit."""
    return np.array([math.lgamma(n + 1.0) for n in counts.tolist()])


def numbers(values: ArrayLike, what: str) -> Floats:
    """Values as an array of floating-point numbers; raises InputError for anything else."""
    try:
        return np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be numbers: {error}") from error


def _counts(values: Any, what: str) -> Floats:
    """Counts from numbers or from a histogram."""
    if hasattr(values, "axes") or hasattr(values, "storage") or isinstance(values, Mapping):
        from bumpfit.histograms import observed_counts  # here, because most data are arrays, for a quicker start

        return observed_counts(values)
    return numbers(values, what)


@dataclasses.dataclass(frozen=True)
class Channel:
    """A channel and the bins it takes in the array of all bins: `first` to `last` (exclusive).

    Examples:
        >>> channel = model.channels[0]
        >>> channel.name, channel.first, channel.last, channel.samples
        ('SR', 0, 2, ('background', 'signal'))
    """

    name: str
    first: int
    last: int
    samples: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Model(Shown):
    """A compiled likelihood; B bins over all channels, A auxiliary measurements, P parameters, all in pyhf's order.

    `spec` is the HistFactory JSON it came from (patches applied), `poi` the parameter of interest (None: there is
    none), `observed` the observed counts, shape (B,) or None when the specification has no data, `auxdata` shape (A,).
    `sampled`: channel and sample of each compiled entry. `unused`: settings of parameters that do not exist.

    Examples:
        >>> model.poi, model.observed.tolist()
        ('mu', [58.0, 41.0])
        >>> model.auxdata.shape
        (1,)
    """

    spec: dict[str, Any]
    channels: tuple[Channel, ...]
    parameters: tuple[Parameter, ...]
    poi: str | None
    observed: Floats | None
    auxdata: Floats
    compiled: Compiled
    interpolation: Mapping[str, str]
    sampled: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()

    def _summary(self) -> dict[str, Any]:
        sizes = {c.name: c.last - c.first for c in self.channels}
        constrained = sum(p.constraint != "none" for p in self.parameters)
        return {
            "poi": self.poi,
            "bins": sizes,
            "parameters": len(self.parameters),
            "constrained": constrained,
            "data": None if self.observed is None else float(self.observed.sum()),
        }

    def _table(self) -> Table:
        rows = [(p.name, p.init, p.low, p.high, p.fixed) for p in self.parameters]
        return ("parameter", "start", "low", "high", "fixed"), rows

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Parameter names in order."""
        return tuple(p.name for p in self.parameters)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def inits(self) -> Floats:
        """Suggested start, shape (P,)."""
        return np.array([p.init for p in self.parameters])

    @cached_property
    def lower(self) -> Floats:
        """Lower ends of the ranges, shape (P,)."""
        return np.array([p.low for p in self.parameters])

    @cached_property
    def upper(self) -> Floats:
        """Upper ends of the ranges, shape (P,)."""
        return np.array([p.high for p in self.parameters])

    def index(self, name: str) -> int:
        """Position of a parameter; raises InputError for a name that does not exist."""
        try:
            return self._positions[name]
        except KeyError:
            shown = ", ".join(self.names[:12]) + (", ..." if len(self.names) > 12 else "")
            raise InputError(f"there is no parameter '{name}' in the model; it has {shown}") from None

    def array(self, values: Values) -> Floats:
        """Parameter values as an array, shape (P,); names that a mapping leaves out stay at their suggested start.

        A name without index, such as 'gamma' for 'gamma[0]', 'gamma[1]', takes a list.
        """
        if isinstance(values, Mapping):
            result = self.inits.copy()
            for name, value in values.items():
                entries = numbers(value, f"the value of parameter '{name}'")
                if isinstance(value, Sequence | np.ndarray):
                    for i, entry in enumerate(entries):
                        result[self.index(f"{name}[{i}]")] = entry
                else:
                    result[self.index(name)] = entries[0]
        else:
            result = numbers(values, "parameter values")
            if result.shape != (len(self.parameters),):
                raise InputError(
                    f"expected {len(self.parameters)} parameter values, got an array of shape {result.shape}"
                )
        if not np.isfinite(result).all():
            bad = [name for name, value in zip(self.names, result, strict=True) if not math.isfinite(value)]
            raise InputError(f"parameter values must be finite, got {result[self.index(bad[0])]} for '{bad[0]}'")
        return result

    def split(self, data: Data = None) -> tuple[Floats, Floats]:
        """Main counts, shape (B,), and auxiliary measurements, shape (A,).

        `data` is None (the observed data), an array of B counts, an array of B + A values, or counts by channel name;
        counts may be histograms (`bumpfit.histograms.as_histogram` says which).
        Raises InputError on wrong lengths, negative or non-finite counts, and data in bins where nothing is expected.
        """
        n_bins, n_aux = self.compiled.n_bins, self.auxdata.size
        aux = self.auxdata
        if data is None:
            if self.observed is None:
                raise InputError("the workspace has no observed data; give data")
            main = self.observed
        elif isinstance(data, Mapping) and "uhi_schema" not in data:
            missing = {c.name for c in self.channels} ^ {str(key) for key in data}
            if missing:
                raise InputError(f"data and model disagree on the channels {', '.join(sorted(missing))}")
            parts = [_counts(data[c.name], f"data of channel '{c.name}'") for c in self.channels]
            for channel, part in zip(self.channels, parts, strict=True):
                if part.shape != (channel.last - channel.first,):
                    raise InputError(
                        f"mismatching binnings: channel '{channel.name}' has {channel.last - channel.first} bins, "
                        f"got data of shape {part.shape}"
                    )
            main = np.concatenate(parts)
        else:
            main = _counts(data, "data")
            if main.shape == (n_bins + n_aux,):
                main, aux = main[:n_bins], main[n_bins:]
            elif main.shape != (n_bins,):
                raise InputError(
                    f"expected {n_bins} counts, or {n_bins + n_aux} with the auxiliary measurements; "
                    f"got an array of shape {main.shape}"
                )
        self._check_counts(main)
        if not np.isfinite(aux).all():
            raise InputError("auxiliary measurements must be finite")
        return main, aux

    def _check_counts(self, main: Floats) -> None:
        wrong = ~(np.isfinite(main) & (main >= 0))
        if wrong.any():
            b = int(np.argmax(wrong))
            raise InputError(f"counts must be finite and not negative, got {main[b]} in {self.bin_name(b)}")
        empty = ~self.reachable & (main > 0)
        if empty.any():
            b = int(np.argmax(empty))
            raise InputError(
                f"{self.bin_name(b)} has {main[b]:g} events but no sample predicts any there; merge bins, or give the "
                "background a positive yield in it"
            )

    @cached_property
    def reachable(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Bins where some sample can predict events, shape (B,)."""
        c = self.compiled
        result = np.zeros(c.n_bins, dtype=bool)
        for e in range(c.entry_bin.size):
            bins = slice(c.entry_bin[e], c.entry_bin[e] + c.entry_size[e])
            result[bins] |= c.nominal[c.entry_start[e] : c.entry_start[e] + c.entry_size[e]] != 0
            for k in range(c.shift_pointer[e], c.shift_pointer[e + 1]):
                shift = slice(c.shift_start[k], c.shift_start[k] + c.entry_size[e])
                result[bins] |= (c.shift_up[shift] != 0) | (c.shift_down[shift] != 0)
        return result

    def bin_name(self, b: int) -> str:
        """A bin of the array of all bins in words."""
        channel = next(c for c in self.channels if c.first <= b < c.last)
        return f"bin {b - channel.first} of channel '{channel.name}'"

    def _evaluate(self, x: Floats) -> tuple[Floats, tuple[Floats, Floats, Floats, Floats]]:
        """Rates and what their derivatives need (see `kernels.rates`)."""
        c = self.compiled
        rate, state = np.empty(c.n_bins), scratch(c)
        kernels.rates(x, c, rate, *state)
        return rate, state

    def _derivatives(self, x: Floats, main: Floats, aux: Floats) -> tuple[Floats, Floats, Floats]:
        """Derivatives of the rates (P, B), gradient (P,) and Hessian (P, P) of -ln L."""
        c = self.compiled
        rate, state = self._evaluate(x)
        jac, hess = np.empty((c.n_parameters, c.n_bins)), np.empty((c.n_parameters, c.n_parameters))
        grad, diagonal = np.empty(c.n_parameters), np.empty(c.n_parameters)
        kernels.derivatives(x, main, aux, c, rate, *state, jac, grad, hess, diagonal)
        return jac, grad, hess

    def expected(self, values: Values) -> Floats:
        """Expected counts of all bins, shape (B,)."""
        return self._evaluate(self.array(values))[0]

    def expected_by_sample(self, values: Values) -> dict[str, dict[str, Floats]]:
        """Expected counts by channel and sample."""
        _, (shifted, factor, _, _) = self._evaluate(self.array(values))
        c = self.compiled
        # entries follow channels and sorted samples, without those that are zero everywhere
        result = {ch.name: {s: np.zeros(ch.last - ch.first) for s in ch.samples} for ch in self.channels}
        for (channel, sample), e in self.entries.items():
            yields = slice(c.entry_start[e], c.entry_start[e] + c.entry_size[e])
            first = c.entry_bin[e] - channel.first
            result[channel.name][sample][first : first + c.entry_size[e]] = shifted[yields] * factor[yields]
        return result

    @cached_property
    def entries(self) -> dict[tuple[Channel, str], int]:
        """Number of the compiled entry of each channel and sample that can be non-zero."""
        channels = {channel.name: channel for channel in self.channels}
        return {(channels[channel], sample): e for e, (channel, sample) in enumerate(self.sampled)}

    def jacobian(self, values: Values) -> Floats:
        """Derivatives of the expected counts, shape (P, B)."""
        x = self.array(values)
        return self._derivatives(x, np.zeros(self.compiled.n_bins), self.expected_auxiliary(x))[0]

    def expected_auxiliary(self, values: Values) -> Floats:
        """Expectation of the auxiliary measurements, shape (A,)."""
        x, c = self.array(values), self.compiled
        result = np.empty(self.auxdata.size)
        result[c.normal_aux] = x[c.normal_parameter]
        result[c.poisson_aux] = c.poisson_factor * x[c.poisson_parameter]
        return result

    def saturated_twice_nll(self, data: Data = None) -> float:
        """-2 ln L of the saturated model (every expectation equal to its measurement); the constant of `twice_nll`."""
        main, aux = self.split(data)
        counts = np.concatenate([main, aux[self.compiled.poisson_aux]])
        logs = np.log(np.where(counts > 0, counts, 1.0))
        c = self.compiled
        # of the correlated constraints the determinant of the covariance, from its Cholesky factor's diagonal
        sigmas = np.concatenate([c.normal_sigma[: c.n_independent], c.joint_lower[c.joint_pointer[1:] - 1]])
        widths = np.log(sigmas * math.sqrt(2 * math.pi))
        return float(2 * (np.sum(counts - counts * logs + _log_factorials(counts)) + np.sum(widths)))

    def twice_nll(self, values: Values, data: Data = None) -> float:
        """-2 ln L with all constants, as pyhf's -2 logpdf; infinite where an expectation is not allowed."""
        x = self.array(values)
        main, aux = self.split(data)
        rate, _ = self._evaluate(x)
        return self.saturated_twice_nll(data) + 2 * float(kernels.objective(x, main, aux, self.compiled, rate))

    def gradient(self, values: Values, data: Data = None) -> Floats:
        """Gradient of -2 ln L, shape (P,)."""
        return 2 * self._derivatives(self.array(values), *self.split(data))[1]

    def hessian(self, values: Values, data: Data = None) -> Floats:
        """Second derivatives of -2 ln L, shape (P, P)."""
        return 2 * self._derivatives(self.array(values), *self.split(data))[2]

    def information(self, values: Values) -> Floats:
        """Fisher information, the expectation of the second derivatives of -ln L at these values, shape (P, P).

        It is the Hessian at Asimov data, where the curvature of the rates drops out.
        """
        x = self.array(values)
        return self._derivatives(x, self.expected(x), self.expected_auxiliary(x))[2]

    @property
    def plain(self) -> bool:
        """Whether each modifier and constraint stands for itself: no formulas, no correlated constraints.

        An engine that works on the arrays of modifiers and constraints alone must leave other models to the kernels.
        """
        return self.compiled.program_first.size == 0 and not self.correlated

    @property
    def correlated(self) -> bool:
        """Whether the constraints of some parameters are correlated."""
        return bool(self.compiled.n_independent < self.compiled.normal_aux.size)

    @cached_property
    def one_sided(self) -> Flags:
        """Parameters by which the likelihood can have several minima: both ends of a systematic move a yield to the
        same side, or one end makes it vanish within two standard deviations; shape (P,).
        """
        c = self.compiled
        result = np.zeros(c.input_first.size, dtype=bool)
        low, high = c.scale_coefficients[:, 0], c.scale_coefficients[:, 1]
        result[c.scale_parameter[low * high > 0]] = True
        for e in range(c.entry_bin.size):
            size = c.entry_size[e]
            nominal = c.nominal[c.entry_start[e] : c.entry_start[e] + size]
            for k in range(c.shift_pointer[e], c.shift_pointer[e + 1]):
                shape = slice(c.shift_start[k], c.shift_start[k] + size)
                up, down = c.shift_up[shape], -c.shift_down[shape]
                if ((up * down > 0) | ((nominal > 0) & (nominal + 2 * np.minimum(up, down) <= 0))).any():
                    result[c.shift_parameter[k]] = True
        for number in np.flatnonzero(result[c.n_parameters :]):  # of a formula: its parameters
            result[c.formula_parameter[c.formula_pointer[number] : c.formula_pointer[number + 1]]] = True
        return result[: c.n_parameters]

    @property
    def bends(self) -> bool:
        """Whether the likelihood can have several minima (`one_sided`)."""
        return bool(self.one_sided.any())

    def asimov(self, values: Values) -> Floats:
        """Asimov data: every measurement equal to its expectation at these values, shape (B + A,)."""
        return np.concatenate([self.expected(values), self.expected_auxiliary(values)])
