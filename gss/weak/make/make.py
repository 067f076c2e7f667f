"""`gss weak make`: weak labels from full masks, with a report of how much is labelled."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
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
from gss.data.weak.labels import WeakLabels
from gss.data.weak.names import ClassNames
from gss.data.weak.pictures import draw_weak, save_mask
from gss.data.weak.readers.own import write_weak
from gss.labels.space import IGNORE_INDEX, LabelSpace
from gss.report.pictures import colorize, contact_sheet
from gss.weak.make.forms import Truth, weaken
from gss.weak.make.tags import large_classes

DISTANCE_EDGES = (0, 1, 2, 4, 8, 16, 32, 64)
_SHEET_ROWS = 6


class Survey:
    """Counts over generated weak labels.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.images, self.strokes, self.clicks, self.boxes, self.exhaustive, self.pixels = 0, 0, 0, 0, 0, 0
        self.valid, self.labelled, self.correct = (np.zeros(num_classes, np.int64) for _ in range(3))
        self.occurs, self.named, self.named_wrongly = (np.zeros(num_classes, np.int64) for _ in range(3))
        self.on_void = 0
        self.distance = np.zeros(len(DISTANCE_EDGES), np.int64)

    def add(self, weak: WeakLabels, drawn: np.ndarray, truth: np.ndarray) -> None:
        """Count one image.

        Args:
            weak: its labels.
            drawn: the same as pixels, uint8 `[H, W]`.
            truth: full mask uint8 `[H, W]`.
        """
        K = len(self.valid)

        def count(labels: np.ndarray) -> np.ndarray:
            return np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)[:K]

        known = drawn != IGNORE_INDEX
        self.images += 1
        self.clicks += len(weak.points)
        self.strokes += len(weak.strokes) - len(weak.points)
        self.boxes += len(weak.boxes)
        self.exhaustive += weak.exhaustive
        self.pixels += truth.size
        self.valid += count(truth)
        self.labelled += count(drawn)
        self.correct += count(truth[known & (drawn == truth)])
        self.on_void += int((known & (truth == IGNORE_INDEX)).sum())
        occurs, present = count(truth) > 0, weak.present()
        self.occurs += occurs
        self.named += occurs & present
        self.named_wrongly += present & ~occurs
        if known.any():
            inner = np.ones(truth.shape, bool)
            across, down = truth[:, 1:] != truth[:, :-1], truth[1:] != truth[:-1]
            inner[:, 1:] &= ~across
            inner[:, :-1] &= ~across
            inner[1:] &= ~down
            inner[:-1] &= ~down
            apart = ndimage.distance_transform_edt(inner)[known] if not inner.all() else np.full(known.sum(), np.inf)
            bins = np.searchsorted(DISTANCE_EDGES, apart, side="right") - 1
            self.distance += np.bincount(bins, minlength=len(DISTANCE_EDGES))

    def merge(self, other: Survey) -> None:
        """Add the counts of another survey."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def to_dict(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Shares and counts, JSON-able."""
        labelled = int(self.labelled.sum())
        sure = labelled - self.on_void
        return {
            "images": self.images,
            "labelled_share": labelled / max(self.pixels, 1),
            "labelled_pixels": labelled,
            "correct_share": float(self.correct.sum()) / sure if sure else None,
            "on_void": self.on_void,
            "strokes_per_image": self.strokes / max(self.images, 1),
            "clicks_per_image": self.clicks / max(self.images, 1),
            "boxes_per_image": self.boxes / max(self.images, 1),
            "exhaustive_images": self.exhaustive,
            "never_labelled": [name for name, count in zip(names, self.named, strict=True) if count == 0],
            "distance_to_boundary": {"from_px": list(DISTANCE_EDGES), "pixels": self.distance},
            "classes": [
                {
                    "name": name,
                    "pixels": int(self.labelled[k]),
                    "share_of_class": float(self.correct[k] / self.valid[k]) if self.valid[k] else None,
                    "images_with_class": int(self.occurs[k]),
                    "images_named": int(self.named[k]),
                    "images_named_wrongly": int(self.named_wrongly[k]),
                }
                for k, name in enumerate(names)
            ],
        }


def make(
    dataset: LabelledImages, form: str, cfg: Any, out: Path, *, seed: int = 0, limit: int | None = None
) -> tuple[Survey, list[list[Any]]]:
    """Write weak labels of a data set: `weak/ID.json` and, for label forms with pixels, `masks/ID.png`.

    Several processes share the images; the counts returned are those of all.

    Args:
        dataset: images with full masks.
        form: key of `FORMS`.
        cfg: its settings.
        out: existing folder.
        seed: of every random choice.
        limit: number of images, evenly spread.

    Returns:
        The counts, and rows of pictures (image, truth, weak labels) of the main process.
    """
    space = dataset.label_space
    background = ClassNames(space).background()
    chosen = evenly_spaced(len(dataset), limit)
    companions = _companions(dataset, chosen, cfg) if isinstance(cfg, TagConfig) and cfg.false and cfg.context else None
    survey, rows = Survey(space.num_classes), []
    shown = set(evenly_spaced(len(chosen), _SHEET_ROWS))
    mine = distributed.shard(len(chosen))
    for number in tqdm(mine, desc=form, unit="img", disable=None if distributed.is_main() else True):
        index = chosen[number]
        image, labels = dataset.read(index)
        truth = Truth(dataset.ids[index], labels, space.num_classes, background, companions)
        weak = weaken(truth, form, cfg, seed=seed)
        drawn = weak.rasterize().labels
        survey.add(weak, drawn, labels)
        mask = None
        if weak.partial is not None:
            mask = os.path.relpath(out / "masks" / f"{weak.id}.png", (out / "weak" / f"{weak.id}.json").parent)
        if form != "tags":
            save_mask(out / "masks" / f"{weak.id}.png", drawn, space)
        write_weak(out / "weak" / f"{weak.id}.json", weak, space, partial=mask and Path(mask).as_posix())
        if number in shown:
            rows.append([weak.id, image, colorize(labels, space.colors), draw_weak(image, weak, space), weak])
    total, *others = distributed.gather_objects(survey)
    for part in others:
        total.merge(part)
    return total, rows


def _companions(dataset: LabelledImages, chosen: list[int], cfg: TagConfig) -> np.ndarray:
    """How often two classes are in one image `[K, K]`."""
    K = dataset.label_space.num_classes
    held = [large_classes(Truth(dataset.ids[i], dataset.read(i)[1], K), cfg).astype(np.int64) for i in chosen]
    return np.stack(held).T @ np.stack(held)


def format_survey(survey: dict[str, Any], form: str) -> str:
    """Text of a report."""
    lines = [
        f"{form}: {survey['images']} images, {100 * survey['labelled_share']:.2f} % of all pixels labelled",
        f"per image: {survey['clicks_per_image']:.1f} clicks, {survey['strokes_per_image']:.1f} strokes, "
        f"{survey['boxes_per_image']:.1f} boxes; classes exhaustive in {survey['exhaustive_images']} images",
    ]
    if survey["correct_share"] is not None:
        lines.append(f"labelled pixels that are right: {100 * survey['correct_share']:.2f} %")
    width = max(len(entry["name"]) for entry in survey["classes"])
    lines += ["", f"{'class':<{width}}  {'pixels':>10}  of class  images  named"]
    for entry in survey["classes"]:
        share = "     –" if entry["share_of_class"] is None else f"{100 * entry['share_of_class']:6.2f}"
        wrong = f"  {entry['images_named_wrongly']} wrongly" if entry["images_named_wrongly"] else ""
        lines.append(
            f"{entry['name']:<{width}}  {entry['pixels']:>10}  {share} %  {entry['images_with_class']:>6}  "
            f"{entry['images_named']:>5}{wrong}"
        )
    if survey["never_labelled"]:
        lines += ["", f"never labelled: {', '.join(survey['never_labelled'])}"]
    return "\n".join(lines)


def _sheet(rows: list[list[Any]], form: str, space: LabelSpace) -> Any:
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
) -> dict[str, Any]:
    """Write weak labels made from full masks, as a data set with a report of how much is labelled.

    Args:
        spec: data set with full masks.
        split: split of it.
        form: form of the labels.
        cfg: settings of the form, of the class `gss.config.weak_labels.FORMS[form]`.
        out: output folder, itself a data set.
        seed: seed of every random choice.
        limit: number of images, evenly spread; all by default.
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
    survey, rows = make(dataset, form, cfg, out, seed=seed, limit=limit)
    report = survey.to_dict(dataset.label_space.names)
    if not distributed.is_main():
        return report
    weak: dict[str, Any] = {"format": "gss", "path": "weak/{id}.json"}
    if survey.images < len(dataset):
        weak["only"] = "labelled.txt"
        ids = [dataset.ids[index] for index in evenly_spaced(len(dataset), limit)]
        with atomic_path(out / "labelled.txt") as temporary:
            temporary.write_text("\n".join(ids) + "\n", encoding="utf-8")
    write_spec(out, spec, name=f"{spec.name}_{form}", split=split, weak=weak)
    save_config(cfg, out / "make.yaml")
    with atomic_path(out / "sheet.png") as temporary:
        _sheet(rows, form, dataset.label_space).save(temporary)
    settings = {"data": spec.name, "split": split, "form": form, "seed": seed}
    write_json(out / "report.json", {**settings, "settings": dataclasses.asdict(cfg), **report})
    return report
