"""The quickstart's look at the unknown: scores of the density head on scenes with objects of no known class."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from gss.data.datasets import LabelledImages
from gss.data.ood import OODDataset
from gss.ood.evaluation import evaluate_ood
from gss.ood.fitting import spread_indices
from gss.ood.report import add_curves, add_frames, add_table, key_figures
from gss.ood.results import OODEvaluation
from gss.pipeline import GSSPipeline
from gss.report import Report
from gss.visualize import heatmap

IMAGES = 30
BASELINES = ("msp", "max_logit", "energy", "entropy")
"""Scores of plain class logits, which the twin has too."""
CURVES = ("gmm_max", "sml", "combined", "token_entropy", "msp", "energy", "twin energy")
HEAT_MAPS = 4


def measure_unknown(pipeline: GSSPipeline, twin: GSSPipeline, dataset: OODDataset) -> OODEvaluation:
    """All scores of a pipeline with a density head, and those of class logits of its twin.

    Args:
        pipeline: with density head.
        twin: the discriminative network.
        dataset: images with truth about outliers.

    Returns:
        One evaluation; scores of the twin are called "twin NAME".
    """
    found = evaluate_ood(pipeline, dataset, limit=IMAGES, pictures=HEAT_MAPS, progress=True)
    other = evaluate_ood(twin, dataset, scores=BASELINES, limit=IMAGES, pictures=0, progress=True)
    return replace(found, scores=found.scores | {f"twin {name}": figures for name, figures in other.scores.items()})


def add_unknown(report: Report, folder: Path, found: OODEvaluation) -> None:
    """Add the section for data with truth.

    Args:
        report: receives it.
        folder: run folder of the density head.
        found: what `measure_unknown` returned.
    """
    report.section(
        "Unknown objects",
        f"In {found.data} stand objects of no known class. {_what(folder)} Below it is compared with other scores of "
        "the same network, and with those of the twin.",
    )
    report.tiles(key_figures(found))
    add_table(report, found, caption=f"{found.images} images.")
    add_curves(report, found, names=[name for name in CURVES if name in found.scores])
    add_frames(report, found)


def add_heat_maps(report: Report, folder: Path, pipeline: GSSPipeline, dataset: LabelledImages) -> None:
    """Add the section for data without truth: heat maps alone.

    Args:
        report: receives it.
        folder: run folder of the density head.
        pipeline: with density head.
        dataset: images to show.
    """
    report.section(
        "How well known is what the images show?",
        f"{_what(folder)} The data set does not say what is unknown, so nothing is measured here: bright is what the "
        "training images showed least of, each picture on its own scale.",
    )
    names = (pipeline.default_score, BASELINES[0])
    rows = []
    for index in spread_indices(len(dataset), HEAT_MAPS):
        image, _ = dataset.read(index)
        found = pipeline.predict_probabilities(image, modes=[], scores=names)
        rows.append((dataset.ids[index], [image, *(heatmap(found[name][0][0].cpu().numpy()) for name in names)]))
    report.picture_rows(["image", *names], rows)


def _what(folder: Path) -> str:
    figures = json.loads((folder / "density.json").read_text())
    own = next(value for name, value in figures.items() if name.endswith("_miou") and name != "density_miou")
    return (
        "The density head is a Gaussian mixture for each class over the features of the trained network: its score is "
        "high where the features are unlike all of training. As a classifier the mixtures reach "
        f"{figures['density_miou']:.3f} mIoU on known scenes, the pipeline {own:.3f}."
    )
