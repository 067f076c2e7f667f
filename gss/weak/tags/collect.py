"""`gss weak collect`: hard out-of-distribution images, those in which a tag classifier sees what is not there.

Whoever gathers images of some classes also meets images without any of them, which cost nothing. Those that the
classifier all the same calls one of its classes show it what it confuses (Lee et al., CVPR 2022, section 3.1). Whether
an image truly holds none can only be said by a person: every run writes a page to look through, and leaves out what was
rejected on it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gss.core import distributed
from gss.core.errors import InputError, did_you_mean
from gss.core.files import atomic_path, write_json
from gss.data.files import output_names
from gss.weak.tags.review_page import build_page
from gss.weak.tags.scores import Candidate, score_images

MANIFEST, PAGE, FOLDER = "ood.json", "review.html", "images"


@dataclass(frozen=True)
class Collected:
    """What `collect` has found.

    Attributes:
        kept: highest score first within a class, classes in order.
        others: scored, but not kept.
        failed: `{"image", "error"}` of the files that could not be read.
    """

    kept: list[Candidate]
    others: list[Candidate]
    failed: list[dict[str, str]]


def choose(
    candidates: Sequence[Candidate], num_classes: int, *, threshold: float, per_class: int | None
) -> list[list[Candidate]]:
    """Candidates with a score of at least `threshold` by predicted class, the highest `per_class` of each."""
    ranked = sorted(candidates, key=lambda one: (-one.score, one.image))
    passing = [one for one in ranked if one.score >= threshold]
    return [[one for one in passing if one.predicted == k][:per_class] for k in range(num_classes)]


def collect(
    logits_of: Callable[[Tensor], Tensor],
    class_names: Sequence[str],
    files: Sequence[Path],
    out: Path,
    *,
    threshold: float = 0.5,
    per_class: int | None = None,
    excluded: Collection[str] = (),
    size: int = 320,
    batch_size: int = 16,
    link: bool = False,
    source: str = "",
    device: torch.device | str = "cpu",
) -> Collected:
    """Scores images and writes those that look most like a class.

    `out` then holds `images/` (the kept ones, a folder of out-of-distribution images), `review.html` (to reject those
    that do hold a class) and, last, the manifest `ood.json` with every scored image. Each is complete or not there;
    `images/` of an earlier run is replaced as a whole.

    Args:
        logits_of: images `[B, 3, H, W]` in 0..1 to logits `[B, K]`; in evaluation mode.
        class_names: K names.
        files: image files.
        out: existing folder.
        threshold: least score of an image that is kept, 0..1.
        per_class: most images that are kept of each predicted class; all when None.
        excluded: absolute paths not to look at, see `read_excluded`.
        size: longer side in pixels at which images are scored.
        batch_size: images a call.
        link: make symbolic links to the images in place of copies.
        source: where the classifier comes from, for the manifest.
        device: of the classifier.

    Raises:
        ValueError: no images, a number out of range, or no image that is kept; then nothing is written.
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold is {threshold}; scores are probabilities, give 0..1")
    for name, value in (("per_class", per_class), ("size", size), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    looked_at = [path for path in files if os.path.abspath(path) not in excluded]
    if not looked_at:
        raise InputError("no image to score" + (f": all {len(files)} are excluded" if files else "; give some"))
    scored, failed = score_images(
        logits_of, len(class_names), looked_at, size=size, batch_size=batch_size, device=device
    )
    if not scored:
        raise InputError(f"none of the {len(failed)} images can be read; the first: {failed[0]['error']}")
    groups = choose(scored, len(class_names), threshold=threshold, per_class=per_class)
    chosen = [one for group in groups for one in group]
    if not chosen:
        best = max(scored, key=lambda one: one.score)
        raise InputError(
            f"none of {len(scored)} images has a score of at least {threshold}; the highest is {best.score:.3f}, for "
            f"{class_names[best.predicted]} in {best.image}; lower the threshold or look through more images"
        )
    names = output_names([Path(one.image) for one in chosen])
    kept = [
        Candidate(one.image, one.predicted, one.score, f"{FOLDER}/{name}{Path(one.image).suffix}")
        for one, name in zip(chosen, names, strict=True)
    ]
    taken = {one.image for one in kept}
    result = Collected(kept, [one for one in scored if one.image not in taken], failed)
    if distributed.is_main():
        settings = {"classifier": source, "threshold": threshold, "per_class": per_class, "size": size}
        _write(result, class_names, out, sorted(excluded), settings, link=link)
    distributed.barrier()
    return result


def read_excluded(path: str | os.PathLike[str], files: Sequence[Path]) -> list[str]:
    """Absolute paths of rejected images, one a line, as the review page writes them; empty lines do not count.

    Args:
        path: text file.
        files: the images that are looked through.

    Raises:
        ValueError: unreadable, or a line that names none of the images.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list of excluded images {path}: {error}") from error
    known = {os.path.abspath(file) for file in files}
    for number, line in enumerate(lines, start=1):
        if line and line not in known:
            hint = did_you_mean(line, [one for one in known if Path(one).name == Path(line).name])
            raise InputError(
                f"{path} line {number}: {line!r} is none of the {len(known)} images; give the absolute paths that "
                f"{MANIFEST} lists, and the same folders as before {hint}".rstrip()
            )
    return [line for line in lines if line]


def _write(
    result: Collected,
    class_names: Sequence[str],
    out: Path,
    excluded: list[str],
    settings: dict[str, object],
    *,
    link: bool,
) -> None:
    with atomic_path(out / FOLDER) as temporary:
        temporary.mkdir()
        for one in result.kept:
            assert one.file is not None
            place = temporary / Path(one.file).name
            if link:
                place.symlink_to(one.image)
            else:
                shutil.copyfile(one.image, place)
    rows = [(class_names[one.predicted], one.image, one.score) for one in result.kept]
    build_page(rows, excluded, title=str(settings["classifier"])).save(out / PAGE)
    records = sorted([*result.kept, *result.others], key=lambda one: (-one.score, one.image))
    write_json(
        out / MANIFEST,
        {
            **settings,
            "classes": {name: sum(one.predicted == k for one in result.kept) for k, name in enumerate(class_names)},
            "kept": len(result.kept),
            "excluded": excluded,
            "failed": result.failed,
            "images": [
                {
                    "image": one.image,
                    "predicted": class_names[one.predicted],
                    "score": round(one.score, 6),
                    "kept": one.file is not None,
                    "file": one.file,
                }
                for one in records
            ],
        },
    )
