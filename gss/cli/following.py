"""What comes after each command: one or two commands, with the paths of the one that has just run filled in."""

from __future__ import annotations

import json
import shlex
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gss.cli.endings import beside, command
from gss.cli.families import config_of_data

Following = Callable[[Namespace], list[str]]

_PHOTO = "PHOTO.jpg"


def following(prog: str, args: Namespace) -> str:
    """Return the lines `next: ...` and `then: ...` of a command that has done its work; empty where nothing follows.

    Args:
        prog: the command, such as "gss data map".
        args: its arguments.
    """
    find = FOLLOWING.get(prog.removeprefix("gss "))
    lines = [] if find is None else find(args)
    return "\n".join(f"{word} {line}" for word, line in zip(("next:", "then:"), lines, strict=False))


def _root(args: Namespace) -> list[str]:
    return ["--root", args.root] if getattr(args, "root", None) else []


def _settings(args: Namespace, spec: Any) -> list[str]:
    return [f"data.spec={spec}", *([f"data.root={args.root}"] if getattr(args, "root", None) else [])]


def _predict(pipeline: str | Path, *words: str) -> str:
    return command("gss", "predict", pipeline, _PHOTO, *words, "--out", "masks")


def _evaluate(args: Namespace) -> list[str]:
    report = [] if args.html else _again(args, "evaluate")
    return [*report, _predict(args.pipeline)]


def _again(args: Namespace, name: str) -> list[str]:
    """Return the same evaluation with a report."""
    words = [args.pipeline, "--data", args.data, *_root(args), "--split", args.split]
    return [command("gss", name, *words, "--html", "report.html")]


def _evaluate_ood(args: Namespace) -> list[str]:
    return [_predict(args.pipeline, "--outputs", "overlay,heat", "--scores", ",".join(args.scores or ["max_logit"]))]


def _evaluate_samples(args: Namespace) -> list[str]:
    return [command("gss", "sample", args.pipeline, _PHOTO, "--out", "drawn")]


def _of_several(args: Namespace) -> list[str]:
    return [_predict(str(args.pipelines[0]).rpartition("=")[2])]


def _recon(args: Namespace) -> list[str]:
    words = [*config_of_data(args.data, "prior"), *_settings(args, args.data), f"posterior={args.posterior[0]}"]
    return [command("gss", "train", "prior", *words, "--out", beside(Path(args.posterior[0]), "prior"))]


def _transfer(args: Namespace) -> list[str]:
    words = [*_settings(args, args.data), f"posterior={args.out}"]
    return [command("gss", "train", "prior", *words, "--out", beside(Path(args.out), "prior"))]


def _compare(args: Namespace) -> list[str]:
    """Train stage 2 on the variant with the highest ceiling."""
    try:
        rows = json.loads((Path(args.out) / "comparison.json").read_text(encoding="utf-8"))
        ceilings = {row["posterior"]: row.get("exact", row["encoder"])["miou"] or 0.0 for row in rows}
        best = max(ceilings, key=lambda name: ceilings[name])
    except (OSError, ValueError, KeyError, TypeError):  # nothing is lost but the advice
        best = Path(args.out) / Path(args.variants[0]).stem
    data = [word for word in args.configs if word.startswith("data.")]
    return [command("gss", "train", "prior", *data, f"posterior={best}", "--out", Path(args.out) / "prior")]


def _predicted(args: Namespace) -> list[str]:
    """Look at the first picture; with a file of ONNX, put it on a page."""
    out = Path(args.out)
    try:
        first = json.loads((out / "predictions.json").read_text(encoding="utf-8"))["images"][0]["files"]
        shown = f"open {shlex.quote(str(out / first.get('overlay', next(iter(first.values())))))}"
    except (OSError, ValueError, LookupError, TypeError, StopIteration):  # nothing is lost but the advice
        shown = f"open the pictures in {args.out}"
    if args.backend != "onnx":
        return [shown]
    file = args.onnx or Path(args.pipeline) / "onnx" / "model.onnx"
    return [shown, command("gss", "demo", args.pipeline, "--onnx", file, "--out", "page")]


def _sample(args: Namespace) -> list[str]:
    return [command("gss", "complete", args.pipeline, "MASK.png", "--images", args.images[0], "--out", "completed")]


def _complete(args: Namespace) -> list[str]:
    data = args.data or "SPEC"
    return [command("gss", "evaluate-samples", args.pipeline, "--data", data, *_root(args), "--parts", "completion")]


def _generate(args: Namespace) -> list[str]:
    return [command("gss", "evaluate-samples", args.pipeline, "--data", "SPEC", "--parts", "layouts")]


def _export(args: Namespace) -> list[str]:
    onnx = ["--onnx", args.onnx] if args.onnx else ["--size", f"{args.size[0]}x{args.size[1]}"]
    engine = ["--onnx", args.onnx] if args.onnx else []
    return [
        command("gss", "predict", args.pipeline, _PHOTO, "--backend", "onnx", *engine, "--out", "masks"),
        command("gss", "demo", args.pipeline, *onnx, "--out", "page"),
    ]


def _map(args: Namespace) -> list[str]:
    if not args.out:
        return [command("gss", "data", "map", args.source, args.target, "--out", "map.yaml")]
    pipeline = args.source if Path(args.source).is_dir() else "PIPELINE"
    return [command("gss", "cross-domain", "--pipelines", pipeline, "--data", args.target, "--map", args.out)]


def _mix(args: Namespace) -> list[str]:
    words = [*_settings(args, args.spec), f"outliers.objects={args.objects}", "pipeline=PIPELINE"]
    return [command("gss", "train", "residual", *words, "--out", "runs/residual")]


def _shifts(args: Namespace) -> list[str]:
    words = ["--data", args.spec, *_root(args), "--split", args.split, "--html", "shifts.html"]
    return [command("gss", "evaluate-shifts", "--pipelines", "PIPELINE", *words)]


def _weak_run(args: Namespace) -> list[str]:
    return [_predict(args.out)] if (Path(args.out) / "prior" / "pipeline").is_dir() else []


def _weak_make(args: Namespace) -> list[str]:
    return [command("gss", "weak", "run", args.out, "--out", beside(Path(args.out), "weak_run"))]


def _pseudo(args: Namespace) -> list[str]:
    """Look at pseudo-masks, then train on them."""
    report = ["gss", "weak", "report", args.out, "--split", args.split, "--html", beside(Path(args.out), "report.html")]
    train = ["gss", "train", "posterior", f"data.spec={args.out}", f"data.train_split={args.split}"]
    return [command(*report), command(*train, "--out", beside(Path(args.out), "posterior"))]


def _weak_report(args: Namespace) -> list[str]:
    train = ["gss", "train", "posterior", *_settings(args, args.spec), f"data.train_split={args.split}"]
    return [command(*train, "--out", "runs/posterior")]


def _collect(args: Namespace) -> list[str]:
    again = ["gss", "weak", "collect", args.pipeline, "--images", *args.images, "--exclude", "rejected.txt"]
    return [f"open {Path(args.out) / 'review.html'} in a browser", command(*again, "--out", args.out, "--overwrite")]


def _seeds(args: Namespace) -> list[str]:
    best = next((word for word in args.classifiers if "=" not in word), "FOLDER")
    return [command("gss", "weak", "produce", best, "--data", args.data, *_root(args), "--out", "runs/pseudo")]


FOLLOWING: Mapping[str, Following] = {
    "evaluate": _evaluate,
    "evaluate-ood": _evaluate_ood,
    "evaluate-samples": _evaluate_samples,
    "evaluate-shifts": _of_several,
    "cross-domain": _of_several,
    "recon": _recon,
    "transfer": _transfer,
    "compare": _compare,
    "predict": _predicted,
    "sample": _sample,
    "complete": _complete,
    "generate": _generate,
    "export": _export,
    "data map": _map,
    "data mix": _mix,
    "data shifts": _shifts,
    "weak run": _weak_run,
    "weak make": _weak_make,
    "weak import": _pseudo,
    "weak refine": _pseudo,
    "weak produce": _pseudo,
    "weak report": _weak_report,
    "weak collect": _collect,
    "weak seeds": _seeds,
}
"""Command to what follows it. The others end with it themselves, or with files that are opened by hand."""
