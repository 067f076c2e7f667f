"""Reusing a posterior for other classes: `gss transfer`. The maths is in gss/posterior/reassign.py."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gss.config.posterior import PosteriorLossConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.files import atomic_path, write_json
from gss.core.outputs import prepare_output
from gss.core.records import Record
from gss.data.open import open_split
from gss.data.protocols import LabelledImages
from gss.data.specs.spec import DataSpec
from gss.evaluation import reconstruction as recon
from gss.labels.space import LabelSpace
from gss.posterior.bundle import Posterior
from gss.posterior.cells import class_weights
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from gss.posterior.reassign import Assignment, assign_colors
from gss.report.tables import Cell, Table
from gss.training.posterior.refine import calibrate, count_codes, painted_table, refine, sample_cells
from gss.training.posterior.task import count_classes

# A class whose masks survive the tokens with less than this IoU is pointed out.
_WELL = 0.7


@dataclass(frozen=True)
class Transferred:
    """Posterior for other classes.

    Attributes:
        posterior: posterior with a new codec and table, and the VQ model of the source, refined or not.
        source: classes of the source.
        assignment: color of each class and where it comes from.
    """

    posterior: Posterior
    source: LabelSpace
    assignment: Assignment


def transfer(source: Posterior, train: LabelledImages, *, refine_steps: int = 0) -> Transferred:
    """Give a posterior the classes of another data set.

    The palette is reassigned (see gss/posterior/reassign.py). With a local decoder the table p(c | z) starts from what
    each code paints in the new palette, p_0(c | z) = softmax_c(-|x_z - beta_c|^2 / tau), and becomes the class
    frequencies observed per code over the masks of `train`, with p_0 as a prior worth two cells. Codes, coders and
    hence the meaning of tokens stay bit-identical, unless a refinement repaints them for the new classes.

    Args:
        source: trained posterior; not changed.
        train: images of the other data set, without augmentation; at most 500 masks are read.
        refine_steps: steps of the refinement at the end of stage 1 (see gss/training/posterior/refine.py); 0 for none.

    Raises:
        InputError: a refinement of a contextual decoder, which has no table, or masks that are void throughout.
    """
    vqvae, device = source.vqvae, source.vqvae.device
    if refine_steps and not vqvae.is_local:
        raise InputError(f"--refine {refine_steps}: a contextual decoder has no code table to refine; leave it out")
    counts = count_classes(train)
    if not counts.sum():
        raise InputError("every pixel of the training masks is void: check the label map of the data set")
    class_weight = class_weights(counts, PosteriorLossConfig().class_balance).to(device)
    maps, cells, _ = sample_cells(train, vqvae.token_stride, class_weight, device=device)
    palette = source.codec.palette.detach().round().to("cpu", torch.uint8).numpy()
    table = None if source.likelihood is None else source.likelihood.table
    assignment = assign_colors(train.label_space, source.label_space, palette, cells=cells, counts=counts, table=table)
    # A learned inverse has one output a class and cannot be renamed; the nearest colour needs no training.
    codec = MaskigeCodec([list(color) for color in assignment.colors], temperature=source.codec.temperature)
    codec = codec.to(device).eval()
    likelihood = None
    if refine_steps:
        vqvae = copy.deepcopy(vqvae)
        likelihood = refine(codec, vqvae, train, class_weight, steps=refine_steps)
    elif vqvae.is_local:
        likelihood = CellLikelihood(vqvae.codebook_size, codec.num_classes, vqvae.token_stride).to(device).eval()
        with torch.no_grad():
            likelihood.set_table(painted_table(codec, vqvae), class_weight)
            count_codes(likelihood, maps)
    posterior = Posterior(codec, vqvae, likelihood, train.label_space)
    calibrate(posterior, train)
    return Transferred(posterior, source.label_space, assignment)


def run_transfer(
    source: str | Path,
    spec: DataSpec,
    out: str | Path,
    *,
    split: str = "train",
    val_split: str | None = None,
    refine_steps: int = 0,
    limit: int | None = None,
    device: torch.device | None = None,
    overwrite: bool = False,
) -> None:
    """Write `out/posterior`, a posterior with the classes of another data set, and print its ceiling.

    Args:
        source: folder of the trained posterior.
        spec: other data set.
        out: output folder.
        split: split whose masks are counted.
        val_split: split the ceiling is measured on; `val` if there is one, else `split` when None.
        refine_steps: steps of the refinement; 0 for none.
        limit: number of images measured, evenly spread; all by default.
        device: device to compute on; this process's GPU if there is one, else the CPU, when None.
        overwrite: accept an output folder that holds files.

    Raises:
        InputError: bad posterior, data set or output folder.
    """
    out = Path(out)
    train = open_split(spec, split)
    val_split = val_split or ("val" if "val" in spec.available_splits() else split)
    val = open_split(spec, val_split)
    before = Posterior.from_pretrained(source)
    if distributed.is_main():
        prepare_output(out, overwrite=overwrite)
    before.to(device or distributed.device())
    torch.manual_seed(0)
    result = transfer(before, train, refine_steps=refine_steps)
    ceiling = recon.reconstruct(result.posterior, val, limit=limit, progress=True)
    if distributed.is_main():
        with atomic_path(out / "posterior") as folder:
            folder.mkdir()
            result.posterior.save_pretrained(folder)
        write_json(out / "recon.json", ceiling.to_json())
        rows = describe(result, ceiling)
        facts = {"source": str(source), "data": f"{spec.name}, split {split}", "refine": refine_steps}
        classes = [row.to_json() for row in rows]
        record = {"schema_version": 1, **facts, "measured_on": val_split, "classes": classes}
        write_json(out / "transfer.json", record)
        print(format_classes(rows, refined=refine_steps > 0))
        print(f"\nceiling on {spec.name} {val_split}:")
        print(recon.format_table([(str(out), before.vqvae.token_stride, ceiling)], train.label_space.names))


@dataclass(frozen=True)
class TransferredClass(Record):
    """One class of a transferred posterior.

    Attributes:
        name: name of the class.
        color: RGB color in maskiges.
        source: class of the source whose color it takes; None for a new color.
        how: reason for this color.
        iou: IoU that the tokens allow, 0..1; None if the class is not in the measured masks.
    """

    name: str
    color: tuple[int, int, int]
    source: str | None
    how: str
    iou: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields; `source` is called "from"."""
        return {("from" if name == "source" else name): value for name, value in super().to_json().items()}


def describe(result: Transferred, ceiling: recon.ReconstructionResult) -> list[TransferredClass]:
    """Return for each class its color, where the color comes from, and the IoU that the tokens allow."""
    assignment, rows = result.assignment, []
    for k, name in enumerate(result.posterior.label_space.names):
        origin = assignment.origins[k]
        how = "new color" if origin is None else "same name" if assignment.named[k] else "best outlines"
        source = None if origin is None else result.source.names[origin]
        red, green, blue = assignment.colors[k]
        rows.append(TransferredClass(name, (red, green, blue), source, how, ceiling.ceiling.iou[k]))
    return rows


def format_classes(rows: Sequence[TransferredClass], *, refined: bool) -> str:
    """Format `describe` as a table, and name the classes that the tokens cannot express well."""
    cells: list[list[Cell]] = [
        [row.name, " ".join(map(str, row.color)), row.source, row.how, None if row.iou is None else 100 * row.iou]
        for row in rows
    ]
    lines = [Table("", ["class", "color", "from", "how", "IoU"], cells, digits=1).text()]
    poor = [row.name for row in rows if row.iou is not None and row.iou < _WELL]
    if poor:
        fix = "train a posterior of its own" if refined else "--refine 500 repaints the codes for them"
        lines.append(f"hard to express with these codes (IoU below {_WELL:.0%}): {', '.join(poor)}; {fix}")
    return "\n".join(lines)
