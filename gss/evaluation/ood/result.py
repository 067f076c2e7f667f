"""What an out-of-distribution evaluation found, as tables for the terminal and as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from PIL import Image

from gss.metrics.components import ComponentResult
from gss.metrics.ood import Bounded, OODResult
from gss.metrics.open_set import OpenSetResult
from gss.report.text import aligned

OPEN_TITLES = ("open mIoU", "closed mIoU", "gap", "anomaly IoU", "rejected", "threshold")


@dataclasses.dataclass(frozen=True)
class OpenSetFigures:
    """Open-set mIoU of one score.

    Args:
        threshold: pixels with at least this score are rejected.
        result: what `gss.metrics.open_set.open_miou` found.
    """

    threshold: float
    result: OpenSetResult


@dataclasses.dataclass(frozen=True)
class ScoreFigures:
    """Figures of one score on one data set.

    Args:
        pooled: all pixels in one ranking.
        per_image: means over images; `None` unless that is the mode of the evaluation.
        curve: points of the pooled ROC and precision-recall curve, see `gss.metrics.ranking.Ranking.curve`.
        histogram: pooled shares by interval of the score, see `Ranking.histogram`.
        components: whole objects, at the pooled best-F1 threshold.
        open_set: closed-set classification with rejection.
    """

    pooled: OODResult
    per_image: OODResult | None = None
    curve: dict[str, list[float]] | None = None
    histogram: dict[str, list[float]] | None = None
    components: ComponentResult | None = None
    open_set: OpenSetFigures | None = None


@dataclasses.dataclass
class OODEvaluation:
    """What `evaluate_ood` found; the same on every process, except that only the main one has pictures.

    Args:
        pipeline: where the pipeline came from.
        data: name of the data set and split.
        mode: `pooled` or `per_image`: which figures tables show, see `OODResult`.
        fpr_rule: which FPR at 95 % TPR tables show, see `gss.metrics.ranking.FPR_RULES`.
        images: images measured.
        without_outliers: how many of them hold no outlier pixel.
        void: how many of those are void all over.
        lead: score that orders frames.
        scores: figures by score.
        frames: of each image its `id`, pixel counts, and `ap`, `auroc`, `fpr` (`first_at_least`) of the lead,
            `None` with a `reason` where undefined; in data set order.
        device: where the pipeline ran.
        settings: window, size, limit and so on.
        picture_titles: names of the pictures of a row.
        pictures: (caption, pictures) of the frames with the lowest and highest AP.
    """

    pipeline: str
    data: str
    mode: str
    fpr_rule: str
    images: int
    without_outliers: int
    void: int
    lead: str
    scores: dict[str, ScoreFigures]
    frames: list[dict[str, Any]]
    device: str
    settings: dict[str, Any]
    picture_titles: tuple[str, ...] = ()
    pictures: list[tuple[str, list[Image.Image]]] = dataclasses.field(default_factory=list, repr=False)

    def shown(self, name: str) -> OODResult:
        """Figures of a score in the mode of the evaluation."""
        figures = self.scores[name]
        return figures.pooled if figures.per_image is None else figures.per_image

    def row(self, name: str) -> dict[str, Bounded | None]:
        """Column title, which names mode and rule, to figure; best F1 belongs to one ranking of all pixels."""
        result, mode = self.shown(name), self.mode.replace("_", " ")
        figures = {
            f"AP ({mode})": result.ap,
            f"AUROC ({mode})": result.auroc,
            f"FPR95 ({mode}, {self.fpr_rule})": result.fpr[self.fpr_rule],
        }
        return figures | ({f"best F1 ({mode})": result.best_f1} if self.mode == "pooled" else {})

    def threshold(self, name: str) -> float | None:
        """Best-F1 threshold of a score, over all pixels."""
        return self.scores[name].pooled.best_f1_threshold

    @property
    def remarks(self) -> list[str]:
        """What a reader of the figures must know: images that count less, figures that are undefined."""
        lines = []
        if self.without_outliers:
            void = f" ({self.void} of them void all over)" if self.void else ""
            effect = "left out of the means" if self.mode == "per_image" else "their inliers are ranked with the others"
            lines.append(f"{self.without_outliers} of {self.images} images hold no outlier pixel{void}; {effect}")
        result = self.shown(self.lead)
        if result.ap is None:
            lines.append(f"the figures are undefined: {result.reason}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, in types JSON knows."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["pictures"], fields["picture_titles"]
        fields["scores"] = {name: _figures_dict(figures) for name, figures in self.scores.items()}
        return fields


def format_evaluation(result: OODEvaluation) -> str:
    """Tables for the terminal; bounds are printed where they differ from the value in three decimals."""
    facts = [result.data, f"{result.images} images", result.device]
    lines = [" · ".join(fact for fact in facts if fact), *(f"note: {remark}" for remark in result.remarks), ""]
    rows: list[list[Any]] = [
        [name, *map(bounded_text, result.row(name).values()), result.threshold(name)] for name in result.scores
    ]
    lines += aligned(["score", *result.row(result.lead), "F1 threshold (pooled)"], rows)
    parts = {name: figures.components for name, figures in result.scores.items() if figures.components}
    if parts:
        lines += ["", f"whole objects at the best-F1 threshold ({component_rules(result)})"]
        rows = [
            [name, c.siou, c.ppv, c.f1_mean, c.true_components, c.predicted_components] for name, c in parts.items()
        ]
        lines += aligned(["score", "sIoU", "PPV", "mean F1", "true", "predicted"], rows)
    opened = {name: figures.open_set for name, figures in result.scores.items() if figures.open_set}
    if opened:
        lines += ["", f"open set, threshold at 95 % TPR on {result.settings['threshold_from']}"]
        rows = [[name, *open_row(figures).values()] for name, figures in opened.items()]
        lines += aligned(["score", *OPEN_TITLES], rows)
    return "\n".join(lines)


def open_row(figures: OpenSetFigures) -> dict[str, float | None]:
    """Values by the names of `OPEN_TITLES`."""
    result = figures.result
    values = (result.open_miou, result.closed_miou, result.gap, result.anomaly_iou, result.rejected, figures.threshold)
    return dict(zip(OPEN_TITLES, values, strict=True))


def component_rules(result: OODEvaluation) -> str:
    """Size rules in words."""
    rules = result.settings["components"]
    return (
        f"{rules['track']} track: predicted from {rules['min_predicted']} px, true from {rules['min_true']} px, "
        "sizes at full resolution"
    )


def bounded_text(figure: Bounded | None) -> str | None:
    """A figure with its bounds where three decimals show them."""
    if figure is None:
        return None
    value, lower, upper = (f"{part:.3f}" for part in figure)
    return value if lower == value == upper else f"{value} [{lower}, {upper}]"


def _figures_dict(figures: ScoreFigures) -> dict[str, Any]:
    opened = figures.open_set
    return {
        "pooled": figures.pooled.to_dict(),
        "per_image": None if figures.per_image is None else figures.per_image.to_dict(),
        "components": None if figures.components is None else figures.components.to_dict(),
        "open_set": None if opened is None else {"threshold": opened.threshold, **opened.result.to_dict()},
        "curve": figures.curve,
        "histogram": figures.histogram,
    }
