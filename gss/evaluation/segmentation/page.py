"""The HTML page of an evaluation: key figures, tables, charts and pictures."""

import numpy as np

from gss.evaluation.segmentation.pictures import PICTURE_TITLES
from gss.evaluation.segmentation.result import METRIC_TITLES, EvaluationResult
from gss.report import charts
from gss.report.page import Report

# A larger confusion matrix is a carpet; the list of the most frequent confusions says more.
LARGEST_MATRIX = 30
CONFUSIONS = 10


def build_page(result: EvaluationResult) -> Report:
    """Page of one evaluation."""
    facts = [result.pipeline, result.data, f"{result.images} images"]
    report = Report("Segmentation results", subtitle=" · ".join(fact for fact in facts if fact))
    add_evaluation(report, result)
    values = result.to_json()
    report.section("Raw numbers")
    report.details("Settings", values["settings"])
    report.details("Score of each image", values.pop("image_scores"))
    return report.details("All results", values)


def add_evaluation(report: Report, result: EvaluationResult, *, title: str = "") -> None:
    """Add tiles, tables, charts and pictures to a report.

    Args:
        report: Receives three to four sections.
        result: What `gss.evaluation.segmentation.evaluate` found.
        title: Prefix of the section titles, to tell several evaluations in one report apart.
    """
    best = result.modes[result.default_mode]
    prefix = f"{title}: " if title else ""
    report.section(f"{prefix}results" if title else "Results")
    tiles = [
        ("mIoU", _score(best["miou"]), f"{result.default_mode} decode, {len(result.class_names)} classes"),
        ("Boundary F", _score(best["boundary_f"]), "within 3 px"),
        ("Pixel accuracy", _score(best["accuracy"]), f"{best['pixels']:,} pixels"),
        ("Calibration error", _score(best["ece"]), "expected, 15 bins"),
    ]
    if result.images_per_second is not None and result.peak_memory_mib is not None:
        memory = f"{result.peak_memory_mib:,.0f} MiB peak"
        tiles.append(("Images/s", f"{result.images_per_second:.3g}", f"{result.device}, {memory}"))
    report.tiles(tiles)
    report.table(
        ["decode", *METRIC_TITLES.values()],
        [[mode, *(metrics[key] for key in METRIC_TITLES)] for mode, metrics in result.modes.items()],
        best={name: "min" if key == "ece" else "max" for key, name in METRIC_TITLES.items()},
        caption="Over the whole data set, void left out. Every row decodes the same forward passes.",
    )
    if domains := result.domains.get(result.default_mode):
        report.table(
            ["domain", *METRIC_TITLES.values()],
            [[name, *(metrics[key] for key in METRIC_TITLES)] for name, metrics in domains.items()],
            caption=f"Each domain alone, {result.default_mode} decode; means go over the classes that it annotates.",
        )
    _add_classes(report, result, prefix)
    _add_confusions(report, result, prefix)
    if result.pictures:
        report.section(
            f"{prefix}pictures" if title else "Pictures",
            f"Images with the worst, median and best mIoU ({result.default_mode} decode). Confidence from dark (0) to "
            "yellow (1); wrong pixels red, void slate.",
        )
        report.legend(result.class_names, result.class_colors)
        report.picture_rows(PICTURE_TITLES, result.pictures)


def _add_classes(report: Report, result: EvaluationResult, prefix: str) -> None:
    best = result.modes[result.default_mode]
    report.section(f"{prefix}classes" if prefix else "Classes")
    plots = [
        (
            f"IoU of each class ({result.default_mode})",
            charts.bar_chart(result.class_names, {result.default_mode: best["iou"]}, colors=result.class_colors),
        )
    ]
    if best["ece"] is not None:
        bins = best["reliability"]
        right = [entry["pixels"] * (entry["accuracy"] or 0.0) for entry in bins]
        wrong = [entry["pixels"] - hits for entry, hits in zip(bins, right, strict=True)]
        edges = np.linspace(0, 1, len(bins) + 1).tolist()
        plots += [
            ("Reliability", charts.reliability_diagram(bins)),
            (
                "Confidence of right and wrong pixels",
                charts.histogram(edges, {"right": right, "wrong": wrong}, x_label="confidence"),
            ),
        ]
    report.charts(plots)
    report.table(
        ["class", "share of pixels, %", *(f"IoU {mode}" for mode in result.modes), "boundary F"],
        [
            [
                name,
                100 * result.class_shares[index],
                *(metrics["iou"][index] for metrics in result.modes.values()),
                best["boundary_f_per_class"][index],
            ]
            for index, name in enumerate(result.class_names)
        ],
        colors=result.class_colors,
        caption="A dash: neither in truth nor in prediction.",
    )


def _add_confusions(report: Report, result: EvaluationResult, prefix: str) -> None:
    counts = np.asarray(result.confusion, dtype=np.float64)
    rows = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(rows, 1)
    names = result.class_names
    wrong = counts - np.diag(np.diag(counts))
    order = [int(flat) for flat in np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS] if wrong.flat[flat] > 0]
    pairs = [divmod(flat, len(names)) for flat in order]
    report.section(f"{prefix}confusions" if prefix else "Confusions")
    if len(names) <= LARGEST_MATRIX:
        matrix = [[float(v) if rows[i] > 0 else None for v in line] for i, line in enumerate(shares)]
        chart = charts.heat_table(matrix, names, names, corner="truth \\ prediction")
        report.charts([("Share of each true class", chart)])
    report.table(
        ["truth", "predicted as", "share of the class, %", "pixels"],
        [
            [names[true], names[found], 100 * float(shares[true, found]), int(counts[true, found])]
            for true, found in pairs
        ],
        digits=1,
        caption="Most frequent confusions",
    )


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
