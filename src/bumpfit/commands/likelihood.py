"""`bumpfit fit`, `scan`, `impacts` and `gof`: questions to the likelihood of a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bumpfit.commands.building import Building, described
from bumpfit.commands.fit_figures import FitFigures
from bumpfit.commands.options import Fitting, Masses, Parameter, Reading, Workspace, Workspaces, by_mass, grouped
from bumpfit.commands.output import Drawing, Output, Page, check_outputs, provenance
from bumpfit.commands.patterns import groups_of
from bumpfit.commands.question import begin, common_settings
from bumpfit.commands.spectra import Published, fit_spectrum
from bumpfit.commands.throwing import Throwing
from bumpfit.errors import BumpfitError, InputError
from bumpfit.pages import likelihood as show
from bumpfit.words import Fitness, Side

if TYPE_CHECKING:
    pass


@grouped
def fit(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="Workspace, table of scored events, or published spectrum (--family).")
    ],
    reading: Reading,
    fitting: Fitting,
    building: Building,
    published: Published,
    output: Output,
    drawing: Drawing,
    figures: FitFigures,
    page: Page,
    correlation: Annotated[bool, typer.Option("--correlation", help="Show the correlations of parameters.")] = False,
    yields: Annotated[bool, typer.Option("--yields", help="Add yields before and after the fit.")] = False,
) -> None:
    """Fit all parameters, and test the background-only hypothesis (q0, local p-value and significance).

    A scored table is built into a spectrum in memory, with the options of `bumpfit build`. Example:
    bumpfit fit workspace.json -o fit.json --correlation

    A published spectrum (HEPData YAML or CSV, YODA, UHI JSON, ROOT) is fitted with a family of functions and scanned:
    bumpfit fit hepdata.yaml --family dijet --order auto --signal gauss:3% --limits --figure spectrum.png
    """
    from bumpfit import inference
    from bumpfit.events.suffixes import is_table
    from bumpfit.files import require
    from bumpfit.workspace.read import compile_model

    drawing.check(*figures.files, published.limits_figure)
    if published.wanted(Path(source)):
        if page.report is not None:
            raise InputError("--report is for workspaces and tables of scored events; a spectrum has --figure")
        figures.refuse()
        check_outputs([source], output.out, drawing.figure, published.limits_figure)
        fit_spectrum(Path(source), published, building, output, drawing)
        return
    figures.check(drawing)
    built = None
    if is_table(source):
        built = building.build(source)
        model = compile_model(built.workspace, poi=reading.poi)
    elif building.given():
        raise InputError(
            f"--{next(iter(building.given())).replace('_', '-')} builds a workspace from a scored table, but {source} "
            "is a workspace already"
        )
    else:
        model = reading.model(require(source))
    files: list[str | Path] = [source, *reading.files, *fitting.files, *building.files]
    check_outputs(files, output.out, drawing.figure, *page.files, *figures.files)
    figures.check_names(model)
    data, settings = fitting.data(model), fitting.settings(model)
    best = inference.fit(model, data, **settings)
    if not best.valid:
        raise BumpfitError(f"the fit did not converge: {best.status}; try --start, --range, --fix or --minimiser")
    tested, reason = None, "the workspace has no parameter of interest"
    if model.poi in (*best.fixed, *best.undetermined):
        reason = f"{model.poi} is held, or changes nothing"
    elif model.poi is not None:
        try:
            tested = inference.discovery(model, data, **settings)
            best = tested.free_fit or best
        except BumpfitError as error:
            reason = str(error)
    found: dict[str, Any] = {"mu": None, "mu_error": None}
    if model.poi is not None:
        found = {"mu": best.values[model.poi], "mu_error": best.errors[model.poi] or None}
    names = ("q0", "p", "z", "z_signed", "p_is_upper_bound")
    found |= {name: None if tested is None else getattr(tested, name) for name in names}
    found |= {"at_bounds": (tested or best).at_bounds, "notes": () if tested is None else tested.notes}
    head = provenance("fit", files, {**reading.given(), **building.given(), **fitting.given()})
    if page.report is not None:
        from bumpfit.pages.likelihood_report import document

        summary = inference.summary(model, data, **settings)
        page.write(lambda: document(summary, model, Path(source).name, head))
    result = {
        **head,
        **best.to_dict(), "poi": model.poi, **found,
        "discovery": "asymptotic" if tested is not None else f"not available: {reason}",
        "built": None if built is None else built.to_dict(),
    }  # fmt: skip
    tables = None
    if yields or figures.takes_yields(drawing):
        tables = (inference.prefit(model, data), inference.postfit(model, data, **settings))
    if yields and tables is not None:
        result["yields"] = {"prefit": tables[0].to_dict(), "postfit": tables[1].to_dict()}

    figures.write(drawing, best, tables, model, fitting)
    output.give(
        result,
        lambda: show.fit(
            best, tested, model, correlation=correlation, yields=tables if yields else None,
            rows=[] if built is None else described(built),
        ),
        show.notes(best if tested is None else tested) + ([] if tested else [f"no discovery test: {reason}"]),
    )  # fmt: skip


@grouped
def scan(
    workspaces: Workspaces,
    reading: Reading,
    fitting: Fitting,
    output: Output,
    drawing: Drawing,
    parameter: Parameter = None,
    points: Annotated[int, typer.Option(help="Number of points.", min=2)] = 41,
    low: Annotated[float | None, typer.Option(help="First point; default: 3 errors below the best fit.")] = None,
    high: Annotated[float | None, typer.Option(help="Last point; default: 3 errors above the best fit.")] = None,
    level: Annotated[list[float] | None, typer.Option(help="Level of an interval; default: 0.6827 and 0.9545.")] = None,
    side: Annotated[Side, typer.Option(help="Two-sided intervals, or a lower or upper limit.")] = "both",
    masses: Masses = None,
) -> None:
    """Scan the profile likelihood of a parameter, with its intervals; or p-values over mass with several workspaces.

    Example: bumpfit scan workspace.json --parameter mu --points 61 --figure scan.png
    """
    from bumpfit import inference

    drawing.check()
    files = [*workspaces, *reading.files, *fitting.files]
    check_outputs(files, output.out, drawing.figure)
    head = provenance("scan", files, {**reading.given(), **fitting.given()})
    if len(workspaces) > 1 or masses is not None:
        over = inference.discoveries(
            by_mass(workspaces, masses, reading), **common_settings(fitting, workspaces[0], reading)
        )
        drawing.draw(over.plot)
        output.give({**head, **over.to_dict()}, lambda: show.discoveries(over))
        return
    model = reading.model(workspaces[0])
    data, settings = fitting.data(model), fitting.settings(model)
    if (low is None) != (high is None):
        raise InputError("give both ends of the scan, --low and --high, or neither")
    at = None
    if low is not None and high is not None:
        if not low < high:
            raise InputError(f"the scan needs --low below --high, got {low:g} and {high:g}")
        at = [low + (high - low) * i / (points - 1) for i in range(points)]
    found = inference.scan(model, parameter, at, data, n_points=points, **settings)
    intervals = [
        inference.interval(model, parameter, chosen, data, side=side, **settings)
        for chosen in level or (0.6827, 0.9545)
    ]

    def draw() -> Any:
        from bumpfit.report.profiles import profile

        return profile(found, intervals)

    drawing.draw(draw)
    result = {**head, **found.to_dict(), "intervals": [interval.to_dict() for interval in intervals]}
    output.give(result, lambda: show.scan(found, intervals), show.notes(found, *intervals))


@grouped
def impacts(
    workspace: Workspace,
    reading: Reading,
    fitting: Fitting,
    output: Output,
    drawing: Drawing,
    parameter: Parameter = None,
    breakdown: Annotated[
        bool, typer.Option("--breakdown", help="The error by groups of parameters too, in two conventions.")
    ] = False,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATTERN,...", help="A group of the breakdown, beside those of the workspace."),
    ] = None,
    top: Annotated[int, typer.Option(help="Parameters that are shown and drawn; the result has all.", min=1)] = 20,
) -> None:
    """Pulls, constraints and impacts of all nuisance parameters, largest impact first.

    Example: bumpfit impacts workspace.json --top 30 --breakdown --group theory=xs*,pdf --figure ranking.png
    """
    from bumpfit import inference

    asked = begin(workspace, reading, fitting, output, drawing)
    found = inference.impacts(asked.model, asked.data, parameter=parameter, **asked.settings)

    result = {**asked.provenance("impacts"), **found.to_dict()}
    parts = None
    if breakdown or group:
        from bumpfit.inference.breakdown import breakdown as split

        parts = split(asked.model, asked.data, groups=groups_of(group), parameter=parameter, **asked.settings)
        result["breakdown"] = parts.to_dict()

    def draw() -> Any:
        from bumpfit.report.fitted import ranking

        return ranking(found, top, None if parts is None else parts.by_freezing)

    drawing.draw(draw)

    def tell() -> Any:
        if parts is None:
            return show.impacts(found, top)
        from bumpfit.pages.breakdown import told
        from bumpfit.pages.terminal import stacked

        return stacked(show.impacts(found, top), told(parts))

    output.give(result, tell, show.notes(found))


@grouped
def gof(
    workspace: Workspace,
    reading: Reading,
    fitting: Fitting,
    output: Output,
    throwing: Throwing,
    statistic: Annotated[Fitness, typer.Option(help="Statistic; ks and ad need toys.")] = "saturated",
    toys: Annotated[int, typer.Option(metavar="N", help="Throw N toys instead of the asymptotic law.", min=0)] = 0,
    by_channel: Annotated[
        bool, typer.Option("--by-channel", help="A p-value of each channel too: saturated toys become slower.")
    ] = False,
) -> None:
    """Goodness of fit: does any choice of the parameters describe the data?

    Statistics: the likelihood ratio to the saturated model, Pearson's chi2, Kolmogorov-Smirnov (ks), Anderson-Darling
    (ad). Each channel has its part. Example: bumpfit gof workspace.json --toys 1000 --seed 1
    """
    from bumpfit import inference
    from bumpfit.law import SHAPES

    asked = begin(workspace, reading, fitting, output)
    if statistic in SHAPES and toys == 0:
        raise InputError(f"only toys know the distribution of the {statistic} statistic; give --toys N")
    if by_channel and toys == 0:
        raise InputError("only toys know the distributions of the channels' parts; give --toys N with --by-channel")
    with throwing.law(toys or None) as law:
        found = inference.goodness(asked.model, asked.data, statistic, law=law, by_channel=by_channel, **asked.settings)
    thrown = {"toys": toys, "seed": throwing.seed, **({"by_channel": True} if by_channel else {})} if toys else {}
    result = {**asked.provenance("gof", **thrown), **found.to_dict()}
    output.give(result, lambda: show.goodness(found), show.notes(found))


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (fit, scan, impacts, gof):
        app.command()(command)
