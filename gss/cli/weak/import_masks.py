"""`gss weak import`: bring masks made elsewhere into the layout of pseudo-masks."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_out, add_split
from gss.cli.weak import report_manifest

HELP = "bring masks made elsewhere into the layout of pseudo-masks"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="data set of the images")
    parser.add_argument("--masks", required=True, metavar="DIR", help="folder of ID.png: class numbers, 255 or K: none")
    parser.add_argument("--confidence", metavar="DIR", help="folder of ID.png, 8 or 16 bits, white is certain")
    parser.add_argument("--producer", default="import", metavar="NAME", help="who made them (default: %(default)s)")
    add_split(parser)
    add_out(parser, "output folder, itself a data set")


def run(args: Namespace) -> int:
    """Import the masks and print what they hold."""
    from gss.data.specs.load import load_spec
    from gss.weak.imported import import_masks

    manifest = import_masks(
        load_spec(args.spec, args.root),
        args.split,
        args.masks,
        args.out,
        confidence=args.confidence,
        producer=args.producer,
        overwrite=args.overwrite,
    )
    return report_manifest(manifest, args.out)
