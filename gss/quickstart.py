"""The main job: both stages, twin, density and residual head, evaluation, predictions and one report."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from gss import charts
from gss.config import PriorConfig
from gss.cross_report import add_matrix
from gss.data.datasets import LabelledImages, open_split
from gss.data.ood import open_ood
from gss.data.specs import load_spec
from gss.evaluation import EvaluationResult, evaluate
from gss.evaluation_report import add_evaluation
from gss.files import atomic_path, prepare_output, write_json
from gss.loading import load_pipeline
from gss.ood.results import OODEvaluation, format_evaluation
from gss.palette import min_distance, swatch
from gss.pipeline import GSSPipeline
from gss.posterior import Posterior
from gss.predict import predict
from gss.quickstart_ood import add_heat_maps, add_unknown, check_kinds, equality, measure_unknown
from gss.quickstart_stages import STAGES, parse_stages, stage_configs, train_once
from gss.report import Report
from gss.sampling import evenly_spaced
from gss.training.log import read_metrics
from gss.training.residual import same_masks
from gss.visualize import colorize, heatmap

# Data set of the second domain that goes with a first one.
_OTHER_DOMAIN = {"scenes": "scenes_fog"}
# Data set with objects of no known class that goes with a first one.
_UNKNOWN = {"scenes": "scenes_unknown"}
# Objects to paste for the residual head, and the data set that is measured then: none of its kinds was pasted.
_OUTLIERS = {"scenes": ("scenes_outliers", "scenes_strangers")}
_NEW_IMAGES = 6


def main(args: argparse.Namespace) -> None:
    """`gss quickstart`: trains what is not trained yet in `--out`, measures, predicts and writes `report.html`."""
    if args.labels:
        if parse_stages(args.stages) != STAGES[:4]:  # not the default
            raise ValueError("--stages is about training from full masks; with --labels leave it out")
        from gss.quickstart_weak import quickstart_weak  # the usual quickstart needs nothing of it

        quickstart_weak(args)
        return
    out = Path(args.out)
    stages = parse_stages(args.stages)
    objects, unknown_data = "", _UNKNOWN.get(args.data)
    if "residual" in stages:
        if args.data not in _OUTLIERS:
            raise ValueError(
                f"the stage residual has no objects to paste into {args.data}: leave it out of --stages, and use "
                "'gss train residual' with outliers.objects=FOLDER"
            )
        objects, unknown_data = _OUTLIERS[args.data]
        check_kinds(objects, unknown_data)
    common = [f"data.spec={args.data}", f"train.seed={args.seed}"] + ([f"data.root={args.root}"] if args.root else [])
    configs = stage_configs(stages, common, out, objects=objects)
    prior_cfg = cast(PriorConfig, configs["prior"])
    if args.overwrite or not (out / "posterior").exists():
        prepare_output(out, overwrite=args.overwrite)
    times: dict[str, float] = {}
    for stage in stages:
        # A density belongs to the features of one prior, a residual head to both.
        below = {"density": ("prior",), "residual": ("prior", "density")}.get(stage, ())
        again = args.overwrite or any(times.get(part, 0) > 0 for part in below)
        times[stage] = train_once(stage, configs[stage], out / stage, again=again)

    pipelines = {name: load_pipeline(out / name / "pipeline") for name in stages if name != "posterior"}
    networks = [name for name in ("prior", "twin") if name in stages]
    domains = [args.data, *([_OTHER_DOMAIN[args.data]] if args.data in _OTHER_DOMAIN else [])]
    results: dict[tuple[str, str], EvaluationResult] = {}
    for domain in domains:
        dataset = open_split(load_spec(domain, args.root), prior_cfg.data.val_split)
        for name in networks:
            pipeline = pipelines[name]
            print(f"measuring {name} on {domain}")
            result = evaluate(
                pipeline, dataset, progress=True, pictures=3 if name == "prior" else 0, throughput=name == "prior"
            )
            split = f"{domain} {prior_cfg.data.val_split}"
            results[name, domain] = replace(result, pipeline=str(out / name / "pipeline"), data=split)
    unknown: OODEvaluation | None = None
    unchanged: bool | None = None
    if unknown_data:
        print(f"measuring scores on {unknown_data}")
        strange = open_ood(unknown_data, prior_cfg.data.val_split, root=args.root)
        unknown = measure_unknown(_scoring(pipelines), pipelines.get("twin"), strange)
        if "residual" in pipelines:
            unchanged = same_masks(pipelines["prior"], pipelines["residual"], strange)
    _predict_new(pipelines["prior"], args, prior_cfg, out)
    summary = {
        "seconds": times,
        "recon": json.loads((out / "posterior" / "recon.json").read_text()),
        "results": {f"{name} on {domain}": result.to_dict() for (name, domain), result in results.items()},
        "matrix": {
            f"{'generative' if name == 'prior' else name}, {mode}": {
                domain: results[name, domain].modes[mode]["miou"] for domain in domains
            }
            for name in networks
            for mode in results[name, domains[0]].modes
        },
        "unknown": unknown.to_dict() if unknown else None,
        "masks_unchanged": unchanged,
    }
    write_json(out / "results.json", summary)
    write_report(out, pipelines, domains, results, summary, prior_cfg, unknown)
    print(_format(domains, results))
    if unknown:
        print(f"\n{format_evaluation(unknown)}")
    if unchanged is not None:
        print(equality(unchanged))
    print(f"report: {out / 'report.html'}")


def _scoring(pipelines: dict[str, GSSPipeline]) -> GSSPipeline:
    """The one with the most scores: each of these has those before it."""
    return next(pipelines[name] for name in ("residual", "density", "prior") if name in pipelines)


def _predict_new(pipeline: GSSPipeline, args: argparse.Namespace, cfg: PriorConfig, out: Path) -> None:
    """Writes images that no stage has seen as files, and segments these files."""
    spec = load_spec(args.data, args.root)
    split = "test" if "test" in spec.splits else cfg.data.val_split
    dataset: LabelledImages = open_split(spec, split)
    chosen = evenly_spaced(len(dataset), _NEW_IMAGES)
    with atomic_path(out / "new_images") as folder:
        folder.mkdir()
        for index in chosen:
            dataset.read(index)[0].save(folder / f"{split}_{index:04d}.png")
    with atomic_path(out / "predictions") as folder:
        folder.mkdir()
        paths = sorted((out / "new_images").iterdir())
        predict(pipeline, paths, folder, source=str(out / "prior" / "pipeline"), decode=pipeline.default_decode)


def write_report(
    out: Path,
    pipelines: dict[str, GSSPipeline],
    domains: list[str],
    results: dict[tuple[str, str], EvaluationResult],
    summary: dict[str, Any],
    cfg: PriorConfig,
    unknown: OODEvaluation | None,
) -> None:
    """Writes `out/report.html`: key figures, pictures, tables, unknown objects, curves, palette, codes in use."""
    pipeline = pipelines["prior"]
    home = results["prior", domains[0]]
    twin = results["twin", domains[0]].modes["aux"] if "twin" in pipelines else None
    ceiling = summary["recon"]["exact"]
    best = home.modes[home.default_mode]
    report = Report("Generative segmentation", subtitle=f"{home.data} · seed {cfg.train.seed} · {home.device}")
    report.section(
        "In short",
        "A mask is painted as an image, an autoencoder learns to spell such images with a small "
        "vocabulary of codes, and a network reads the codes off a photo.",
    )
    report.tiles(
        [
            ("mIoU", f"{best['miou']:.3f}", f"{home.default_mode} decode, {home.images} unseen images"),
            ("Ceiling", f"{ceiling['miou']:.3f}", "mIoU of masks rebuilt from their codes"),
            *([("Twin", f"{twin['miou']:.3f}", "same network, trained as a plain classifier")] if twin else []),
            ("Boundary F", f"{best['boundary_f']:.3f}", f"twin {twin['boundary_f']:.3f}" if twin else ""),
            ("Codes in use", f"{ceiling['perplexity']:.0f}", f"perplexity of {pipeline.vqvae.codebook_size} codes"),
        ]
    )
    _add_pictures(report, out, pipeline)
    report.section("Train here, measure there")
    rows: list[list[Any]] = []
    for name in ("prior", "twin") if twin else ("prior",):
        for mode in results[name, domains[0]].modes:
            figures = [results[name, domain].modes[mode] for domain in domains]
            rows.append(
                [f"{'generative' if name == 'prior' else 'twin'}, {mode}"]
                + [value for figure in figures for value in (figure["miou"], figure["boundary_f"], figure["ece"])]
            )
    if len(domains) > 1:
        add_matrix(report, summary["matrix"], domains[0])
    header = [f"{score} {domain}" for domain in domains for score in ("mIoU", "boundary F", "ECE")]
    better: dict[str, Any] = {text: "min" if text.startswith("ECE") else "max" for text in header}
    report.table(["model, decode", *header], rows, best=better, caption="Trained on the first data set only.")
    if unknown:
        add_unknown(report, out, tuple(pipelines), unknown, unchanged=summary["masks_unchanged"])
    else:
        images = open_split(load_spec(domains[0], cfg.data.root), cfg.data.val_split)
        add_heat_maps(report, out, tuple(pipelines), _scoring(pipelines), images)
    _add_training(report, out)
    _add_posterior(report, out, pipeline, home)
    for domain in domains:
        add_evaluation(report, results["prior", domain], title=domain)
    report.section("Raw numbers")
    report.details("Seconds of training (0: was there already)", summary["seconds"])
    report.details("Reconstruction", summary["recon"])
    report.save(out / "report.html")


def _add_pictures(report: Report, out: Path, pipeline: GSSPipeline) -> None:
    names, colors = list(pipeline.id2label.values()), pipeline.colors
    report.section("New images", "Segmented from files that no stage of training has seen.")
    report.legend(names, colors.tolist())
    rows = []
    for path in sorted((out / "new_images").iterdir()):
        image = Image.open(path).convert("RGB")
        output = pipeline(image)
        assert output.maskiges is not None
        prediction = colorize(np.asarray(output.masks[0]), colors)
        confidence = heatmap(np.asarray(output.confidence[0]), low=0.0, high=1.0)
        rows.append((path.name, [image, Image.fromarray(np.asarray(output.maskiges[0])), prediction, confidence]))
    report.picture_rows(["image", "maskige painted by the tokens", "prediction", "confidence"], rows)


def _add_training(report: Report, out: Path) -> None:
    report.section("Learning curves")
    plots = []
    for stage, terms in (("posterior", ("pixel", "colour", "commit")), ("prior", ("token", "pixel", "aux"))):
        lines = read_metrics(out / stage)
        series = {term: [(line["step"], line[term]) for line in lines if term in line] for term in terms}
        plots.append((stage, charts.line_chart(series, x_label="step", y_label="loss", log_y=True, smooth=0.6)))
    report.charts(plots)


def _add_posterior(report: Report, out: Path, pipeline: GSSPipeline, home: EvaluationResult) -> None:
    posterior = Posterior.from_pretrained(out / "posterior")
    palette = posterior.codec.palette.detach().round().byte().numpy()
    names = posterior.label_space.names
    recon = json.loads((out / "posterior" / "recon.json").read_text())
    report.section(
        "Palette and codes", f"The closest two colours are {min_distance(palette):.0f} apart (of 442 at most)."
    )
    report.pictures([(swatch(palette, names), "colours of the maskige")], columns=2)
    report.table(
        ["tokens from", "mIoU", "boundary F", "perplexity", "dead codes", "largest share"],
        [
            [way, r["miou"], r["boundary_f"], r["perplexity"], r["dead_codes"], r["dominant_code"]]
            for way, r in recon.items()
        ],
        caption="Masks of the validation split spelled in codes and painted again: the ceiling of stage 2.",
    )
    report.table(
        ["class", *(f"ceiling ({way})" for way in recon), f"reached ({home.default_mode})"],
        [
            [name, *(r["iou"][i] for r in recon.values()), home.modes[home.default_mode]["iou"][i]]
            for i, name in enumerate(names)
        ],
        colors=palette.tolist(),
        caption="IoU of each class.",
    )


def _format(domains: list[str], results: dict[tuple[str, str], EvaluationResult]) -> str:
    lines = [f"{'model':12} {'decode':9} " + " ".join(f"{domain + ' mIoU':>18} {'bound.F':>8}" for domain in domains)]
    for name in dict.fromkeys(name for name, _ in results):
        for mode in results[name, domains[0]].modes:
            figures = [results[name, domain].modes[mode] for domain in domains]
            values = " ".join(f"{100 * f['miou']:18.2f} {100 * f['boundary_f']:8.2f}" for f in figures)
            lines.append(f"{'generative' if name == 'prior' else name:12} {mode:9} {values}")
    return "\n".join(lines)
