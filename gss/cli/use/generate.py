"""`gss generate`: draw masks without an image."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from gss.cli.checks import check_joint, check_out
from gss.cli.parser import add_out, add_size, size
from gss.cli.use.drawing import add_sampling, check_sampling, load, report
from gss.pipeline.sampling import defaults

HELP = "draw masks without an image"
NEEDS = ("gss.pipeline.loading",)


def proportions(text: str) -> dict[str, float]:
    """Parse class proportions, CLASS=SHARE with commas."""
    result: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = (piece.strip() for piece in part.rpartition("="))
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not name or not 0 <= value <= 1 or name in result:
            raise ArgumentTypeError(f"{text!r} is not CLASS=SHARE with commas, such as road=0.4,sky=0.6")
        result[name] = value
    return result


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of a pipeline with a joint prior")
    add_out(parser)
    add_sampling(parser, n=6, what="number of masks", settings=defaults.GENERATE, steps=16)
    add_size(parser, "size of the masks (default: that of a window)")
    help = "wanted shares of the pixels by class, which sum to 1, such as road=0.4,sky=0.6"
    parser.add_argument("--proportions", type=proportions, metavar="CLASS=SHARE,...", help=help)
    help = "size of the windows that larger masks are drawn in (default: that of training)"
    parser.add_argument("--window-size", type=size, metavar="HxW", help=help)


def check(args: Namespace) -> None:
    """Refuse wrong paths and settings before anything heavy is imported."""
    check_joint(args.pipeline, "gss generate")
    check_sampling(args)
    check_out(args)


def run(args: Namespace) -> int:
    """Draw the masks."""
    from pathlib import Path

    from gss.core.distributed import run_on_main
    from gss.core.outputs import prepare_output
    from gss.jobs.sampling.generate import generate_masks
    from gss.pipeline.sampling.proportions import read_proportions

    out = Path(args.out)
    pipeline, draws = load(args, "gss generate")
    if args.proportions is not None:
        read_proportions(args.proportions, pipeline.id2label)
    run_on_main(lambda: prepare_output(out, overwrite=args.overwrite))
    done, failed = generate_masks(
        pipeline,
        out,
        draws,
        proportions=args.proportions,
        window_size=args.window_size,
        facts={"pipeline": args.pipeline},
    )
    return report(failed, f"{len(done)} masks written into {out}")
