"""Arguments of `gss weak`; nothing heavy is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Callable

FORM_NAMES = ("points", "scribbles", "blocks", "boxes", "coarse", "tags")


def add_weak(
    commands: argparse._SubParsersAction,
    count: Callable[[str], int],
    size: Callable[[str], tuple[int, int]],
    listed: Callable[[str], list[str]],
) -> None:
    """Add `gss weak` and its actions.

    Args:
        commands: sub-parsers of the main command.
        count: type of an argument that is a whole number above 0.
        size: type of an argument that is a size of images.
        listed: type of an argument that is a list of names.
    """
    weak = commands.add_parser("weak", help="train from weak labels; make, import, refine and judge them")
    actions = weak.add_subparsers(metavar="ACTION", required=True)

    _add_run(actions, size, listed)
    action = actions.add_parser(
        "make", help="points, scribbles, blocks, boxes, coarse polygons or tags from full masks"
    )
    action.add_argument("spec", help="built-in name, YAML file or folder of a data set with full masks")
    action.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings of the form, see docs/weak.md")
    action.add_argument("--form", required=True, choices=FORM_NAMES)
    _add_split(action)
    action.add_argument("--share", type=float, metavar="S", help="of blocks: least share of labelled pixels")
    action.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    action.add_argument("--limit", type=count, metavar="N", help="use only N images, evenly spread")
    _add_out(action)
    action.set_defaults(handler="gss.weak.make.make.main", more="settings")

    action = actions.add_parser("import", help="bring masks made elsewhere into the layout of pseudo-masks")
    action.add_argument("spec", help="data set of the images")
    action.add_argument("--masks", required=True, metavar="DIR", help="folder of ID.png: class numbers, 255 or K: none")
    action.add_argument("--confidence", metavar="DIR", help="folder of ID.png, 8 or 16 bits, white is certain")
    action.add_argument("--producer", default="import", metavar="NAME", help="who made them (default: %(default)s)")
    _add_split(action)
    _add_out(action)
    action.set_defaults(handler="gss.weak.imported.main")

    action = actions.add_parser("refine", help="spread partial or uncertain labels along the edges of the images")
    action.add_argument("spec", help="data set with weak labels or pseudo-masks")
    action.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings, see docs/weak.md")
    _add_split(action)
    action.add_argument("--limit", type=count, metavar="N", help="use only N images, evenly spread")
    _add_out(action)
    action.set_defaults(handler="gss.weak.refine.labels.main", more="settings")

    action = actions.add_parser("produce", help="pseudo-masks from a trained pipeline or tag classifier")
    action.add_argument("pipeline", help="folder of a pipeline, or of the classifier of `gss train weak-tags`")
    settings = "settings, see docs/weak-agmm.md and docs/weak-tags.md"
    action.add_argument("settings", nargs="*", metavar="KEY=VALUE", help=settings)
    action.add_argument("--data", required=True, metavar="SPEC", help="data set with weak labels or partial masks")
    _add_split(action)
    _add_out(action)
    action.set_defaults(handler="gss.weak.agmm.produce.main", more="settings")

    action = actions.add_parser("collect", help="images that a tag classifier takes for what they do not show")
    action.add_argument("pipeline", help="folder of the tag classifier, such as that of `gss train weak-tags`")
    action.add_argument("--images", nargs="+", required=True, metavar="FOLDER", help="searched with all folders below")
    action.add_argument(
        "--threshold", type=float, default=0.5, metavar="P", help="least probability of a class (default: %(default)s)"
    )
    action.add_argument("--per-class", type=count, metavar="N", help="keep only the N highest of each predicted class")
    action.add_argument("--exclude", metavar="FILE", help="list of rejected images that review.html of --out gave")
    action.add_argument("--link", action="store_true", help="symbolic links to the images in place of copies")
    action.add_argument("--out", required=True, help="output folder: images, review.html and ood.json")
    action.add_argument("--overwrite", action="store_true", help="replace earlier results in --out")
    action.set_defaults(handler="gss.weak.tags.collect.main")

    action = actions.add_parser("seeds", help="precision and recall of class activation maps, over all thresholds")
    names = "tag classifiers, the first one to compare to; and size, scales, flip of the maps"
    action.add_argument("classifiers", nargs="+", metavar="FOLDER | KEY=VALUE", help=names)
    action.add_argument("--data", required=True, metavar="SPEC", help="data set with tags")
    _add_split(action)
    action.add_argument("--truth", metavar="SPEC", help="data set with full masks of the same images (default: --data)")
    action.add_argument("--truth-root", metavar="DIR", help="folder of that data set")
    action.add_argument("--truth-split", metavar="NAME", help="its split (default: --split)")
    text = "recall at which precisions are compared (default: that of the first classifier where its mIoU is best)"
    action.add_argument("--recall", type=float, metavar="SHARE", help=text)
    action.add_argument("--json", metavar="FILE", help="write all thresholds and classes here")
    action.add_argument("--sheet", metavar="FILE.png", help="write pictures of the maps here")
    action.set_defaults(handler="gss.weak.tags.seed_curve.main", more="classifiers")

    action = actions.add_parser("report", help="coverage of labels, and their quality where full masks exist")
    action.add_argument("spec", help="data set whose labels are judged")
    action.add_argument("--root", help="folder of the images")
    action.add_argument("--split", default="train", help="default: %(default)s")
    action.add_argument("--truth", metavar="SPEC", help="data set with full masks of the same images")
    action.add_argument("--truth-root", metavar="DIR", help="folder of that data set")
    action.add_argument("--truth-split", metavar="NAME", help="its split (default: --split)")
    action.add_argument("--json", metavar="FILE", help="write the numbers here too")
    action.add_argument("--html", metavar="FILE", help="write a report with pictures here")
    action.set_defaults(handler="gss.weak.quality.main")


def _add_run(
    actions: argparse._SubParsersAction, size: Callable[[str], tuple[int, int]], listed: Callable[[str], list[str]]
) -> None:
    action = actions.add_parser("run", help="from weak labels to an evaluated pipeline, in one command")
    action.add_argument(
        "settings",
        nargs="*",
        metavar="SPEC | KEY=VALUE",
        help="data set with weak labels, if there are no --images; STAGE.KEY=VALUE and SECTION.KEY=VALUE, see "
        "docs/weak-run.md",
    )
    action.add_argument("--images", metavar="DIR", help="folder of images")
    action.add_argument("--labels", metavar="PATH", help="folder or file of their weak labels")
    action.add_argument("--classes", metavar="FILE", help="class names: one a line, or YAML with names or colours")
    action.add_argument(
        "--form",
        choices=("auto", *FORM_NAMES),
        default="auto",
        help="of the labels (default: by the looks of the files)",
    )
    action.add_argument("--root", help="folder of the data set SPEC")
    action.add_argument("--split", help="split of SPEC to train on (default: train)")
    action.add_argument(
        "--val",
        metavar="SPEC[:SPLIT]",
        help="what is measured on: another data set, a split of SPEC, or none (default: split val of SPEC; with "
        "--images the last fifth of them)",
    )
    action.add_argument("--truth", metavar="SPEC[:SPLIT]", help="full masks of the training images, to judge labels by")
    action.add_argument("--size", type=size, metavar="HxW", help="resize images to this (default: to at most 192x256)")
    action.add_argument("--stages", type=listed, default=[], metavar="A,B", help="run only these (default: all)")
    again = action.add_mutually_exclusive_group()
    again.add_argument("--redo", metavar="STAGE", help="run this stage and what follows again")
    again.add_argument("--overwrite", action="store_true", help="run all stages again")
    action.add_argument("--out", required=True, help="folder of the job; call again to go on")
    action.set_defaults(handler="gss.jobs.weak_run.run.main", more="settings")


def _add_split(action: argparse.ArgumentParser) -> None:
    action.add_argument("--root", help="folder of the data set")
    action.add_argument("--split", default="train", help="default: %(default)s")


def _add_out(action: argparse.ArgumentParser) -> None:
    action.add_argument("--out", required=True, help="output folder, itself a data set")
    action.add_argument("--overwrite", action="store_true", help="replace earlier results in --out")
