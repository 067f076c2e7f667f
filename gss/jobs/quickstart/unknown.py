"""The quickstart's look at the unknown: scores of the heads on scenes with objects of no known class."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.outliers.benchmarks import OODDataset
from gss.data.protocols import LabelledImages
from gss.data.scenes.strangers import stranger_kinds
from gss.data.specs.load import load_spec
from gss.evaluation.ood.evaluate import evaluate_ood
from gss.evaluation.ood.page import add_curves, add_frames, best_scores, key_metrics
from gss.evaluation.ood.result import OODEvaluation
from gss.evaluation.ood.tables import score_table
from gss.pipeline.pipeline import GSSPipeline
from gss.report.page import Report
from gss.report.pictures import heatmap

IMAGES = 30
BASELINES = ("msp", "max_logit", "energy", "entropy")
"""Scores of plain class logits, which the twin has too."""
HEAT_MAPS = 4


def check_kinds(objects: str, data: str) -> None:
    """Require that the measured scenes show no kind of object that was pasted in training.

    Args:
        objects: data spec of the scenes that objects are cut out of.
        data: data spec of the scenes that are measured.

    Raises:
        ValueError: they share a kind.
    """
    trained, measured = (stranger_kinds(load_spec(ref).options.get("unknown", False)) for ref in (objects, data))
    if shared := [kind for kind in measured if kind in trained]:
        raise InputError(
            f"{data} shows objects that {objects} trains on ({', '.join(shared)}), so nothing measured there would be "
            "unknown; list other kinds under `unknown` in one of the two specs"
        )


def measure_unknown(pipeline: GSSPipeline, twin: GSSPipeline | None, dataset: OODDataset) -> OODEvaluation:
    """All scores of a pipeline, and those of class logits of its twin, if there is one.

    Args:
        pipeline: with the heads there are.
        twin: the discriminative network.
        dataset: images with truth about outliers.

    Returns:
        One evaluation; scores of the twin are called "twin NAME".
    """
    found = evaluate_ood(pipeline, dataset, limit=IMAGES, pictures=HEAT_MAPS, progress=True)
    if twin is None:
        return found
    other = evaluate_ood(twin, dataset, scores=BASELINES, limit=IMAGES, pictures=0, progress=True)
    return replace(found, scores=found.scores | {f"twin {name}": figures for name, figures in other.scores.items()})


def add_unknown(
    report: Report, out: Path, stages: Collection[str], found: OODEvaluation, *, unchanged: bool | None
) -> None:
    """Add the section for data with truth.

    Args:
        report: receives it.
        out: folder of all runs.
        stages: which there are.
        found: what `measure_unknown` returned.
        unchanged: whether masks with the residual head are those without, None if there is no such head.
    """
    also = ", and with those of the twin" if "twin" in stages else ""
    report.section(
        "Unknown objects",
        f"In {found.data} stand objects of no known class. {_what(out, stages)} Below all scores of the network are "
        f"compared{also}.",
    )
    if unchanged is not None:
        report.paragraph(equality(unchanged))
    report.tiles(key_metrics(found))
    add_frames(report, found)
    report.add_table(score_table(found, title=f"Scores on {found.images} images", bounds=False))
    add_curves(report, found, names=best_scores(found))


def equality(unchanged: bool) -> str:
    """Return the sentence on masks with and without the residual head."""
    how = "equal bit for bit" if unchanged else "NOT equal"
    return f"Class probabilities with the residual head and without it, in all decode modes: {how}."


def add_heat_maps(
    report: Report, out: Path, stages: Collection[str], pipeline: GSSPipeline, dataset: LabelledImages
) -> None:
    """Add the section for data without truth: heat maps alone.

    Args:
        report: receives it.
        out: folder of all runs.
        stages: which there are.
        pipeline: with the heads there are.
        dataset: images to show.
    """
    report.section(
        "How well known is what the images show?",
        f"{_what(out, stages)} The data set does not say what is unknown, so nothing is measured here: bright is what "
        "the score takes for unknown, each picture on its own scale.",
    )
    names = (pipeline.default_score, BASELINES[0])
    rows = []
    for index in evenly_spaced(len(dataset), HEAT_MAPS):
        image, _ = dataset.read(index)
        found = pipeline.predict_probabilities(image, modes=[], scores=names)
        rows.append((dataset.ids[index], [image, *(heatmap(found[name][0][0].cpu().numpy()) for name in names)]))
    report.picture_rows(["image", *names], rows)


def _what(out: Path, stages: Collection[str]) -> str:
    """Return what the heads are and how well they did in training."""
    texts = []
    if "density" in stages:
        figures = json.loads((out / "density" / "density.json").read_text())
        own = next(value for name, value in figures.items() if name.endswith("_miou") and name != "density_miou")
        texts.append(
            "The density head is a Gaussian mixture for each class over the features of the trained network: its score "
            "is high where the features are unlike all of training. As a classifier the mixtures reach "
            f"a mIoU of {figures['density_miou']:.1%} on known scenes, the pipeline {own:.1%}."
        )
    if "residual" in stages:
        scores = json.loads((out / "residual" / "residual.json").read_text())["scores"]
        texts.append(
            "The residual head was trained on objects of other kinds, pasted into training scenes, and lowers the "
            "logits where something like them does not belong; the frozen network does not see it. On such pasted "
            f"objects held out of training it reaches an AP of {scores['residual_energy']['ap']:.1%}, the energy of "
            f"the network alone {scores['energy']['ap']:.1%}."
        )
    return " ".join(texts)
