"""`gss transfer`: give a trained posterior the classes of another data set."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_data, add_device, add_out, count
from gss.cli.runtime import parse_device

HELP = "give a trained posterior the classes of another data set"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("posterior", help="folder written by `gss train posterior`")
    add_data(parser, split="train")
    parser.add_argument("--val-split", metavar="SPLIT", help="split the ceiling is measured on (default: val, if any)")
    help = "also repaint the codes for the new classes, 500 steps"
    parser.add_argument("--refine", type=count, default=0, metavar="STEPS", help=help)
    add_device(parser)
    add_out(parser)


def run(args: Namespace) -> None:
    """Transfer, measure the ceiling and print it."""
    from gss.data.specs.load import load_spec
    from gss.jobs.transfer import run_transfer

    run_transfer(
        args.posterior,
        load_spec(args.data, args.root),
        args.out,
        split=args.split,
        val_split=args.val_split,
        refine_steps=args.refine,
        limit=args.limit,
        device=parse_device(args.device),
        overwrite=args.overwrite,
    )
