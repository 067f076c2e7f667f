"""The HTML report of the quickstart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gss.config.prior import PriorConfig
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.evaluation.cross_domain.page import add_matrix
from gss.evaluation.ood.result import OODEvaluation
from gss.evaluation.reconstruction import ReconstructionResult
from gss.evaluation.segmentation.page import add_evaluation
from gss.evaluation.segmentation.result import EvaluationResult
from gss.jobs.quickstart.unknown import add_heat_maps, add_unknown
from gss.pipeline.pipeline import GSSPipeline
from gss.posterior.bundle import Posterior
from gss.posterior.palette import min_distance, swatch
from gss.report import charts
from gss.report.page import Report
from gss.report.pictures import colorize, heatmap
from gss.training.engine.log import read_metrics


def _scoring(pipelines: dict[str, GSSPipeline]) -> GSSPipeline:
    """The one with the most scores: each of these has those before it."""
    return next(pipelines[name] for name in ("residual", "density", "prior") if name in pipelines)


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
    report.details("Seconds of training", summary["seconds"])
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
    recon = ReconstructionResult.from_json(json.loads((out / "posterior" / "recon.json").read_text())).ways
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
