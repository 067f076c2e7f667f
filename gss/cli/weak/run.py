"""`gss weak run`: from weak labels to an evaluated pipeline."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import FORM_NAMES, add_job, add_size, names

HELP = "from weak labels to an evaluated pipeline, in one command"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    help = (
        "data set with weak labels, if there are no --images; STAGE.KEY=VALUE and SECTION.KEY=VALUE, see "
        "docs/weak-run.md"
    )
    parser.add_argument("settings", nargs="*", metavar="SPEC | KEY=VALUE", help=help)
    parser.add_argument("--images", metavar="DIR", help="folder of images")
    parser.add_argument("--labels", metavar="PATH", help="folder or file of their weak labels")
    parser.add_argument("--classes", metavar="FILE", help="class names: one a line, or YAML with names or colours")
    help = "of the labels (default: by the looks of the files)"
    parser.add_argument("--form", choices=("auto", *FORM_NAMES), default="auto", help=help)
    parser.add_argument("--root", help="folder of the data set SPEC")
    parser.add_argument("--split", help="split of SPEC to train on (default: train)")
    help = (
        "what is measured on: another data set, a split of SPEC, or none (default: split val of SPEC; with --images "
        "the last fifth of them)"
    )
    parser.add_argument("--val", metavar="SPEC[:SPLIT]", help=help)
    parser.add_argument("--truth", metavar="SPEC[:SPLIT]", help="full masks of the training images, to judge labels by")
    add_size(parser, "resize images to this (default: to at most 192x256)")
    parser.add_argument("--stages", type=names, default=[], metavar="A,B", help="run only these (default: all)")
    add_job(parser, "stage")
    parser.add_argument("--out", required=True, help="folder of the job; call again to continue")
    parser.set_defaults(more="settings")


def run(args: Namespace) -> None:
    """Run the job."""
    from pathlib import Path

    from gss.config.io import split_overrides
    from gss.core.errors import InputError
    from gss.jobs.weak_run.inputs import RunInputs
    from gss.jobs.weak_run.run import run_weak

    refs, overrides = split_overrides(args.settings)
    if len(refs) > 1:
        raise InputError("give one data set with weak labels, or --images, --labels and --classes in place of it")
    inputs = RunInputs(
        data=refs[0] if refs else None,
        root=args.root,
        split=args.split,
        images=args.images,
        labels=args.labels,
        classes=args.classes,
        form=args.form,
        val=args.val,
        truth=args.truth,
        size=args.size,
    )
    run_weak(
        inputs, Path(args.out), settings=overrides, stages=args.stages, redo=args.redo or "", overwrite=args.overwrite
    )
