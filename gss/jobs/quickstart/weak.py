"""The quickstart from weak labels: training masks are weakened, then `gss weak run` does the rest."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gss.core import distributed
from gss.data.specs.spec import FOLDER_SPEC
from gss.jobs.stages import Stage, run_stages
from gss.jobs.weak_run import run
from gss.weak.make import make


def quickstart_weak(args: argparse.Namespace) -> None:
    """Handle `gss quickstart --labels FORM`: labels in `OUT/weak_FORM/data`, the job in `OUT/weak_FORM/run`.

    Args:
        args: `labels` (form of weak labels), `data` and `root` (full masks), `seed`, `overwrite` and `out`.

    Raises:
        ValueError: labels made under other settings, and what `gss weak run` refuses.
    """
    out = Path(args.out) / f"weak_{args.labels}"
    data = out / "data"

    def weaken(fresh: bool) -> Mapping[str, Any]:
        make.main(
            argparse.Namespace(
                spec=args.data,
                root=args.root,
                form=args.labels,
                seed=args.seed,
                settings=[],
                split="train",
                share=None,
                limit=None,
                out=str(data),
                overwrite=True,
            )
        )
        return {}

    distributed.run_on_main(lambda: data.mkdir(parents=True, exist_ok=True))
    settings = {"data": args.data, "root": args.root, "form": args.labels, "seed": args.seed}
    stage = Stage("weaken", settings, [data / FOLDER_SPEC], weaken)
    run_stages([stage], data, redo="weaken" if args.overwrite else "")
    run.main(
        argparse.Namespace(
            settings=[str(data), f"train.seed={args.seed}"],
            **dict.fromkeys(("images", "labels", "classes", "root", "split", "val", "truth", "size", "redo")),
            form="auto",
            stages=[],
            overwrite=args.overwrite,
            out=str(out / "run"),
        )
    )
