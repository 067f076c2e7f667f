"""`gss weak make`: weak labels from full masks, with a report of how much is labelled."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.config.io import save_config
from gss.config.weak_labels import TagConfig
from gss.core import distributed
from gss.core.files import atomic_path, write_json
from gss.core.outputs import prepare_output
from gss.core.sampling import evenly_spaced
from gss.data.export import materialise, open_labelled, write_spec
from gss.data.protocols import LabelledImages
from gss.data.specs.spec import DataSpec
from gss.data.weak.names import ClassNames
from gss.data.weak.pictures import draw_weak, save_mask
from gss.data.weak.readers.own import write_weak
from gss.labels.space import LabelSpace
from gss.report.pictures import colorize, contact_sheet, save_picture
from gss.weak.make.counts import LabelCounts, LabelReport
from gss.weak.make.forms import Truth, weaken
from gss.weak.make.tags import large_classes

_SHEET_ROWS = 6


def write_labels(
    dataset: LabelledImages, form: str, cfg: Any, out: Path, *, seed: int = 0, limit: int | None = None
) -> tuple[LabelCounts, list[list[Any]]]:
    """Write weak labels of a data set: `weak/ID.json` and, for forms with pixels, `masks/ID.png`.

    Several processes share the images; the counts returned are those of all.

    Args:
        dataset: images with full masks.
        form: key of `FORMS`.
        cfg: settings of the form.
        out: existing folder.
        seed: seed of every random choice.
        limit: number of images, evenly spaced.

    Returns:
        The counts, and rows of pictures (id, image, truth, weak labels) of the main process.
    """
    space = dataset.label_space
    background = ClassNames(space).background()
    chosen = evenly_spaced(len(dataset), limit)
    companions = _companions(dataset, chosen, cfg) if isinstance(cfg, TagConfig) and cfg.false and cfg.context else None
    counts, rows = LabelCounts(space.num_classes), []
    pictured = set(evenly_spaced(len(chosen), _SHEET_ROWS))
    local = distributed.shard(len(chosen))
    for number in tqdm(local, desc=form, unit="img", disable=None if distributed.is_main() else True):
        index = chosen[number]
        image, labels = dataset.read(index)
        truth = Truth(dataset.ids[index], labels, space.num_classes, background, companions)
        weak = weaken(truth, form, cfg, seed=seed)
        drawn = weak.rasterize().labels
        counts.add(weak, drawn, labels)
        mask = None
        if weak.partial is not None:
            mask = os.path.relpath(out / "masks" / f"{weak.id}.png", (out / "weak" / f"{weak.id}.json").parent)
        if form != "tags":
            save_mask(out / "masks" / f"{weak.id}.png", drawn, space)
        write_weak(out / "weak" / f"{weak.id}.json", weak, space, partial=mask and Path(mask).as_posix())
        if number in pictured:
            rows.append([weak.id, image, colorize(labels, space.colors), draw_weak(image, weak, space), weak])
    total, *others = distributed.gather_objects(counts)
    for part in others:
        total.merge(part)
    return total, rows


def _companions(dataset: LabelledImages, chosen: list[int], cfg: TagConfig) -> np.ndarray:
    """Return the number of images that show both of two classes, `[K, K]`."""
    K = dataset.label_space.num_classes
    present = np.stack([large_classes(Truth(dataset.ids[i], dataset.read(i)[1], K), cfg) for i in chosen])
    return present.T.astype(np.int64) @ present.astype(np.int64)


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
    if distributed.is_main():
        prepare_output(out, overwrite=overwrite)
    distributed.barrier()
    spec = materialise(spec, out)
    dataset = open_labelled(spec, split)
    counts, rows = write_labels(dataset, form, cfg, out, seed=seed, limit=limit)
    report = counts.report(form, dataset.label_space.names)
    if not distributed.is_main():
        return report
    weak: dict[str, Any] = {"format": "gss", "path": "weak/{id}.json"}
    if report.images < len(dataset):
        weak["only"] = "labelled.txt"
        ids = [dataset.ids[index] for index in evenly_spaced(len(dataset), limit)]
        with atomic_path(out / "labelled.txt") as temporary:
            temporary.write_text("\n".join(ids) + "\n", encoding="utf-8")
    write_spec(out, spec, name=f"{spec.name}_{form}", split=split, weak=weak)
    save_config(cfg, out / "make.yaml")
    save_picture(out / "sheet.png", _sheet(rows, form, dataset.label_space))
    settings = {"data": spec.name, "split": split, "seed": seed}
    write_json(out / "report.json", {**settings, "settings": dataclasses.asdict(cfg), **report.to_json()})
    return report
