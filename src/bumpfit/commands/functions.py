"""`bumpfit spurious` and `bias`: is a background function good enough for a search in a spectrum?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bumpfit.commands.options import Seed, grouped
from bumpfit.commands.output import Output, check_outputs, provenance
from bumpfit.errors import InputError
from bumpfit.pages.terminal import measured, number, stacked, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from bumpfit.shapes import LogLinear
    from bumpfit.types import Floats

Functions = Annotated[
    list[str],
    typer.Option("--function", metavar="FAMILY:N", help="Function to test, as dijet:3; may be repeated."),
]
Signal = Annotated[str, typer.Option(metavar="FORM", help="Peak: gauss:3% (of the mass) or gauss:100 (GeV).")]
SqrtS = Annotated[float, typer.Option("--sqrt-s", help="Centre-of-mass energy in GeV.")]
Object = Annotated[str | None, typer.Option(metavar="NAME", help="Column, histogram or object of the file.")]


@grouped
def spurious(
    simulated: Annotated[
        str, typer.Argument(help="Simulated spectrum without signal, with its errors: ROOT or UHI JSON; or counts.")
    ],
    functions: Functions,
    signal: Signal,
    output: Output,
    scan_masses: Annotated[
        str | None, typer.Option(metavar="LOW:HIGH:STEP", help="Masses of the peak; default: a width apart.")
    ] = None,
    scale: Annotated[float, typer.Option(help="Luminosity of the data over that of the simulation.")] = 1.0,
    threshold: Annotated[float, typer.Option(help="Largest part of the statistical error that is accepted.")] = 0.5,
    allowance: Annotated[
        float, typer.Option(help="Errors of the simulation that are taken off first, for small samples.")
    ] = 0.0,
    object: Object = None,
    sqrt_s: SqrtS = 13000.0,
) -> None:
    """Spurious signal: the events of a peak that a background function leaves in a spectrum without one.

    Example: bumpfit spurious mc.root --function dijet:3 --function dijet:4 --signal gauss:3% --scale 0.1
    """
    import numpy as np

    from bumpfit.commands.spectra import Published
    from bumpfit.inference.spectra import Peak, masses_of
    from bumpfit.published import read
    from bumpfit.shapes import spurious_signal

    check_outputs([simulated], output.out)
    peak, histogram = Peak.of(signal), read(_required(simulated), object).histogram
    made = _made(functions, histogram.edges, sqrt_s)
    if not all(math.isfinite(x) and x >= 0 for x in (threshold, allowance)):
        raise InputError(f"--threshold and --allowance must be 0 or more, got {threshold:g} and {allowance:g}")
    masses = masses_of(histogram.edges, peak, Published(scan_masses=scan_masses).masses())
    found = {
        text: spurious_signal(
            histogram, shape, peak.shape(), masses, scale=scale, threshold=threshold, allowance=allowance
        )
        for text, shape in made.items()
    }
    options = {
        "function": functions, "signal": signal, "scale": scale, "threshold": threshold, "allowance": allowance,
    }  # fmt: skip
    tests = [{"function": text, **one.to_dict(), "largest": one.largest} for text, one in found.items()]
    result = {**provenance("spurious", [simulated], options), "tests": tests}

    def show() -> RenderableType:
        rows = []
        for text, one in found.items():
            worst = int(np.nanargmax(np.abs(one.ratio)))
            events, error, sigma, ratio = (
                float(part[worst]) for part in (one.n_spurious, one.simulation_error, one.sigma, one.ratio)
            )
            mass, passed = f"{one.masses[worst]:.6g}", "yes" if one.passed else "no"
            rows.append([text, mass, measured(events, error), number(sigma, 4), number(ratio, 3), passed])
        head = ["function", "mass [GeV]", "events", "error in data", "ratio", "passed"]
        return table("largest spurious signal", head, rows)

    without = {text: int(np.isnan(one.ratio).sum()) for text, one in found.items()}
    failed = [f"{text}: no fit at {n} masses, so it is not passed" for text, n in without.items() if n]
    output.give(result, show, [f"{len(masses)} masses; passed: below {threshold:g} of the error in data", *failed])


@grouped
def bias(
    spectrum: Annotated[str, typer.Argument(help="Spectrum of counts, as bumpfit fit --family reads it.")],
    functions: Functions,
    truth: Annotated[
        list[str], typer.Option(metavar="FAMILY:N", help="Function that throws the toys; may be repeated.")
    ],
    signal: Signal,
    mass: Annotated[float, typer.Option(help="Mass of the peak in GeV.")],
    output: Output,
    inject: Annotated[list[float] | None, typer.Option(help="Signal events in the toys; may be repeated.")] = None,
    toys: Annotated[int, typer.Option(metavar="N", help="Toys of each truth and injection.", min=2)] = 1000,
    seed: Seed = 0,
    object: Object = None,
    luminosity: Annotated[
        float | None, typer.Option(help="Luminosity in fb-1 that turns a density into counts.")
    ] = None,
    sqrt_s: SqrtS = 13000.0,
) -> None:
    """Bias: the mean pull of the signal when the background is another function than the one that is fitted.

    Example: bumpfit bias hepdata.yaml --truth ua2:4 --function dijet:3 --signal gauss:3% --mass 4000 --inject 100
    """
    import numpy as np

    from bumpfit.inference.spectra import Peak, masses_of
    from bumpfit.published import read
    from bumpfit.shapes import bias as pulls

    check_outputs([spectrum], output.out)
    peak = Peak.of(signal)
    histogram = read(_required(spectrum), object, luminosity=luminosity).histogram
    masses_of(histogram.edges, peak, [mass])
    made, sources = (_made(texts, histogram.edges, sqrt_s) for texts in (functions, truth))
    tests: list[dict[str, Any]] = []
    for t, (source, thrown) in enumerate(sources.items()):
        for i, injected in enumerate(inject or [0.0]):
            if not math.isfinite(injected):
                raise InputError(f"--inject must be finite, got {injected}")
            for text, shape in made.items():
                # the same toys for all functions
                rng = np.random.default_rng([seed, t, i])
                found = pulls(histogram, thrown, shape, peak.shape(), {"mass": mass}, rng, injected=injected, toys=toys)
                tests.append({"truth": source, "function": text, **found.to_dict()})
    options = {
        "function": functions, "truth": truth, "signal": signal, "mass": mass, "inject": inject or [0.0], "toys": toys,
        "seed": seed,
    }  # fmt: skip

    def show() -> RenderableType:
        rows = [
            [one["truth"], one["function"], number(one["injected"], 5),
             measured(one["mean_pull"], one["mean_pull_error"]), number(one["width"], 3),
             number(one["mean_fitted"], 5), number(one["mean_error"], 4), str(one["failed"])]
            for one in tests
        ]  # fmt: skip
        head = ["truth", "fitted", "injected", "mean pull", "width", "mean events", "mean error", "failed"]
        return stacked(table("bias of the signal", head, rows))

    result = {**provenance("bias", [spectrum], options), "tests": tests}
    output.give(result, show, [f"{toys} toys each; a mean pull below about 0.5 in size is usual for a good function"])


def _required(text: str) -> str:
    from bumpfit.files import require

    return str(require(text))


def _made(texts: list[str], edges: Floats, sqrt_s: float) -> dict[str, LogLinear]:
    """Functions from FAMILY:N; raises InputError for what cannot be read."""
    from bumpfit.inference.spectra import functions

    result: dict[str, LogLinear] = {}
    for text in texts:
        family, _, order = text.partition(":")
        if not order.isdecimal() or text in result:
            raise InputError(f"cannot read the function '{text}'; expected FAMILY:N, as dijet:3, each once")
        make: Callable[[int], LogLinear] = functions(family, edges, sqrt_s)
        result[text] = make(int(order))
    return result


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (spurious, bias):
        app.command()(command)
