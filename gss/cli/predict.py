"""`gss predict`: segment images."""

import sys
from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_out, add_running, add_window
from gss.cli.runtime import parse_device, parse_dtype

HELP = "segment images"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of the pipeline")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders or quoted globs")
    add_out(parser)
    add_window(parser)
    add_running(parser, batch_size=4)
    help = "hard, marginal, expected, aux, fused, density or joint (default: best)"
    parser.add_argument("--decode", metavar="MODE", help=help)
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image")
    parser.set_defaults(more="images")


def run(args: Namespace) -> int:
    """Segment what can be read; return 1 when an image failed."""
    from pathlib import Path

    from gss.core.distributed import is_main, run_on_main
    from gss.core.outputs import prepare_output
    from gss.data.files import find_images
    from gss.jobs.predict import predict
    from gss.pipeline.loading import load_pipeline

    out = Path(args.out)
    paths = find_images(args.images, exclude=out)
    pipeline = load_pipeline(
        args.pipeline, device=parse_device(args.device), dtype=parse_dtype(args.dtype), exact=args.all_codes
    )
    decode = args.decode or pipeline.default_decode
    pipeline.check_inputs([decode], window=args.window)
    # Once for all processes: the second would find the first one's files.
    run_on_main(lambda: prepare_output(out, overwrite=args.overwrite))
    result = predict(
        pipeline,
        paths,
        out,
        source=args.pipeline,
        decode=decode,
        window=args.window,
        flip=args.flip,
        batch_size=args.batch_size,
        workers=args.workers,
    )
    if is_main():
        for failure in result.failed:
            print(f"gss: error: {failure.error}", file=sys.stderr)
        print(f"{len(result.images)} of {len(paths)} images segmented into {out}")
    return 1 if result.failed else 0
