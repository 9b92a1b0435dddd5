"""Long runs that may be stopped at any time, by anything, and go on where they were: the one store of finished pieces.

A run is a folder that one process at a time may use (`Run.lock`), the settings that its numbers follow from (their
fingerprint), finished pieces, and a log. Given again with the same settings, a command takes up the intact pieces and
makes only what is missing; a damaged piece is made again; other settings or inputs are refused. When the results are
written, `finish` removes the pieces.

    from bumpfit import runs

    settings = {"data": sha256("data.csv"), "config": config, "seed": 3}
    with runs.in_folder("out", settings, outputs=("scores.csv", "figures/"), result="result.json") as run:
        scores = run.piece("scores", lambda: {"score": train(...)})["score"]       # arrays by name, made once
        for name, arrays in run.map(fit_one, {f"toy-{i:06d}": task(i) for i in range(1000)}, workers=2):
            ...                                                                    # in the order of the tasks
        run.log.write("fits", number=1000)
        write_json(run.folder / "result.json", result)                             # the last file of all
        run.finish()

`beside("toys.parquet", ...)` is the same for one result file: what is finished is kept in `toys.parquet.parts/`.
`nowhere()` is a run that keeps nothing. Pieces are arrays by name unless another `Form` is given. What the settings
must hold: everything that a number depends on (hashes of inputs, configuration, seed; the version of bumpfit is added),
and nothing else (not the number of workers).
"""

from bumpfit.runs.folder import Run, beside, in_folder, nowhere
from bumpfit.runs.log import Log
from bumpfit.runs.pieces import ARRAYS, Arrays, Form, Pieces, fingerprint

__all__ = ["ARRAYS", "Arrays", "Form", "Log", "Pieces", "Run", "beside", "fingerprint", "in_folder", "nowhere"]
