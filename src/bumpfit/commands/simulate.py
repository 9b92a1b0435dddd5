"""`bumpfit simulate`: events from Pythia 8, a parametric detector and jets, and scripts and runs of MadGraph."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from bumpfit.commands.options import Dask, Seed, Workers, grouped
from bumpfit.commands.output import Json, Output, check_outputs
from bumpfit.errors import InputError
from bumpfit.pages.terminal import measured, number, pairs, table

app = typer.Typer(
    help="Simulate collision events: Pythia 8, a parametric detector and jets; MadGraph scripts and runs.",
    no_args_is_help=True,
)

Energy = Annotated[float, typer.Option(metavar="GEV", help="Collision energy.")]
Flow = Annotated[bool, typer.Option("--flow", help="Write every measured object too (EFlowTrack, EFlowPhoton, ...).")]


@dataclasses.dataclass(frozen=True)
class Running:
    """How much is simulated, how, and where it goes."""

    PANEL: ClassVar[str] = "How much, and where it goes"

    out: Annotated[Path, typer.Option("-o", "--out", help="Events: .parquet or .root; an interrupted run goes on.")]
    n: Annotated[int | None, typer.Option("-n", "--number", help="Events in the file.", min=1)] = None
    generate: Annotated[
        int | None, typer.Option(metavar="N", help="Generate N events, of which those that pass are written.", min=1)
    ] = None
    seed: Seed = 0
    workers: Workers = None
    dask: Dask = None
    chunk: Annotated[int, typer.Option(help="Events of a chunk: other chunks, other events.", min=1)] = 500
    card: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Detector and jets; default: see docs/methods/simulate.md.")
    ] = None
    as_json: Json = False

    def run(self, job: Any) -> None:
        """Simulate, then print the run card, or its main numbers."""
        from bumpfit.clusters import pool
        from bumpfit.simulate import events

        check_outputs([] if self.card is None else [self.card], self.out)
        with pool(self.workers, self.dask) as executor:
            summary = events(job, self.n, self.out, generate=self.generate, seed=self.seed, executor=executor)
        result = summary.to_dict()
        Output(None, self.as_json).give(result, lambda: pairs(_rows(result)), [f"events written to {self.out}"])

    def detector(self, base: Any) -> Any:
        """The card: that of the command, with the user's changes."""
        from bumpfit.simulate import read_card

        return base if self.card is None else read_card(self.card, base)


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    cross, error = result["cross_section_pb"], result["cross_section_error_pb"]
    rows = [
        ("process", result["process"]),
        ("events", f"{result['events']} of {result['generated']} generated ({result['efficiency']:.4g})"),
        ("cross section", f"{measured(cross, error)} pb before the selection"),
    ]
    if result["dropped_particles"]:
        rows.append(("dropped", f"{result['dropped_particles']} particles whose momentum is not finite"))
    return rows


@app.command()
@grouped
def dijet(
    running: Running,
    resonance: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Masses in GeV of a resonance A -> B C instead of QCD.")
    ] = None,
    prongs: Annotated[str, typer.Option(metavar="2|3|2,3", help="Prongs of the decays of B and C.")] = "2",
    width: Annotated[float, typer.Option(help="Width of A relative to its mass.")] = 1e-3,
    parton_pt: Annotated[float, typer.Option(help="Least pT of the partons of QCD in GeV.")] = 1000.0,
    parton_mass: Annotated[float, typer.Option(help="Least mass of the two partons of QCD in GeV.")] = 2100.0,
    lead_pt: Annotated[float, typer.Option(help="Least pT of the leading jet in GeV.")] = 1200.0,
    lead_eta: Annotated[float, typer.Option(help="Largest |eta| of the leading jet.")] = 2.5,
    energy: Energy = 13000.0,
    mpi: Annotated[bool, typer.Option("--mpi", help="Multi-parton interactions: four times slower.")] = False,
) -> None:
    """QCD dijets, or a heavy resonance that decays to two large jets: the table of the resonance search.

    Examples:
    bumpfit simulate dijet -n 10000 -o qcd.parquet;
    bumpfit simulate dijet --resonance 3500,500,100 --prongs 2,3 -n 1000 -o signal.parquet --seed 2
    """
    from bumpfit import simulate
    from bumpfit.simulate.card import SEARCH

    ignored = {"prongs": prongs != "2", "width": width != 1e-3}
    if resonance is not None:
        ignored = {"parton-pt": parton_pt != 1000.0, "parton-mass": parton_mass != 2100.0}
    for name in (name for name, given in ignored.items() if given):
        kind = "QCD: add --resonance A,B,C" if resonance is None else "a resonance: leave it out"
        raise InputError(f"--{name} means nothing for {kind}")
    if resonance is None:
        process = simulate.qcd_dijets(pt_min=parton_pt, mass_min=parton_mass, energy=energy, mpi=mpi)
    else:
        masses = _numbers("resonance", resonance, 3)
        pair = tuple(int(value) for value in _numbers("prongs", prongs, 2, repeat=True))
        process = simulate.resonance(*masses, prongs=(pair[0], pair[1]), width=width, energy=energy, mpi=mpi)
    card = running.detector(SEARCH)
    running.run(simulate.dijet(process, card, pt_min=lead_pt, eta_max=lead_eta, chunk=running.chunk))


@app.command()
@grouped
def wtag(
    sample: Annotated[str, typer.Argument(metavar="signal|background", help="W -> qq' beside Z -> νν, or QCD dijets.")],
    running: Running,
    pt_min: Annotated[float, typer.Option(help="Least pT of W and Z, or of the partons, in GeV.")] = 250.0,
    pt_max: Annotated[float, typer.Option(help="Largest pT in GeV.")] = 300.0,
    flow: Flow = False,
    no_mpi: Annotated[bool, typer.Option("--no-mpi", help="No multi-parton interactions: faster.")] = False,
) -> None:
    """Boosted W bosons against QCD jets, in collections named as by Delphes.

    Example: bumpfit simulate wtag signal -n 10000 -o signal.root
    """
    from bumpfit import simulate
    from bumpfit.simulate.card import DELPHES

    kind: Any = sample
    job = simulate.wtag(
        kind, running.detector(DELPHES), pt_min=pt_min, pt_max=pt_max, mpi=not no_mpi, all_flow=flow,
        chunk=running.chunk,
    )  # fmt: skip
    running.run(job)


@app.command()
@grouped
def process(
    settings: Annotated[Path, typer.Option(metavar="FILE", help="Pythia settings, one a line (a .cmnd file).")],
    running: Running,
    flow: Flow = False,
) -> None:
    """Any process by Pythia settings, in collections named as by Delphes.

    Example: bumpfit simulate process --settings top.cmnd -n 1000 -o top.root
    """
    from bumpfit import simulate
    from bumpfit.simulate.card import DELPHES

    check_outputs([settings], running.out)
    card = running.detector(DELPHES)
    running.run(simulate.general(simulate.from_file(settings), card, all_flow=flow, chunk=running.chunk))


@app.command()
def higgs(
    out: Annotated[Path, typer.Option("-o", "--out", help="Events: .parquet; an interrupted run goes on.")],
    n: Annotated[int, typer.Option("-n", "--number", help="Rows in the file.", min=1)],
    process: Annotated[
        str, typer.Option(metavar="all|ztautau|htautau|ttbar|diboson", help="Which process, or all in one file.")
    ] = "all",
    seed: Seed = 0,
    workers: Workers = None,
    dask: Dask = None,
    scale: Annotated[
        float, typer.Option(help="Size of the chunks, 1 for about half a minute each: other chunks, other rows.")
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Events of the HiggsML uncertainty challenge: 16 columns, weights, labels (docs/methods/higgs-simulation.md).

    Weights sum to the official expected events of each process in 10 fb-1, before the cut had_pt > 26.

    Examples:
    bumpfit simulate higgs -n 2000 -o higgs.parquet;
    bumpfit simulate higgs --process ztautau -n 100000 -o z.parquet --seed 3
    """
    from bumpfit.clusters import pool
    from bumpfit.simulate import events, higgsml

    check_outputs([], out)
    with pool(workers, dask) as executor:
        summary = events(higgsml(process, scale=scale), n, out, seed=seed, executor=executor)
    result = summary.to_dict()
    columns = ["process", "rows", "tries", "efficiency", "effective rows", "expected", "per expected", "max/median"]
    rows = [
        [
            name, str(of["rows"]), str(of["tries"]), measured(of["efficiency"], of["efficiency_error"]),
            f"{of['effective_rows']:.0f}", f"{of['expected']:.0f}", f"{of['effective_rows_per_expected']:.3g}",
            f"{of['largest_weight_over_median']:.2g}",
        ]
        for name, of in result["processes"].items()
    ]  # fmt: skip
    Output(None, as_json).give(result, lambda: table("HiggsML events", columns, rows), [f"events written to {out}"])


@app.command()
def taus(
    out: Annotated[Path, typer.Option("-o", "--out", help="Pool: an .npz file.")],
    leptonic: Annotated[int, typer.Option(help="Decays to e or mu.", min=1)] = 80_000,
    hadronic: Annotated[int, typer.Option(help="Decays to hadrons.", min=1)] = 75_000,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """The pool of polarised tau decays behind `bumpfit simulate higgs`; the packaged one is made by the defaults.

    Example: bumpfit simulate taus -o tau_decays.npz
    """
    from bumpfit.simulate.tau_decays import make_pool

    check_outputs([], out)
    made = make_pool(out, leptonic, hadronic, seed)
    result = {"leptonic": made.leptonic.size, "hadronic": made.hadronic.size, "seed": seed}
    rows = [("leptonic decays", str(made.leptonic.size)), ("hadronic decays", str(made.hadronic.size))]
    Output(None, as_json).give(result, lambda: pairs(rows), [f"written to {out}"])


@app.command()
def response(
    out: Annotated[Path, typer.Option("-o", "--out", help="Library: a Parquet file.")],
    grid: Annotated[
        str, typer.Option(metavar="X1,X2,...", help="Values of x = 4 m / M of both daughters.")
    ] = "0.06,0.12,0.2,0.3,0.4,0.5,0.6,0.7",
    mass: Annotated[float, typer.Option(help="Mass of the resonance in GeV.")] = 3500.0,
    number: Annotated[int, typer.Option("-n", "--number", help="Events a grid point and kind of decay.", min=20)] = 500,
    seed: Seed = 0,
    workers: Workers = None,
    dask: Dask = None,
    as_json: Json = False,
) -> None:
    """The library of jet responses behind the signal-like events of `bumpfit run` (docs/methods/surrogate.md).

    Example: bumpfit simulate response -o jet_response.parquet
    """
    from bumpfit.clusters import pool
    from bumpfit.simulate.response import build

    check_outputs([], out)
    values = _numbers("grid", grid, None)
    with pool(workers, dask) as executor:
        made = build(out, values, mass, number, seed=seed, executor=executor)
    result = {"points": made.points, "events": made.events, "generated": made.generated}
    rows = [("grid points", str(made.points)), ("events", f"{made.events} of {made.generated} generated")]
    Output(None, as_json).give(result, lambda: pairs(rows), [f"written to {out}"])


@app.command()
def madgraph(
    processes: Annotated[
        list[str] | None, typer.Argument(metavar="PROCESS...", help="Such as 'p p > w+ z'; none with --read.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--out", help="Folder that MadGraph makes.")] = Path("madevent"),
    model: Annotated[str, typer.Option(help="Model to import.")] = "sm",
    define: Annotated[list[str] | None, typer.Option(metavar="NAME=PARTICLES", help="Multi-particle label.")] = None,
    launch: Annotated[bool, typer.Option("--launch/--no-launch", help="Generate events, or only make the folder.")] = (
        True
    ),
    shower: Annotated[str, typer.Option(help="OFF or Pythia8.")] = "OFF",
    detector: Annotated[str, typer.Option(help="OFF or Delphes.")] = "OFF",
    madspin: Annotated[str, typer.Option(help="OFF, ON, onshell, none or full.")] = "OFF",
    decay: Annotated[list[str] | None, typer.Option(metavar="'w+ > j j'", help="Decay by MadSpin.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Run or model parameter; may be repeated.")
    ] = None,
    card: Annotated[list[Path] | None, typer.Option(help="Card file to use; may be repeated.")] = None,
    number: Annotated[int | None, typer.Option("-n", "--number", help="Events a run (nevents).", min=1)] = None,
    multi_run: Annotated[int, typer.Option(help="Number of runs.", min=1)] = 1,
    seed: Annotated[
        int | None, typer.Option(help="Seed of MadGraph, Pythia 8 and Delphes; default: theirs.", min=1)
    ] = None,
    executable: Annotated[str, typer.Option(help="MadGraph's program.")] = "mg5_aMC",
    dry: Annotated[bool, typer.Option("--dry", help="Print the script and do nothing.")] = False,
    read: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Read the runs of a finished folder.")] = None,
    diagrams: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Put the Feynman diagrams there: PostScript files.")
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Diagrams as PDF, by Ghostscript.")] = False,
    as_json: Json = False,
) -> None:
    """Events by MadGraph5_aMC: its command script (--dry), a run with it, or the summary of finished runs (--read).

    --diagrams copies the Feynman diagrams of the process into a new folder.

    Examples:
    bumpfit simulate madgraph 'p p > w+ z' -o wz -n 10000 --shower Pythia8 --detector Delphes --dry;
    bumpfit simulate madgraph --read wz; bumpfit simulate madgraph --read wz --diagrams diagrams/
    """
    from bumpfit.simulate.madgraph import Launch, MadGraph

    if pdf and diagrams is None:
        raise InputError("--pdf is the form of the diagrams; add --diagrams FOLDER")
    if diagrams is not None and dry:
        raise InputError("--dry makes no process, so there are no diagrams; leave one of them out")
    if diagrams is not None and not diagrams.is_dir():
        check_outputs([], diagrams)
    if read is not None:
        if processes or dry:
            raise InputError("--read reads a finished folder; leave out the processes and --dry")
        _finished(read, diagrams, pdf, as_json)
        return
    made = MadGraph(tuple(processes or ()), str(output), model, _assigned("define", define))
    settings: dict[str, Any] = {} if number is None else {"nevents": number}
    for name, value in _assigned("set", setting).items():
        if name in settings:
            raise InputError(f"{name} is given twice, by -n and by --set")
        settings[name] = value
    cards = tuple(str(path) for path in card or ())
    options = Launch(shower, detector, madspin, tuple(decay or ()), settings, cards, multi_run, seed)
    launches = (options,) if launch else ()
    if dry:
        typer.echo(made.script(*launches), nl=False)
        return
    made.run(*launches, executable=executable)
    _finished(output, diagrams, pdf, as_json, launched=launch)


def _finished(folder: Path, diagrams: Path | None, pdf: bool, as_json: bool, *, launched: bool = True) -> None:
    """The runs of a folder, and its diagrams where they are asked for (then there may be no run yet)."""
    from bumpfit.simulate.madgraph_diagrams import save_diagrams
    from bumpfit.simulate.madgraph_runs import has_runs, read_runs

    runs = read_runs(folder) if launched and (diagrams is None or has_runs(folder)) else []
    drawn = [] if diagrams is None else [one.to_dict() for one in save_diagrams(folder, diagrams, pdf=pdf)]
    _summary(runs, folder, drawn, as_json)


def _summary(runs: list[Any], folder: Path, drawn: list[dict[str, Any]], as_json: bool) -> None:
    """The runs of a folder, one a row; parts of a multi_run below the run that joins them; files of diagrams."""

    def row(run: Any, indent: str = "") -> list[str]:
        cross, matched = measured(run.cross_section, run.error), number(run.matched)
        numbers = ["—" if value is None else str(value) for value in (run.events, run.seed)]
        return [indent + run.name, run.tag, run.collider, cross, matched, *numbers, str(len(run.files))]

    from rich.console import Group

    rows = [line for run in runs for line in [row(run), *(row(part, "  ") for part in run.parts)]]
    columns = ["run", "tag", "collider", "cross section [pb]", "matched [pb]", "events", "seed", "files"]
    result: dict[str, Any] = {"folder": str(folder), "runs": [run.to_dict() for run in runs]}
    if drawn:
        result["diagrams"] = drawn

    def shown() -> Any:
        files = [[one["name"], one["process"] or "-", str(one["number"])] for one in drawn]
        tables = [table(str(folder), columns, rows)] if runs or not drawn else []
        return Group(*tables, *([table("diagrams", ["file", "process", "diagrams"], files)] if drawn else []))

    Output(None, as_json).give(result, shown)


def _numbers(name: str, text: str, count: int | None, *, repeat: bool = False) -> list[float]:
    """Numbers with commas between them; one stands for all with `repeat`."""
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        values = []
    if repeat and count is not None and len(values) == 1:
        values = values * count
    if not values or (count is not None and len(values) != count) or (name == "prongs" and any(v % 1 for v in values)):
        expected = f"{count} numbers" if count else "numbers"
        raise InputError(f"cannot read --{name} {text}; expected {expected} with commas between them")
    return values


def _assigned(name: str, texts: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or ():
        key, mark, value = text.partition("=")
        if not (key.strip() and mark and value.strip()):
            raise InputError(f"cannot read --{name} {text}; expected NAME=VALUE")
        found[key.strip()] = value.strip()
    return found


def add_to(parent: typer.Typer) -> None:
    """Register the commands."""
    parent.add_typer(app, name="simulate")
