"""`gss weak make`: weak labels from full masks."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import FORM_NAMES, add_limit, add_out, add_split
from gss.cli.runtime import report_unreadable

HELP = "points, scribbles, blocks, boxes, coarse polygons or tags from full masks"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="built-in name, YAML file or folder of a data set with full masks")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings of the form, see docs/weak.md")
    parser.add_argument("--form", required=True, choices=FORM_NAMES)
    add_split(parser)
    parser.add_argument("--share", type=float, metavar="S", help="of blocks: least share of labelled pixels")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    add_limit(parser)
    add_out(parser, "output folder, itself a data set")
    parser.set_defaults(more="settings")


def run(args: Namespace) -> int:
    """Make the labels and print how much is labelled; return 1 when some images have none."""
    from pathlib import Path

    from gss.config.io import load_config, split_overrides
    from gss.config.weak_labels import FORMS
    from gss.core.distributed import is_main
    from gss.core.errors import InputError
    from gss.data.specs.load import load_spec
    from gss.weak.make.make import make_weak_labels

    files, overrides = split_overrides(args.settings)
    if args.share is not None:
        if args.form != "blocks":
            raise InputError(f"--share is the labelled share of blocks; {args.form} takes settings such as length=0.5")
        overrides.append(f"share={args.share}")
    report = make_weak_labels(
        load_spec(args.spec, args.root),
        args.split,
        args.form,
        load_config(FORMS[args.form], files, overrides),
        Path(args.out),
        seed=args.seed,
        limit=args.limit,
        overwrite=args.overwrite,
    )
    if is_main():
        print(report.table().text())
        print(f"\nwritten to {args.out}; train on it with data.spec={args.out} data.train_split={args.split}")
    return report_unreadable(report.unreadable)
