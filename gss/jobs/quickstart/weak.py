"""The quickstart from weak labels: training masks are weakened, then `gss weak run` does the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gss.config.weak_labels import FORMS
from gss.core import distributed
from gss.data.specs.load import load_spec
from gss.data.specs.spec import FOLDER_SPEC
from gss.jobs.stages import Stage, run_stages
from gss.jobs.weak_run.inputs import RunInputs
from gss.jobs.weak_run.run import run_weak
from gss.weak.make.make import make_weak_labels


def quickstart_weak(
    out: Path,
    *,
    form: str,
    data: str = "scenes",
    root: str | None = None,
    seed: int = 0,
    redo: str = "",
    overwrite: bool = False,
) -> None:
    """Write weak labels to `out/weak_FORM/data`, and run `gss weak run` in `out/weak_FORM/run`.

    Args:
        out: output folder.
        form: form of the weak labels.
        data: data set with full masks.
        root: folder of the data set.
        seed: seed of labels and training.
        redo: name of a stage of `gss weak run` to run again although it is finished.
        overwrite: do everything again.

    Raises:
        InputError: labels made under other settings, and what `gss weak run` refuses.
    """
    out = out / f"weak_{form}"
    labels = out / "data"

    def weaken(fresh: bool) -> Mapping[str, Any]:
        spec = load_spec(data, root)
        report = make_weak_labels(spec, "train", form, FORMS[form](), labels, seed=seed, overwrite=True)
        if distributed.is_main():
            print(report.table().text())
        return {}

    distributed.run_on_main(lambda: labels.mkdir(parents=True, exist_ok=True))
    settings = {"data": data, "root": root, "form": form, "seed": seed}
    stage = Stage("weaken", settings, [labels / FOLDER_SPEC], weaken)
    run_stages([stage], labels, redo=["weaken"] if overwrite else [])
    run_weak(RunInputs(data=str(labels)), out / "run", settings=[f"train.seed={seed}"], redo=redo, overwrite=overwrite)
