"""`gss sample`: draw several masks of each image."""

from argparse import ArgumentParser, Namespace

from gss.cli.checks import check_joint, check_out
from gss.cli.parser import add_out
from gss.cli.use.drawing import add_run_size, add_sampling, check_sampling, load, report
from gss.pipeline.sampling import defaults

HELP = "draw several masks of each image, and say where to look first"
NEEDS = ("gss.pipeline.loading",)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of a pipeline with a joint prior")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders or quoted globs")
    add_out(parser)
    add_sampling(parser, n=8, what="masks of each image", settings=defaults.SAMPLE)
    add_run_size(parser)
    parser.set_defaults(more="images")


def check(args: Namespace) -> None:
    """Refuse wrong paths and settings before anything heavy is imported."""
    from pathlib import Path

    from gss.data.files import find_images

    check_joint(args.pipeline, "gss sample")
    find_images(args.images, exclude=Path(args.out))
    check_sampling(args)
    check_out(args)


def run(args: Namespace) -> int:
    """Draw masks of what can be read; return 1 when an image failed."""
    from pathlib import Path

    from gss.core.distributed import run_on_main
    from gss.core.outputs import prepare_output
    from gss.data.files import find_images
    from gss.jobs.sampling.sample import sample_images

    out = Path(args.out)
    paths = find_images(args.images, exclude=out)
    pipeline, draws = load(args, "gss sample")
    run_on_main(lambda: prepare_output(out, overwrite=args.overwrite))
    done, failed = sample_images(
        pipeline,
        paths,
        out,
        draws,
        facts={"pipeline": args.pipeline},
    )
    return report(failed, f"{args.n} masks of each of {len(done)} of {len(paths)} images written into {out}")
