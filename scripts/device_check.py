"""Check on a device all that depends on it, and measure it: every stage, every way of reading a pipeline, speed.

    python scripts/device_check.py [--device cuda] [--quick] [--minutes 8] [--only NAME ...] [--json FILE] [--work DIR]

Every check stands alone: one that fails is reported and the others run. Data are generated scenes, so nothing has to
be downloaded. Checks that have not begun when the minutes are over are reported as "left out".

The JSON holds `device` (facts), `checks` (name, state, seconds, details) and `rows`, the throughput in the form of the
benchmarks. Exit code 1 if a check failed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_pipeline import pipeline as benchmark_pipeline
from bench_pipeline import upernet
from device_clock import facts, measured, peak_memory, seconds_of
from torch.nn import functional as F

from gss.config.io import load_config
from gss.config.weak_labels import FORMS
from gss.core.files import write_json
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.training.engine.log import read_metrics
from gss.training.run import train
from gss.training.stages import STAGES
from gss.weak.make.make import make_weak_labels

# Shares of pixels whose label may differ between two devices, and between float32 and bfloat16.
DEVICE_DISAGREEMENT = 1e-3
BF16_DISAGREEMENT = 2e-2


class NotApplicableError(Exception):
    """The check has no meaning on this device; its text says why."""


@dataclass
class Bench:
    """What the checks share.

    Args:
        device: where to compute.
        quick: small images and few steps.
        folder: for data and runs.
        rows: throughput, in the form of the benchmarks.
    """

    device: torch.device
    quick: bool
    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the scenes."""
        return (48, 64) if self.quick else (192, 256)

    @property
    def steps(self) -> int:
        """Steps of a training."""
        return 3 if self.quick else 30

    def spec(self, unknown: bool = False) -> Path:
        """Write a spec of generated scenes."""
        path = self.folder / ("unknown.yaml" if unknown else "scenes.yaml")
        length = "{train: 12, val: 4, test: 2}" if self.quick else "{train: 48, val: 8, test: 4}"
        path.write_text(
            f"name: check\ngenerator: scenes\ndomain: clear\nlength: {length}\nimage_size: {list(self.size)}\n"
            + ("unknown: true\n" if unknown else "")
        )
        return path

    def weak_data(self, form: str) -> Path:
        """Make weak labels of a form from the scenes; returns the folder."""
        out = self.folder / f"weak_{form}"
        if not out.exists():
            make_weak_labels(load_spec(str(self.spec())), "train", form, FORMS[form](), out, seed=0)
        return out

    def run_folder(self, name: str) -> Path:
        """Folder of a run."""
        return self.folder / "runs" / name

    def pipeline(self, device: torch.device | None = None) -> GSSPipeline:
        """Load the trained pipeline that has most components."""
        for name in ("residual", "density", "prior"):
            folder = self.run_folder(f"{name}_no") / "pipeline"
            if folder.exists():
                return load_pipeline(folder, device=device or self.device)
        raise NotApplicableError("no stage has trained a pipeline: run the checks of training too")


# ------------------------------------------------------------------------------------------------- training


def settings(bench: Bench, stage: str) -> list[str]:
    """Overrides with which a stage trains on generated scenes."""
    height, width = bench.size
    runs = bench.run_folder
    common = [
        f"data.spec={bench.spec()}",
        f"data.crop=[{height},{width}]",
        f"train.steps={bench.steps}",
        "train.batch_size=4",
        "train.log_every=1",
        "train.picture_every=0",
        "optim.warmup_steps=2",
    ]
    small = ["model.hidden_dim=32", "model.classifier_rank=16", "model.pretrained=false"] if bench.quick else []
    pipeline = f"pipeline={runs('prior_no') / 'pipeline'}"
    of_stage: dict[str, list[str]] = {
        "posterior": ["vq.hidden_dim=32", "vq.codebook_size=64", "loss.repaint_steps=20", "loss.cells=512"],
        "prior": [f"posterior={runs('posterior_no')}", *small],
        "twin": [f"posterior={runs('posterior_no')}", *small],
        "density": [pipeline, "posthoc.bank_size=200", "posthoc.correct_only=false", "model.num_components=2"],
        "hybrid": [pipeline, "mode=hybrid", "model.embed_dim=16", "model.unit_input=false"],
        "residual": [
            f"pipeline={runs('density_no') / 'pipeline'}",
            f"outliers.objects={bench.spec(unknown=True)}",
            "outliers.min_pixels=4",
            "loss.contrast=0",
            "val_images=2",
        ],
        "weak-agmm": [
            f"data.spec={bench.weak_data('points') if stage == 'weak-agmm' else ''}",
            "agmm.tags=labels",
            "weak.allow_missing=true",
            *(entry for entry in small if "classifier" not in entry),
        ],
        "weak-tags": [
            f"data.spec={bench.weak_data('tags') if stage == 'weak-tags' else ''}",
            "model.allow_missing=true",
            *(["model.pretrained=false"] if bench.quick else []),
        ],
    }
    return [*common, *of_stage[stage]]


def check_training(stage: str, precision: str) -> Callable[[Bench], dict[str, Any]]:
    """Return a check that trains a stage for some steps and loads what it wrote."""

    def check(bench: Bench) -> dict[str, Any]:
        name = "density" if stage == "hybrid" else stage
        overrides = settings(bench, stage)
        if stage != "density":  # post-hoc: nothing is trained by gradients
            overrides.append(f"train.precision={precision}")
        out = bench.run_folder(f"{stage}_{precision}")
        cfg = load_config(STAGES[name].config_class(), [], overrides)
        start = time.perf_counter()
        with peak_memory(bench.device) as peak:
            metrics = train(name, cfg, out)
        seconds = time.perf_counter() - start
        if not (out / STAGES[name].product).exists():
            raise RuntimeError(f"{out / STAGES[name].product} was not written")
        found: dict[str, Any] = {"seconds": seconds, "peak_mb": peak["mb"]}
        losses = [line["loss"] for line in read_metrics(out) if "loss" in line] if stage != "density" else []
        if losses:
            if not np.isfinite(losses).all():
                raise RuntimeError(f"loss is not finite: {losses}")
            found |= {"first_loss": losses[0], "last_loss": losses[-1]}
        found["metrics"] = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
        return found

    return check


def check_resume(bench: Bench) -> dict[str, Any]:
    """Train half of a run, resume it, and compare its losses with those of a run in one go."""
    half = max(2, bench.steps // 2)
    losses = {}
    for name, parts in (("straight", [2 * half]), ("resumed", [half, 2 * half])):
        out = bench.run_folder(f"resume_{name}")
        for part, _ in enumerate(parts):
            more = [f"train.steps={2 * half}", "optim.schedule=constant", f"train.checkpoint_every={half}"]
            cfg = load_config(STAGES["prior"].config_class(), [], [*settings(bench, "prior"), *more])
            if part < len(parts) - 1:
                cfg.train.steps = parts[part]
            train("prior", cfg, out, resume=part > 0)
        losses[name] = np.array([line["loss"] for line in read_metrics(out) if "loss" in line])
    difference = float(np.abs(losses["straight"] - losses["resumed"]).max() / np.abs(losses["straight"]).max())
    if difference > 1e-3:
        raise RuntimeError(f"losses of a resumed run differ by {difference:.2g} of the largest")
    return {"relative_difference": difference}


# ------------------------------------------------------------------------------------------------- inference


def images(bench: Bench, count: int) -> list[np.ndarray]:
    """Read validation scenes, uint8 `[H, W, 3]`."""
    split = open_split(load_spec(str(bench.spec())), "val")
    return [np.asarray(split.read(index % len(split))[0]) for index in range(count)]


def check_devices_agree(bench: Bench) -> dict[str, Any]:
    """Compare every decode mode and score with those of the CPU."""
    if bench.device.type == "cpu":
        raise NotApplicableError("the device is the CPU itself")
    ours, reference = bench.pipeline(), bench.pipeline(torch.device("cpu"))
    pictures = images(bench, 4)
    options: dict[str, Any] = {"modes": reference.decode_modes, "scores": reference.score_names}
    first = ours.predict_probabilities(pictures, **options)
    second = reference.predict_probabilities(pictures, **options)
    found: dict[str, Any] = {}
    for mode in options["modes"]:
        pairs = [(a.cpu(), b) for a, b in zip(first[mode], second[mode], strict=True)]
        differing = statistics.fmean(float((a.argmax(0) != b.argmax(0)).float().mean()) for a, b in pairs)
        largest = max(float((a - b).abs().max()) for a, b in pairs)
        found[mode] = {"labels_differ": differing, "largest_difference": largest}
        if differing > DEVICE_DISAGREEMENT:
            raise RuntimeError(f"{mode}: {differing:.3%} of the labels differ from those of the CPU")
    for name in options["scores"]:
        pairs = [(a.cpu().flatten(), b.flatten()) for a, b in zip(first[name], second[name], strict=True)]
        correlation = min(float(torch.corrcoef(torch.stack(pair).double())[0, 1]) for pair in pairs)
        found[name] = {"least_correlation": correlation}
        if correlation < 0.99:
            raise RuntimeError(f"score {name}: correlation {correlation:.4f} with that of the CPU")
    return found


def check_bf16(bench: Bench) -> dict[str, Any]:
    """Compare the labels of a prior in bfloat16 with those in float32."""
    full = bench.pipeline()
    half = bench.pipeline().to(torch.bfloat16)
    pictures, found = images(bench, 4), {}
    for mode in full.decode_modes:
        first, second = ([np.asarray(mask) for mask in pipe(pictures, decode=mode).masks] for pipe in (full, half))
        found[mode] = statistics.fmean(float(np.mean(a != b)) for a, b in zip(first, second, strict=True))
        if found[mode] > BF16_DISAGREEMENT:
            raise RuntimeError(f"{mode}: {found[mode]:.3%} of the labels differ between bfloat16 and float32")
    return {"labels_differ": found}


@torch.no_grad()
def check_no_sync(bench: Bench) -> dict[str, Any]:
    """Run network and decoding with every host synchronisation turned into an error."""
    if bench.device.type != "cuda":
        raise NotApplicableError("only CUDA reports synchronisations; on the CPU a test counts them")
    pipe = bench.pipeline()
    batch = torch.rand(2, 3, *bench.size, device=bench.device)
    pipe.score_inputs(batch)  # the first call may set up kernels
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        output = pipe.prior(batch)
        assert pipe.likelihood is not None
        pipe.likelihood.marginal(output.token_logits.softmax(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {}


@torch.no_grad()
def check_compile(bench: Bench) -> dict[str, Any]:
    """Compile the network without graph breaks and compare its logits."""
    prior = benchmark_pipeline().prior.to(bench.device)
    batch = torch.rand(1 if bench.quick else 8, 3, *((64, 96) if bench.quick else (352, 480)), device=bench.device)
    backend = "inductor" if bench.device.type == "cuda" else "eager"  # inductor needs a compiler on the machine
    compiled = torch.compile(prior, fullgraph=True, backend=backend)
    plain, fast = prior(batch).token_logits, compiled(batch).token_logits
    error = float((plain - fast).abs().max() / plain.abs().max())
    if error > 1e-2:
        raise RuntimeError(f"compiled logits differ by {error:.2g} of the largest")
    return {
        "relative_error": error,
        "plain_s": seconds_of(lambda: prior(batch), bench.device, quick=bench.quick),
        "compiled_s": seconds_of(lambda: compiled(batch), bench.device, quick=bench.quick),
    }


def check_throughput(bench: Bench) -> dict[str, Any]:
    """Measure decode modes against the twin and UPerNet; fills the rows."""
    torch.manual_seed(0)
    ours, peer = benchmark_pipeline().to(bench.device), upernet().to(bench.device)
    shapes = [(2, 64, 96)] if bench.quick else [(1, 360, 480), (8, 360, 480), (1, 1024, 2048)]
    for count, height, width in shapes:
        pictures = list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3)).astype(np.uint8))

        def segment(mode: str, pictures: list[np.ndarray] = pictures) -> Any:
            options: dict[str, Any] = {"window": "whole", "return_tokens": False, "batch_size": len(pictures)}
            return ours(pictures, decode=mode, **options).masks

        @torch.no_grad()
        def segment_peer(pictures: list[np.ndarray] = pictures) -> np.ndarray:
            batch = torch.from_numpy(np.stack(pictures)).to(bench.device).movedim(-1, 1).float() / 127.5 - 1
            height, width = batch.shape[-2:]
            batch = F.pad(batch, (0, -width % 32, 0, -height % 32), mode="replicate")
            return peer(batch).logits[..., :height, :width].argmax(1).cpu().numpy()

        base = f"{count} x {height}x{width}"
        for precision in ("float32", "bfloat16"):
            with torch.autocast(bench.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                twin = measured(lambda: segment("aux"), bench.device, quick=bench.quick)
                rival = measured(segment_peer, bench.device, quick=bench.quick)
                for mode in ("marginal", "hard"):
                    mine = measured(partial(segment, mode), bench.device, quick=bench.quick)
                    for name, other in (("twin", twin), ("UPerNet", rival)):
                        bench.rows.append(
                            {
                                "name": f"{mode}, {base}, {precision}",
                                "peer": name,
                                "ours_s": mine[0],
                                "peer_s": other[0],
                                "ratio": other[0] / mine[0],
                                "ours_peak_mb": mine[1],
                                "peer_peak_mb": other[1],
                                "max_error": None,
                            }
                        )
    return {"rows": len(bench.rows)}


# ------------------------------------------------------------------------------------------------- the run

_TRAINED = ("posterior", "prior", "twin", "density", "hybrid", "residual", "weak-agmm", "weak-tags")
CHECKS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    **{f"train {stage}": check_training(stage, "no") for stage in _TRAINED},
    "throughput": check_throughput,
    "devices agree": check_devices_agree,
    "bfloat16 labels": check_bf16,
    "no host synchronisation": check_no_sync,
    "compile": check_compile,
    "resume": check_resume,
    **{f"train {stage} bf16": check_training(stage, "bf16") for stage in _TRAINED if stage != "density"},
}


def run_check(name: str, bench: Bench) -> dict[str, Any]:
    """Run one check; a failure becomes part of the record."""
    start = time.perf_counter()
    try:
        details, state = CHECKS[name](bench), "ok"
    except NotApplicableError as reason:
        details, state = {"reason": str(reason)}, "not applicable"
    except Exception as error:  # whatever it is, the other checks run
        details, state = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}, "failed"
    return {"name": name, "state": state, "seconds": time.perf_counter() - start, "details": details}


def main() -> int:
    """Run the checks and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small images and few steps")
    parser.add_argument("--minutes", type=float, default=8.0, help="no check begins later (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="checks whose names hold one of these")
    parser.add_argument("--json", metavar="FILE", help="write the results here")
    parser.add_argument("--work", metavar="DIR", help="keep data and runs here instead of a temporary folder")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"
    names = [name for name in CHECKS if not args.only or any(part in name for part in args.only)]
    if not names:
        parser.error(f"--only {' '.join(args.only)} is in no name; checks: {', '.join(CHECKS)}")
    start = time.perf_counter()
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(device, args.quick, Path(args.work or temporary))
        bench.folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            if time.perf_counter() - start > 60 * args.minutes:
                records.append({"name": name, "state": "left out", "seconds": 0.0, "details": {}})
            else:
                records.append(run_check(name, bench))
            shown = {key: value for key, value in records[-1]["details"].items() if key != "traceback"}
            print(f"{records[-1]['state']:>14}  {records[-1]['seconds']:7.1f} s  {name}  {json.dumps(shown)[:300]}")
        for row in bench.rows:
            print(f"{row['name']:<40} {row['ours_s']:.4f} s   {row['peer']} {row['peer_s']:.4f} s   {row['ratio']:.2f}")
        if args.json:
            write_json(args.json, {"device": facts(device), "checks": records, "rows": bench.rows})
    return int(any(record["state"] == "failed" for record in records))


if __name__ == "__main__":
    sys.exit(main())
