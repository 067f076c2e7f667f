"""`gss weak make`: weak labels from full masks, with a report of how much is labelled."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.config.io import save_config
from gss.config.weak_labels import TagConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.files import atomic_path, is_disk_error, write_json
from gss.core.outputs import check_apart, prepare_output
from gss.core.sampling import evenly_spaced
from gss.data.export import materialise, open_labelled, write_spec
from gss.data.protocols import LabelledImages
from gss.data.specs.spec import DataSpec
from gss.data.weak.labels import WeakLabels
from gss.data.weak.names import ClassNames
from gss.data.weak.pictures import draw_weak, save_mask
from gss.data.weak.readers.own import write_weak
from gss.evaluation.images import ImageShare, Unreadable
from gss.labels.space import LabelSpace
from gss.report.pictures import colorize, contact_sheet, save_picture
from gss.weak.make.counts import LabelCounts, LabelReport
from gss.weak.make.forms import Truth, weaken
from gss.weak.make.tags import large_classes

_SHEET_ROWS = 6


@dataclass(frozen=True)
class WrittenLabels:
    """Weak labels of the images of a data set, as written.

    Attributes:
        counts: counts over the labels of all processes.
        rows: rows of pictures of the main process: id, image, truth, weak labels, `WeakLabels`.
        ids: ids of the images that have labels, in order.
        unreadable: images that are left out because a file of theirs cannot be read or written.
    """

    counts: LabelCounts
    rows: list[list[Any]]
    ids: list[str]
    unreadable: list[Unreadable]


def write_labels(
    dataset: LabelledImages, form: str, cfg: Any, out: Path, *, seed: int = 0, limit: int | None = None
) -> WrittenLabels:
    """Write weak labels of a data set: `weak/ID.json` and, for forms with pixels, `masks/ID.png`.

    Several processes share the images. One that cannot be read or written is left out; the others go on.

    Args:
        dataset: images with full masks.
        form: key of `FORMS`.
        cfg: settings of the form.
        out: existing folder.
        seed: seed of every random choice.
        limit: number of images, evenly spaced.

    Raises:
        InputError: no image can be read.
        OSError: the disk is full or gone.
    """
    space = dataset.label_space
    background = ClassNames(space).background()
    chosen = evenly_spaced(len(dataset), limit)
    images = ImageShare(dataset, chosen)
    companions = _companions(dataset, chosen, cfg) if isinstance(cfg, TagConfig) and cfg.false and cfg.context else None
    counts, rows = LabelCounts(space.num_classes), []
    pictured = {chosen[position] for position in evenly_spaced(len(chosen), _SHEET_ROWS)}
    bar = tqdm(images, desc=form, unit="img", disable=None if distributed.is_main() else True)
    for sample in bar:
        truth = Truth(dataset.ids[sample.index], sample.labels, space.num_classes, background, companions)
        weak = weaken(truth, form, cfg, seed=seed)
        drawn = weak.rasterize().labels
        try:
            _write(weak, drawn, form, space, out)
        except OSError as error:
            if is_disk_error(error):
                raise
            images.leave_out(sample.index, error)
            continue
        counts.add(weak, drawn, sample.labels)
        if sample.index in pictured:
            pictures = [sample.image, colorize(sample.labels, space.colors), draw_weak(sample.image, weak, space)]
            rows.append([weak.id, *pictures, weak])
    total, *others = distributed.gather_objects(counts)
    for part in others:
        total.merge(part)
    unreadable = images.unreadable()
    absent = {image.id for image in unreadable}
    ids = [dataset.ids[index] for index in chosen if dataset.ids[index] not in absent]
    return WrittenLabels(total, rows, ids, unreadable)


def _write(weak: WeakLabels, drawn: np.ndarray, form: str, space: LabelSpace, out: Path) -> None:
    """Write the labels of an image, as pixels too unless they are tags."""
    path, mask = out / "weak" / f"{weak.id}.json", out / "masks" / f"{weak.id}.png"
    if form != "tags":
        save_mask(mask, drawn, space)
    partial = None if weak.partial is None else Path(os.path.relpath(mask, path.parent)).as_posix()
    write_weak(path, weak, space, partial=partial)


def _companions(dataset: LabelledImages, chosen: list[int], cfg: TagConfig) -> np.ndarray:
    """Return the number of readable images that show both of two classes, `[K, K]`."""
    K, present = dataset.label_space.num_classes, []
    for index in chosen:
        with contextlib.suppress(InputError, OSError):  # reported when its labels are made
            present.append(large_classes(Truth(dataset.ids[index], dataset.read(index)[1], K), cfg))
    seen = np.reshape(present, (-1, K)).astype(np.int64)
    return seen.T @ seen


def _sheet(rows: list[list[Any]], form: str, space: LabelSpace) -> Image.Image:
    """Return a contact sheet of images, masks and weak labels."""
    captions = []
    for id, *_, weak in rows:
        names = [space.names[k] for k in np.flatnonzero(weak.present())]
        captions.append(f"{id}: {', '.join(names)}" if form == "tags" else str(id))
    return contact_sheet([row[1:4] for row in rows], ["image", "truth", form], captions=captions, width=360)


def make_weak_labels(
    spec: DataSpec,
    split: str,
    form: str,
    cfg: Any,
    out: Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    overwrite: bool = False,
) -> LabelReport:
    """Write weak labels made from full masks, as a data set with a report of how much is labelled.

    Args:
        spec: data set with full masks.
        split: split of it.
        form: form of the labels.
        cfg: settings of the form, of the class `gss.config.weak_labels.FORMS[form]`.
        out: output folder, itself a data set.
        seed: seed of every random choice.
        limit: number of images, evenly spaced; all by default.
        overwrite: accept an output folder that holds files.

    Returns:
        The report; the same on every process.

    Raises:
        InputError: a data set whose labels are weak already, or an output folder in use.
    """
    spec.check_split(split)
    if spec.generator is None:
        check_apart(out, {"the data set itself": spec.root})
    if distributed.is_main():
        prepare_output(out, overwrite=overwrite)
    distributed.barrier()
    spec = materialise(spec, out)
    dataset = open_labelled(spec, split)
    written = write_labels(dataset, form, cfg, out, seed=seed, limit=limit)
    report = written.counts.report(form, dataset.label_space.names)
    report = dataclasses.replace(report, unreadable=written.unreadable)
    if not distributed.is_main():
        return report
    weak: dict[str, Any] = {"format": "gss", "path": "weak/{id}.json"}
    if report.images < len(dataset):
        weak["only"] = "labelled.txt"
        with atomic_path(out / "labelled.txt") as temporary:
            temporary.write_text("\n".join(written.ids) + "\n", encoding="utf-8")
    write_spec(out, spec, name=f"{spec.name}_{form}", split=split, weak=weak)
    save_config(cfg, out / "make.yaml")
    save_picture(out / "sheet.png", _sheet(written.rows, form, dataset.label_space))
    settings = {"data": spec.name, "split": split, "seed": seed}
    write_json(out / "report.json", {**settings, "settings": dataclasses.asdict(cfg), **report.to_json()})
    return report
