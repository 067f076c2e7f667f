"""The tables of `gss evaluate-samples`."""

from __future__ import annotations

from gss.evaluation.images import unreadable_notes
from gss.evaluation.samples.bits import BitsResult
from gss.evaluation.samples.completion import GUIDES, CompletionResult
from gss.evaluation.samples.corrections import CorrectionsResult
from gss.evaluation.samples.hypotheses import HypothesesResult
from gss.evaluation.samples.result import SampleResult
from gss.evaluation.table_set import ResultTables
from gss.metrics.hypotheses.pairs import CONVENTIONS
from gss.report.tables import Cell, Table

SHOWN_CORRECTIONS = (0, 1, 3, 5, 10, 20)
_GUIDE_TITLES = {"image": "image + given", "paste": "image alone", "no_image": "given alone", "walk": "walk"}


def sample_tables(result: SampleResult) -> ResultTables:
    """Return all tables of an evaluation."""
    tables: list[Table] = []
    if result.bits is not None:
        tables.append(bits_table(result.bits))
    if result.hypotheses is not None:
        tables += hypotheses_tables(result.hypotheses)
    if result.completion is not None:
        tables.append(completion_table(result.completion))
    if result.corrections is not None:
        tables += corrections_tables(result.corrections)
    if result.layouts is not None:
        tables.append(layout_table(result))
    facts = [result.pipeline, result.data, f"{result.images} images", result.device]
    return ResultTables("Drawn masks", facts, tables, unreadable_notes(result.unreadable, result.images))


def bits_table(bits: BitsResult) -> Table:
    """Return bits per pixel of the true masks."""
    rows: list[list[Cell]] = [
        ["joint prior, image", bits.joint, "bound"],
        ["independent cells, image", bits.cells, "exact"],
        ["independent pixels, image", bits.pixels, "exact"],
        ["joint prior, no image", bits.joint_masks, "bound"],
        ["independent codes, no image", bits.unigram, "exact"],
    ]
    notes = ["Of the true masks; fewer is better. A bound lies above the true value, so what it gains is certain."]
    return Table("Bits per pixel", ["model", "bits", "kind"], rows, notes=notes, digits=4)


def hypotheses_tables(result: HypothesesResult) -> list[Table]:
    """Return energy distances, mIoU of several masks, decode modes and uncertainty."""
    flips = f" over {', '.join(result.flips)} and their second classes" if result.flips else ""
    rows: list[list[Cell]] = []
    for name, source in result.sources.items():
        energies: list[Cell] = [source.energy[convention].ged for convention in CONVENTIONS]
        modes = None if source.modes is None else source.modes["l1"]
        diversity = source.energy["unbiased"].diversity
        rows.append([name, *energies, source.matched_iou, diversity, modes, source.components])
    energy = Table(
        "Hypotheses",
        ["source", *(f"GED² {name}" for name in CONVENTIONS), "matched IoU", "diversity", "mode L1", "components"],
        rows,
        notes=[
            f"GED²: squared energy distance of hypotheses and truths{flips}, d = 1 - IoU, by convention; 0 is perfect. "
            "Matched IoU: of the best matching. Diversity: distance of two hypotheses. Mode L1: found against true "
            "probabilities of the modes. Components: connected regions over those of the truth; 1 is right."
        ],
        formats={"matched IoU": ".1%"},
    )
    several = Table(
        "One and several masks",
        ["source", "N", "best of N", "mean of N"],
        [
            [name, count, best, mean]
            for name, source in result.sources.items()
            for count, best, mean in zip(
                source.several.counts, source.several.best_of, source.several.mean_of, strict=True
            )
        ],
        notes=["mIoU. Best of N takes the best mask of each image by the truth: compare at equal N only."],
        formats={"best of N": ".1%", "mean of N": ".1%"},
    )
    decodes = Table(
        "Decode modes",
        ["decode", "mIoU", "boundary F", "calibration error"],
        [[mode, values["miou"], values["boundary_f"], values["ece"]] for mode, values in result.decodes.items()],
        formats=dict.fromkeys(("mIoU", "boundary F", "calibration error"), ".1%"),
        best={"mIoU": "max", "boundary F": "max", "calibration error": "min"},
    )
    uncertainty = Table(
        "Uncertainty against errors",
        ["uncertainty", "AUROC", "AURC", "excess AURC", "errors in the top 5 %"],
        [
            [name.replace("_", " "), values.auroc, values.aurc, values.excess_aurc, values.found_at_5]
            for name, values in result.uncertainty.items()
        ],
        notes=["Errors of marginal. AURC: mean error of the most certain pixels, over all their shares."],
        digits=4,
        formats={"AUROC": ".1%", "errors in the top 5 %": ".1%"},
        best={"AUROC": "max", "AURC": "min", "errors in the top 5 %": "max"},
    )
    return [energy, several, decodes, uncertainty]


def completion_table(result: CompletionResult) -> Table:
    """Return the completion curve."""
    guides = [guide for guide in GUIDES if any(guide in point.miou for point in result.points)]
    titles = [_GUIDE_TITLES[guide] for guide in guides]
    return Table(
        "Completion",
        ["given", "share", "reached", *titles, "gain"],
        [
            [point.kind, point.share, point.reached, *(point.miou[guide] for guide in guides), _gain(point.miou)]
            for point in result.points
        ],
        notes=[
            "mIoU of the pixels that are not given, where the rest is found from the image, the given pixels or both; "
            "walk: by a random walk from the given pixels along the edges of the image, as gss weak refine."
        ],
        formats=dict.fromkeys(("share", "reached", *titles, "gain"), ".1%"),
    )


def _gain(miou: dict[str, float | None]) -> float | None:
    with_given, alone = miou["image"], miou["paste"]
    return None if with_given is None or alone is None else with_given - alone


def corrections_tables(result: CorrectionsResult) -> list[Table]:
    """Return mIoU by corrections, and what a correction changes."""
    shown = [number for number in SHOWN_CORRECTIONS if number <= result.corrections]
    curve = Table(
        "Corrections",
        ["mask", *(f"after {number}" for number in shown)],
        [
            ["completed again", *(result.miou[number] for number in shown)],
            ["cell pasted", *(result.paste_miou[number] for number in shown)],
        ],
        notes=["mIoU. A correction gives the cell deepest inside the largest wrong region."],
        formats={f"after {number}": ".1%" for number in shown},
    )
    effect = Table(
        "Effect of a correction",
        ["fixed per corrected pixel", "right pixels broken", *(f"corrections to {name}" for name in result.clicks)],
        [[result.leverage, result.broken, *result.clicks.values()]],
        notes=[f"{result.images} images. Corrections to a mIoU of the image; never counts as {result.corrections}."],
        formats={"fixed per corrected pixel": ".2f", "right pixels broken": ".2%"},
    )
    return [curve, effect]


def layout_table(result: SampleResult) -> Table:
    """Return the comparison of masks without image."""
    columns = ["masks", "number", "histograms", "adjacency", "components", "thickness", "per image"]
    columns += ["precision", "recall", "density", "coverage", "nearest", "authentic"]
    rows: list[list[Cell]] = []
    for name, part in (result.layouts or {}).items():
        distance, near, copies = part.distance, part.neighbours, part.nearest
        rows.append(
            [
                name,
                distance.masks[0],
                distance.histogram_frechet,
                distance.adjacency_divergence,
                distance.components,
                distance.thickness,
                distance.components_per_image[0],
                near.precision,
                near.recall,
                near.density,
                near.coverage,
                None if copies is None else copies.mean,
                None if copies is None else copies.authentic,
            ]
        )
    return Table(
        "Masks without image",
        columns,
        rows,
        notes=[
            "Against real test masks. Histograms: Fréchet distance of class shares. Adjacency: Jensen-Shannon "
            "divergence of neighbouring classes, in bits. Components, thickness: Wasserstein-1, mean over classes. "
            "Nearest: mean distance from the nearest training mask, share of differing pixels. Authentic: share of "
            "masks farther from it than that one is from the other training masks."
        ],
        formats=dict.fromkeys(("precision", "recall", "coverage", "nearest", "authentic"), ".1%"),
    )
