"""Results and report of `gss weak run`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from gss.core import distributed
from gss.core.files import write_json
from gss.core.sampling import evenly_spaced
from gss.data.datasets import SegmentationDataset
from gss.data.protocols import LabelledImages
from gss.data.weak.labels import WeakLabels
from gss.data.weak.pictures import draw_weak
from gss.evaluation.segmentation.evaluate import evaluate
from gss.evaluation.segmentation.page import add_evaluation
from gss.evaluation.segmentation.result import EvaluationResult
from gss.evaluation.segmentation.tables import segmentation_tables
from gss.jobs.stages import read_records
from gss.jobs.weak_run.inputs import Measured, is_tagged
from gss.metrics.means import averaged_over
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.report import charts
from gss.report.page import Report
from gss.report.pictures import colorize
from gss.report.tables import Table, share_text
from gss.training.engine.log import read_metrics

_ROWS = 6
_ABSTAIN = (255, 255, 255)


def write_results(
    out: Path,
    *,
    weak: SegmentationDataset,
    pseudo: SegmentationDataset,
    truth: LabelledImages | None,
    measured: Measured | None,
) -> dict[str, Any]:
    """Measure the pipeline of a job and write `results.json` and `report.html`.

    Args:
        out: folder of the job.
        weak: training images with weak labels.
        pseudo: the same with pseudo-masks.
        truth: the same with full masks, if there are any.
        measured: images to measure on, if there are any.

    Returns:
        mIoU of each decode mode; empty when nothing could be measured.
    """
    pipeline, result = load_pipeline(out / "prior" / "pipeline"), None
    if measured is not None:
        found = evaluate(pipeline, measured.dataset, throughput=False, progress=True)
        result = dataclasses.replace(found, pipeline=str(out / "prior" / "pipeline"), data=measured.name)
    if not distributed.is_main():
        return {}
    records = read_records(out)
    recon = json.loads((out / "posterior" / "recon.json").read_text())
    on = "nothing: there are no other labelled images; give --val"
    if measured is not None:
        on = "full masks" if measured.full else "the labelled pixels of images that no stage was trained on"
    summary = {
        "classes": list(weak.label_space.names),
        "labels": records["labels"].result,
        "pseudo": records["pseudo"].result,
        "reconstruction": recon,
        "measured_on": on,
        "evaluation": result and result.to_json(),
        "seconds": {name: record.seconds for name, record in records.items() if record.id},
    }
    write_json(out / "results.json", summary)
    report = Report("From weak labels", subtitle=f"{weak.spec.name} · {len(weak)} images")
    captions, rows = _pictures(weak, pseudo, truth, pipeline)
    shown = [(picture, title) for title, picture in rows[0].items()] if rows else []
    report.answer(_answer(summary, result), pictures=shown)
    _add_figures(report, summary, result)
    report.section("Training images", "In pseudo-masks white is where the teacher abstains.")
    report.legend(weak.label_space.names, weak.label_space.colors)
    titles = list(rows[0]) if rows else []
    report.picture_rows(titles, [(caption, list(row.values())) for caption, row in zip(captions, rows, strict=True)])
    _add_classes(report, summary, weak, result)
    _add_training(report, out)
    if result is not None:
        add_evaluation(report, result, title=result.data)
    report.section("Raw numbers")
    report.details("Settings", {name: record.settings for name, record in records.items()})
    report.details("Results", summary).save(out / "report.html")
    if result is not None:
        print(segmentation_tables(result).text())
    return {} if result is None else {mode: figures["miou"] for mode, figures in result.modes.items()}


def _add_figures(report: Report, summary: Mapping[str, Any], result: EvaluationResult | None) -> None:
    labels, pseudo = summary["labels"], summary["pseudo"]
    report.section("In short", f"Measured on {summary['measured_on']}.")
    if "tagged" in labels:
        by_hand = ("Tags", f"{sum(labels['tagged'])}", f"of {labels['images']} images")
    else:
        by_hand = ("Labelled", share_text(labels["coverage"]), f"of the pixels of {labels['images']} images")
    tiles = [
        by_hand,
        ("Pseudo-masks", share_text(pseudo["coverage"]), "of the pixels"),
    ]
    if "miou" in pseudo:
        tiles += [
            ("Precision", share_text(pseudo["precision"]), "of these pixels are right"),
            ("Pseudo-mask mIoU", share_text(pseudo["miou"]), "against full masks; abstention is a miss"),
        ]
    if "ece" in pseudo:
        tiles.append(("Calibration error", share_text(pseudo["ece"]), "of the confidence of pseudo-masks"))
    if result is not None:
        best = result.modes[result.default_mode]
        facts = [f"{result.default_mode} decode", f"{result.images} unseen images", averaged_over(best.iou)]
        tiles.append(("mIoU", share_text(best["miou"]), ", ".join(filter(None, facts))))
    report.tiles(tiles)
    notes = [labels.get("coding")]
    if labels["unlabelled_images"] and "tagged" not in labels:
        notes.append(f"{labels['unlabelled_images']} images have no labelled pixel")
    if pseudo["unlabelled_images"]:
        notes.append(f"{pseudo['unlabelled_images']} pseudo-masks abstain everywhere")
    for note in filter(None, notes):
        report.paragraph(f"{note[0].upper()}{note[1:]}.")


def _answer(summary: Mapping[str, Any], result: EvaluationResult | None) -> str:
    """Return one sentence: what the labels were, and how good the masks are."""
    labels, pseudo = summary["labels"], summary["pseudo"]
    if "tagged" in labels:
        given = f"From the tags of {labels['images']} images"
    else:
        given = f"From {share_text(labels['coverage'])} labelled pixels in {labels['images']} images"
    if result is not None:
        best = result.modes[result.default_mode]
        over = averaged_over(best.iou)
        reached = f"masks of unseen images reach a mIoU of {share_text(best.miou)}" + (f" over {over}" if over else "")
        return f"{given} {reached}, measured on {summary['measured_on']}."
    if "miou" in pseudo:
        return f"{given} the pseudo-masks of the training images reach a mIoU of {share_text(pseudo['miou'])}."
    return f"{given} a pipeline was trained; how good it is was not measured, for which --val names images with masks."


def _pictures(
    weak: SegmentationDataset,
    pseudo: SegmentationDataset,
    truth: LabelledImages | None,
    pipeline: GSSPipeline,
) -> tuple[list[str], list[dict[str, Image.Image]]]:
    """Return captions and pictures by title of training images: photo, labels, pseudo-mask, prediction, truth."""
    space = weak.label_space
    tagged = is_tagged(weak)
    masks, full = ({id: i for i, id in enumerate(data.ids)} if data else {} for data in (pseudo, truth))
    captions: list[str] = []
    rows: list[dict[str, Image.Image]] = []
    for index in evenly_spaced(len(weak), _ROWS):
        id = weak.ids[index]
        if id not in masks:
            continue
        image, labels = weak.read(index)
        known = weak.read_weak(index)[0]
        if known is None:
            known = WeakLabels(id, (labels.shape[0], labels.shape[1]), space.num_classes, partial=labels)
        found = np.asarray(pipeline(image).masks[0])
        row: dict[str, Image.Image] = {"photo": image}
        if not tagged:  # tags are in the caption
            row["weak label"] = draw_weak(image, known, space)
        row["pseudo-mask"] = colorize(pseudo.read(masks[id])[1], space.colors, void=_ABSTAIN)
        row["prediction"] = colorize(found, space.colors)
        if truth is not None:
            row["truth"] = colorize(truth.read(full[id])[1], space.colors)
        names = [space.names[k] for k in np.flatnonzero(known.present())]
        captions.append(f"{id}: {', '.join(names)}")
        rows.append(row)
    return captions, rows


def _add_classes(
    report: Report, summary: Mapping[str, Any], weak: SegmentationDataset, result: EvaluationResult | None
) -> None:
    labels, pseudo = summary["labels"], summary["pseudo"]
    columns: dict[str, Any] = {"images tagged": labels["tagged"]} if "tagged" in labels else {}
    columns |= {"pixels labelled": labels["pixels"], "pseudo-labelled": pseudo["pixels"]}
    if "iou" in pseudo:
        columns |= {
            "precision": pseudo["precision_per_class"],
            "recall": pseudo["recall_per_class"],
            "pseudo-mask IoU": pseudo["iou"],
        }
    if result is not None:
        columns[f"IoU ({result.default_mode})"] = result.modes[result.default_mode]["iou"]
    space = weak.label_space
    report.section("Classes, from label to result")
    rows = [[name, *(column[k] for column in columns.values())] for k, name in enumerate(space.names)]
    shares = [name for name, column in columns.items() if any(isinstance(value, float) for value in column)]
    best: dict[str, Literal["max", "min"]] = {name: "max" for name in shares[-1:]}
    table = Table("", ["class", *columns], rows, formats=dict.fromkeys(shares, ".1%"), best=best, colors=space.colors)
    report.add_table(table.ranked())
    if "reliability" in pseudo:
        curve = {"precision": [(point["coverage"], point["precision"]) for point in pseudo["curve"]]}
        report.charts(
            [
                ("Reliability of pseudo-masks", charts.reliability_diagram(pseudo["reliability"])),
                ("Precision over coverage", charts.line_chart(curve, x_label="coverage", y_label="precision")),
            ]
        )


def _add_training(report: Report, out: Path) -> None:
    plots = []
    for stage in ("teacher", "posterior", "prior"):
        lines = read_metrics(out / stage)
        points = [(line["step"], line["loss"]) for line in lines if line.get("loss")]
        if len(points) > 1:
            plots.append((stage, charts.line_chart({"loss": points}, x_label="step", y_label="loss", smooth=0.6)))
    if plots:
        report.section("Learning curves").charts(plots)
