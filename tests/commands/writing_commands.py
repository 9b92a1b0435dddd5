"""Command lines that write, their inputs and what they leave: for tests of faults and of kills."""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import Done, Run

from bumpfit.cli import main
from bumpfit.workspace import build


@dataclass(frozen=True)
class Case:
    """A command line without its outputs; inputs are `{name}`."""

    words: str
    outputs: dict[str, str] = field(default_factory=dict)
    slow: bool = False


def one(words: str, out: str = "out.json", *, slow: bool = False, **more: str) -> Case:
    """A command with `--out` and other outputs."""
    return Case(words, {"--out": out, **{f"--{name.replace('_', '-')}": file for name, file in more.items()}}, slow)


SET = "{set} --bootstrap 0 --luminosity 10 --cross-section qcd=0.2 --expected w=20"
FEW = "--set models=1 --set iterations=5"
CASES = {
    "run": Case("run {events} --background {table} --quick --iterations 0 --workers 1", {"--out": "out"}, slow=True),
    "score": Case("score {events} --background {table} --workers 1", {"--out": "out.csv"}, slow=True),
    "build": one("build {scored} --keep 0.01", figure="f.png", slow=True),
    "convert": Case("convert {workspace} OUT --to hs3", {"OUT": "out.json"}),
    "convert xml": Case("convert {workspace} OUT --to xml", {"OUT": "out.xml"}),
    "combine": one("combine {workspace} {other}"),
    "validate": one("validate {workspace}"),
    "fit": one("fit {workspace}", figure="f.png", prefit_figure="p.png", correlation_figure="c.png", report="r.html"),
    "fit spectrum": one("fit {spectrum} --family dijet --order 3 --signal gauss:3% --scan-masses 4000:4100:99 --limits",
                        figure="f.png", limits_figure="l.png"),
    "spurious": one("spurious {spectrum} --function dijet:3 --signal gauss:3% --scan-masses 4000:4100:99"),
    "bias": one("bias {spectrum} --truth dijet:4 --function dijet:3 --signal gauss:3% --mass 4000 --toys 4"),
    "bumphunter": one("bumphunter {counted} {counted} --widest 3 --toys 20", figure="f.png"),
    "compatibility": one("compatibility {shared}", figure="f.png"),
    "pulls": one("pulls {workspace}", figure="f.png"),
    "discovery": one("discovery {workspace}"),
    "posterior": one("posterior {workspace}", figure="f.png"),
    "blue": one("blue {measurements}"),
    "hepdata": Case("hepdata {limited}", {"--out": "out.zip"}),
    "scan": one("scan {workspace} --points 3", figure="f.png"),
    "limit": one("limit {workspace}", figure="f.png"),
    "impacts": one("impacts {workspace}", figure="f.png"),
    "gof": one("gof {workspace}"),
    "contour": one("contour {workspace} mu xs --level 0.68 --points 8", figure="f.png"),
    "toys": one("toys {workspace} -n 200 --workers 1", "out.parquet", figure="f.png", report="r.html", slow=True),
    "toys to JSON": one("toys {workspace} -n 200 --workers 1"),
    "toys jobs": Case("toys {workspace} -n 2000 --submit slurm --shards 2", {"--out": "jobs"}),
    "interval": one("interval {workspace}"),
    "coverage": one("coverage {workspace} --strengths 1 -n 50 --workers 1", figure="f.png"),
    "sensitivity": one("sensitivity {workspace} --strengths 1 -n 50 --workers 1", figure="f.png"),
    "dataset": one("dataset --class qcd={qcd} --class w={w} --observable mass --observable tau21 --cut mass>20",
                   "out.ds", figure="f.png", cutflow_figure="c.png", cutflow_html="c.html"),
    "train": one(f"train {SET} {FEW}", model="m.model", workspace="w.json", figure="f.png", template_figure="t.png"),
    "metrics": one(f"metrics {SET} -m {{model}}", workspace="w.json", figure="f.png", template_figure="t.png",
                   report="r.html"),
    "workspace inspect": one("workspace inspect {workspace}"),
    "workspace prune": one("workspace prune {workspace} -m side"),
    "workspace rename": one("workspace rename {workspace} -m side=other"),
    "workspace decorrelate": one("workspace decorrelate {shared} -p side"),
    "workspace simplify": one("workspace simplify {shared} -c SR"),
    "workspace smooth": one("workspace smooth {shaped}"),
    "workspace symmetrise": one("workspace symmetrise {shaped}"),
    "workspace sort": one("workspace sort {workspace}"),
    "workspace diff": one("workspace diff {workspace} {workspace}"),
    "workspace combine": one("workspace combine {workspace} {other}"),
    "patchset inspect": one("patchset inspect {patchset}"),
    "patchset extract": one("patchset extract {patchset} --name one"),
    "patchset apply": one("patchset apply {workspace} {patchset} --name one"),
    "simulate dijet": one("simulate dijet -n 2 --workers 1 --seed 3", "out.parquet", slow=True),
    "simulate wtag": one("simulate wtag signal -n 2 --workers 1", "out.root", slow=True),
    "simulate process": one("simulate process --settings {settings} -n 2 --workers 1", "out.parquet", slow=True),
    "simulate higgs": one("simulate higgs -n 2 --scale 0.001 --workers 1", "out.parquet", slow=True),
    "simulate taus": one("simulate taus --leptonic 5 --hadronic 5", "out.npz", slow=True),
    "simulate response": one("simulate response --grid 0.3 -n 20 --workers 1", "out.parquet", slow=True),
    "simulate madgraph": Case("simulate madgraph --read {process}", {"--diagrams": "diagrams"}),
    "higgsml sample": one("higgsml sample", "out.parquet"),
    "higgsml bias": one("higgsml bias {higgs} --tes 1.02", "out.parquet"),
    "higgsml pseudo": one("higgsml pseudo {higgs} --mu 1", "out.parquet"),
    "higgsml fit": one("higgsml fit --templates {grid} --counts 905,120,60", slow=True),
    "higgsml score": one("higgsml score {result} --mu 1"),
    "higgsml bounds": one("higgsml bounds --templates {grid} --mu 1"),
    "higgsml coverage": one("higgsml coverage --templates {grid} -n 50 --calibrate 50", slow=True),
}  # fmt: skip


def spectra_of(names: tuple[str, ...]) -> dict[str, Any]:
    """A workspace of two bins a channel."""
    channels = {
        name: [
            build.sample("signal", [4.0, 6.0], build.modifier("normfactor", "mu")),
            build.sample("bkg", [50.0, 30.0], build.modifier("normsys", "xs", (0.9, 1.1)),
                         build.modifier("normsys", "side", (0.95, 1.1))),
        ]
        for name in names
    }  # fmt: skip
    return build.workspace(channels, {name: [57.0, 33.0] for name in names}, "mu", {"mu": {"bounds": [[0, 20]]}})


class Inputs:
    """Small inputs by name, made when they are asked for."""

    def __init__(self, folder: Path, made: dict[str, Path]) -> None:
        self.folder, self.made = folder, made

    def __getitem__(self, name: str) -> Path:
        if name not in self.made:
            self.made[name] = getattr(self, f"make_{name}")()
        return self.made[name]

    def json(self, name: str, content: Any) -> Path:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(content))
        return path

    def frame(self, name: str, table: pd.DataFrame) -> Path:
        table.to_parquet(self.folder / f"{name}.parquet")
        return self.folder / f"{name}.parquet"

    def make_workspace(self) -> Path:
        return self.json("workspace", spectra_of(("SR",)))

    def make_process(self) -> Path:
        """The folder of a MadGraph process with its diagrams and without a run."""
        place = self.folder / "wz" / "SubProcesses" / "P1_qq_wpz"
        place.mkdir(parents=True)
        (place / "matrix1.ps").write_text("%!PS-Adobe-2.0\n 50         770  moveto\n (u d~ > w+ z) show\n")
        return self.folder / "wz"

    def make_shared(self) -> Path:
        return self.json("shared", spectra_of(("SR", "VR")))

    def make_shaped(self) -> Path:
        background = build.sample(
            "bkg",
            [50.0, 40.0, 30.0, 20.0],
            build.modifier("normfactor", "mu"),
            build.modifier("histosys", "jes", ([44.0, 41.0, 25.0, 19.0], [55.0, 38.0, 36.0, 22.0])),
        )
        return self.json("shaped", build.workspace({"SR": [background]}, {"SR": [50, 40, 30, 20]}, "mu"))

    def make_other(self) -> Path:
        return self.json("other", spectra_of(("CR",)))

    def make_spectrum(self) -> Path:
        return Path(__file__).parents[1] / "data" / "cms_dijet_137fb.csv"

    def make_counted(self) -> Path:
        path = self.folder / "counted.csv"
        path.write_text("low,high,count\n" + "".join(f"{k},{k + 1},{90 - 7 * k}\n" for k in range(8)))
        return path

    def make_limited(self) -> Path:
        expected = [0.5, 0.8, 1.2, 1.7, 2.5]
        return self.json("limited", {
            "command": "limit", "observed": 2.0, "expected": expected, "level": 0.95, "parameter": "mu",
            "method": "asymptotic CLs", "bands_at": 0.0,
        })  # fmt: skip

    def make_measurements(self) -> Path:
        path = self.folder / "measurements.toml"
        path.write_text("".join(
            f'[[measurement]]\nname = "{name}"\nvalue = {value}\nerrors = {{stat = 0.5}}\n'
            for name, value in (("A", 172), ("B", 173))
        ))  # fmt: skip
        return path

    def make_patchset(self) -> Path:
        import pyhf

        digest = pyhf.utils.digest(spectra_of(("SR",)))
        patch = [{"op": "replace", "path": "/channels/0/samples/0/data/0", "value": 5.0}]
        return self.json("patchset", {
            "metadata": {"references": {"hepdata": "ins1"}, "description": "d", "digests": {"sha256": digest},
                         "labels": ["m"]},
            "patches": [{"metadata": {"name": "one", "values": [1]}, "patch": patch}], "version": "1.0.0",
        })  # fmt: skip

    def make_qcd(self) -> Path:
        rng = np.random.default_rng(1)
        return self.frame("qcd", pd.DataFrame({"mass": rng.exponential(60, 600), "tau21": rng.beta(4, 3, 600)}))

    def make_w(self) -> Path:
        rng = np.random.default_rng(2)
        return self.frame("w", pd.DataFrame({"mass": rng.normal(80, 12, 600), "tau21": rng.beta(2, 5, 600)}))

    def make_set(self) -> Path:
        out = self.folder / "set.ds"
        self.call(f"dataset --class qcd={self['qcd']} --class w={self['w']} --observable mass --observable tau21 "
                  f"-o {out}")  # fmt: skip
        return out

    def make_model(self) -> Path:
        self.call(f"train {self['set']} {FEW} --bootstrap 0 -m {self.folder / 'm.model'}")
        return self.folder / "m.model"

    def make_events(self, seed: int = 1) -> Path:
        rng, n = np.random.default_rng(seed), 1200
        table = pd.DataFrame({
            "m_JJ": 3000 * (1 - rng.random(n) * 0.6) ** -0.25, "m_J1": rng.gamma(4, 40, n),
            "delta_m_J": rng.gamma(3, 60, n), "tau_2_over_tau_1_J1": rng.beta(5, 2, n),
            "tau_2_over_tau_1_J2": rng.beta(5, 2, n),
        })  # fmt: skip
        return self.frame(f"events{seed}", table)

    def make_table(self) -> Path:
        return self.make_events(2)

    def make_settings(self) -> Path:
        path = self.folder / "z.cmnd"
        path.write_text("WeakSingleBoson:ffbar2gmZ = on\nPartonLevel:all = off\nHadronLevel:all = off\n")
        return path

    def make_higgs(self) -> Path:
        from bumpfit.higgsml.dataset import packaged

        table = pd.read_parquet(packaged()).iloc[:4000]
        table["weights"] *= np.float32(2000.0 / table["weights"].sum())
        return self.frame("higgs", table)

    def make_grid(self) -> Path:
        return self.json("grid", {
            f"({t}, {j})": {"sig": [5.0 * t, 20.0, 40.0 * j], "bg": [900.0 * t, 100.0 * j, 20.0]}
            for t in (0.98, 1.0, 1.02) for j in (0.97, 1.0, 1.03)
        })  # fmt: skip

    def make_result(self) -> Path:
        return self.json("result", {"p16": [0.8, 0.9, 1.1], "p84": [1.2, 1.3, 1.4]})

    def call(self, words: str) -> None:
        with pytest.raises(SystemExit) as done:
            main(words.split())
        assert not done.value.code


def tree(folder: Path) -> dict[str, bytes]:
    """Files below a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def numbers(contents: dict[str, bytes]) -> dict[str, Any]:
    """Contents without what may differ from run to run: seconds, and the log."""

    def plain(name: str, content: bytes) -> Any:
        if name.endswith(".root"):  # which holds its date and a number of its own
            return None
        if not name.endswith(".json"):
            return content
        return json.loads(content, object_hook=lambda d: {k: v for k, v in d.items() if k not in VARYING})

    return {name: plain(name, content) for name, content in contents.items() if not name.endswith(UNEQUAL)}


VARYING = {"runtime_s", "seconds"}
UNEQUAL = ("log.jsonl", "report.html", "report.md")


class Commands:
    """A case in a folder of its own."""

    def __init__(self, case: Case, bumpfit: Run, inputs: Inputs, folder: Path) -> None:
        self.outputs, self._bumpfit, self.folder = case.outputs, bumpfit, folder
        self.inputs = needed = {word: inputs[word] for word in INPUT.findall(case.words)}
        self._words = [word.format(**needed) for word in case.words.split()]

    def replace(self, old: str, new: str) -> None:
        """Another file in the words of the command."""
        self._words = [word.replace(old, new) for word in self._words]

    def line(self, outputs: dict[str, str]) -> list[str]:
        """The words after `bumpfit`."""
        line = [outputs.get(word, word) for word in self._words]
        named = [part for option, file in outputs.items() if option[0] == "-" for part in (option, file)]
        return [*line, *named, "--quiet"]

    def __call__(self, outputs: dict[str, str]) -> Done:
        return self._bumpfit(*self.line(outputs))

    def clear(self) -> None:
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        os.chdir(self.folder)


INPUT = re.compile(r"{(\w+)}")
Make = Callable[[Case], Commands]
