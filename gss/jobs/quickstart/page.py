"""The HTML report of the quickstart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gss.config.prior import PriorConfig
from gss.core.words import counted
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.evaluation.cross_domain.page import add_matrix
from gss.evaluation.reconstruction import ReconstructionResult, TokenMetrics
from gss.evaluation.segmentation.page import add_evaluation
from gss.evaluation.segmentation.result import EvaluationResult, ModeMetrics
from gss.jobs.quickstart.drawn import DrawnPictures, add_drawn
from gss.jobs.quickstart.result import QuickstartResult
from gss.jobs.quickstart.unknown import add_heat_maps, add_unknown
from gss.labels.colors import only_object
from gss.metrics.means import averaged_over
from gss.pipeline.pipeline import GSSPipeline
from gss.posterior.bundle import Posterior
from gss.posterior.palette import min_distance, swatch
from gss.report import charts
from gss.report.page import Report
from gss.report.pictures import colorize, heatmap
from gss.report.tables import Cell, Table
from gss.training.engine.log import read_metrics

QUICK_LEGEND = (
    "mIoU: overlap of predicted and true regions, mean over the classes. Boundary F: share of borders met within 3 "
    "pixels. Calibration error: how far confidence is from accuracy (0 is best)."
)


METRICS = ("mIoU", "boundary F", "calibration error")
_KEYS = ("miou", "boundary_f", "ece")
PICTURE_TITLES = ("image", "mask", "maskige painted by the tokens", "confidence")


def scoring_pipeline(pipelines: Mapping[str, GSSPipeline]) -> GSSPipeline:
    """Return the pipeline with the most out-of-distribution scores."""
    return next(pipelines[name] for name in ("residual", "density", "prior") if name in pipelines)


def model_name(network: str) -> str:
    """Return the name of a network in tables."""
    return "generative" if network == "prior" else network


def mode_table(
    domains: Sequence[str], results: Mapping[tuple[str, str], EvaluationResult], *, metrics: Sequence[str] = METRICS
) -> Table:
    """Return mIoU, boundary F and calibration error by network, decode mode and data set, best first.

    Args:
        domains: data sets.
        results: evaluations by network and data set.
        metrics: those of `METRICS` that get columns.
    """
    columns = [f"{metric} {domain}" for metric in metrics for domain in domains]
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(name for name, _ in results):
        for mode in results[name, domains[0]].modes:
            modes = [results[name, domain].modes[mode] for domain in domains]
            by_metric = dict(zip(METRICS, [[getattr(part, key) for part in modes] for key in _KEYS], strict=True))
            values = [value for metric in metrics for value in by_metric[metric]]
            rows.append([f"{model_name(name)}, {mode}", *values])
    best: dict[str, Any] = {text: "min" if text.startswith("calibration") else "max" for text in columns}
    measured = [over for result in results.values() for m in result.modes.values() if (over := averaged_over(m.iou))]
    notes = ["In percent, on images that training has not seen. " + QUICK_LEGEND]
    notes += [f"Means go over {', '.join(sorted(set(measured)))}; the others occur nowhere."] if measured else []
    formats = dict.fromkeys(columns, ".1%")
    title = "Trained on the first data set only" if len(domains) > 1 else "Of images that training has not seen"
    return Table(title, ["model, decode", *columns], rows, notes, formats=formats, best=best).ranked()


def answer_sentence(result: EvaluationResult, found: QuickstartResult, twin: ModeMetrics | None) -> str:
    """Return one sentence: how good the masks of unseen images are, and after how long a training."""
    best, minutes = result.modes[result.default_mode], max(round(sum(found.seconds.values()) / 60), 1)
    thing = only_object(result.class_names)
    reached = "" if thing is None else f"an IoU of {_digits(best.iou[thing])} for {result.class_names[thing]}, "
    text = (
        f"After {counted(minutes, 'minute')} of training the masks of {result.images} unseen images reach "
        f"{reached}a mIoU of {_digits(best.miou)}"
    )
    over = averaged_over(best.iou)
    text += f" over {over}" if over else ""
    text += f"; the same network trained as a plain classifier reaches {_digits(twin.miou)}" if twin else ""
    return f"{text}."


def write_report(
    out: Path,
    pipelines: Mapping[str, GSSPipeline],
    domains: Sequence[str],
    results: Mapping[tuple[str, str], EvaluationResult],
    result: QuickstartResult,
    cfg: PriorConfig,
    *,
    drawn: DrawnPictures | None = None,
) -> None:
    """Write `out/report.html`: key metrics, pictures, drawn masks, tables, unknown objects, curves, palette and codes.

    Args:
        out: folder of the job.
        pipelines: trained pipelines by stage.
        domains: data sets measured on; the first is in domain.
        results: evaluations by network and data set.
        result: everything measured.
        cfg: settings of the prior.
        drawn: pictures of drawn masks; None without a joint prior.
    """
    pipeline = pipelines["prior"]
    in_domain = results["prior", domains[0]]
    twin = results["twin", domains[0]].modes["aux"] if "twin" in pipelines else None
    report = Report(
        "Generative segmentation", subtitle=f"{in_domain.data} · seed {cfg.train.seed} · {in_domain.device}"
    )
    rows = _segmented(out, pipeline)
    caption, shown = rows[0]
    captions = (f"new image ({caption})", *PICTURE_TITLES[1:])
    report.answer(answer_sentence(in_domain, result, twin), pictures=list(zip(shown[:3], captions[:3], strict=True)))
    report.section(
        "In short",
        "A mask is painted as an image, an autoencoder encodes such images with a small number of codes, and a network "
        "predicts these codes from a photo.",
    )
    report.tiles(_key_metrics(in_domain, twin, result.recon.ceiling, pipeline.vqvae.codebook_size))
    report.section("New images", "Segmented from files that no stage of training has seen.")
    report.legend(list(pipeline.id2label.values()), pipeline.colors.tolist())
    report.picture_rows(PICTURE_TITLES, rows)
    if result.drawn is not None and drawn is not None:
        add_drawn(report, pipelines["joint"], result.drawn, drawn)
    report.section("All data sets" if len(domains) > 1 else "Decode modes")
    if len(domains) > 1:
        add_matrix(report, result.matrix, domains[0])
        with report.folded("Borders and confidence"):
            report.add_table(mode_table(domains, results, metrics=("boundary F", "calibration error")))
    else:
        report.add_table(mode_table(domains, results))
    if result.unknown:
        add_unknown(report, out, tuple(pipelines), result.unknown, unchanged=result.masks_unchanged)
    elif {"density", "residual"} & set(pipelines):
        images = open_split(load_spec(domains[0], cfg.data.root), cfg.data.val_split)
        add_heat_maps(report, out, tuple(pipelines), scoring_pipeline(pipelines), images)
    _add_training(report, out)
    _add_posterior(report, out, in_domain, result.recon)
    for domain in domains:
        add_evaluation(report, results["prior", domain], title=domain)
    report.section("Raw numbers")
    report.details("Seconds of training", result.seconds)
    report.details("Reconstruction", result.recon.to_json())
    report.save(out / "report.html")


def _key_metrics(
    result: EvaluationResult, twin: ModeMetrics | None, ceiling: TokenMetrics, num_codes: int
) -> list[tuple[str, str, str]]:
    best = result.modes[result.default_mode]
    facts = [f"{result.default_mode} decode", f"{result.images} unseen images", averaged_over(best.iou)]
    thing = only_object(result.class_names)
    tiles = [] if thing is None else [(f"IoU of {result.class_names[thing]}", _digits(best.iou[thing]), "the object")]
    tiles += [
        ("mIoU", _digits(best.miou), ", ".join(filter(None, facts))),
        ("Ceiling", _digits(ceiling.miou), "mIoU of masks decoded from their own codes"),
    ]
    if twin:
        tiles.append(("Twin", _digits(twin.miou), "same network, trained as a plain classifier"))
    tiles.append(("Boundary F", _digits(best.boundary_f), f"twin {_digits(twin.boundary_f)}" if twin else ""))
    tiles.append(("Codes in use", f"{ceiling.perplexity:.0f}", f"perplexity of {num_codes} codes"))
    return tiles


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _segmented(out: Path, pipeline: GSSPipeline) -> list[tuple[str, list[Image.Image]]]:
    """Return (file, pictures with the titles `PICTURE_TITLES`) of each new image."""
    colors, rows = pipeline.colors, []
    for path in sorted((out / "new_images").iterdir()):
        image = Image.open(path).convert("RGB")
        output = pipeline(image)
        assert output.maskiges is not None
        prediction = colorize(np.asarray(output.masks[0]), colors)
        confidence = heatmap(np.asarray(output.confidence[0]), low=0.0, high=1.0)
        rows.append((path.name, [image, prediction, Image.fromarray(np.asarray(output.maskiges[0])), confidence]))
    return rows


def _add_training(report: Report, out: Path) -> None:
    report.section("Learning curves")
    plots = []
    for stage, terms in (("posterior", ("pixel", "colour", "commit")), ("prior", ("token", "pixel", "aux"))):
        lines = read_metrics(out / stage)
        series = {term: [(line["step"], line[term]) for line in lines if term in line] for term in terms}
        plots.append((stage, charts.line_chart(series, x_label="step", y_label="loss", log_y=True, smooth=0.6)))
    report.charts(plots)


def _add_posterior(report: Report, out: Path, result: EvaluationResult, recon: ReconstructionResult) -> None:
    posterior = Posterior.from_pretrained(out / "posterior")
    palette = posterior.codec.palette.detach().round().byte().numpy()
    names = posterior.label_space.names
    distance = min_distance(palette)
    report.section("Palette and codes", f"The closest two colors are {distance:.0f} apart (of 442 at most).")
    report.pictures([(swatch(palette, names), "colors of the maskige")], columns=2)
    rows: list[list[Cell]] = [
        [way, m.miou, m.boundary_f, m.perplexity, m.dead_codes, m.dominant_code] for way, m in recon.ways.items()
    ]
    columns = ["tokens from", "mIoU", "boundary F", "perplexity", "dead codes", "largest share"]
    title = "Masks of the validation split, encoded and decoded: the ceiling of stage 2"
    shares = ("mIoU", "boundary F", "dead codes", "largest share")
    report.add_table(Table(title, columns, rows, digits=1, formats=dict.fromkeys(shares, ".1%")))
    reached = result.modes[result.default_mode].iou
    rows = [[name, *(m.iou[k] for m in recon.ways.values()), reached[k]] for k, name in enumerate(names)]
    columns = ["class", *(f"ceiling ({way})" for way in recon.ways), f"reached ({result.default_mode})"]
    shown = list(posterior.label_space.colors)
    classes = Table("IoU of each class", columns, rows, formats=dict.fromkeys(columns[1:], ".1%"), colors=shown)
    with report.folded("IoU of each class, ceiling and reached"):
        report.add_table(classes, titled=False)
