"""`gss evaluate-samples`: measure the masks that a pipeline draws."""

from argparse import ArgumentParser, Namespace

from gss.cli.checks import check_choices, check_data, check_joint, check_range
from gss.cli.parser import add_data, add_device, add_files, add_workers, count, count_or_none, counts, names, numbers
from gss.cli.runtime import parse_device, report_unreadable

HELP = "measure drawn, completed and generated masks"
NEEDS = ("gss.pipeline.loading",)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of a pipeline with a joint prior")
    add_data(parser)
    help = "split whose masks were trained on, which generated ones are compared with (default: %(default)s)"
    parser.add_argument("--train-split", default="train", metavar="NAME", help=help)
    help = "what to measure: bits, hypotheses, completion, corrections, layouts (default: all)"
    parser.add_argument("--parts", type=names, metavar="A,B", help=help)
    parser.add_argument("-n", type=count, default=16, metavar="N", help="hypotheses of an image (default: %(default)s)")
    parser.add_argument("--steps", type=count, default=8, metavar="S", help="steps of a path (default: %(default)s)")
    help = "kinds of given pixels: random, blocks, border, components, strokes (default: all)"
    parser.add_argument("--kinds", type=names, metavar="A,B", help=help)
    help = "shares of given pixels, with commas (default: %(default)s)"
    parser.add_argument("--shares", type=numbers, default="0.01,0.05,0.1,0.25,0.5", metavar="A,B", help=help)
    help = "images that are completed, and images that are corrected (default: %(default)s)"
    parser.add_argument("--completed", type=counts, default="10,5", metavar="A,B", help=help)
    help = "corrections of an image (default: %(default)s)"
    parser.add_argument("--corrections", type=count, default=10, metavar="N", help=help)
    help = "masks drawn without image (default: %(default)s)"
    parser.add_argument("--generated", type=count, default=64, metavar="N", help=help)
    parser.add_argument("--seed", type=count_or_none, default=0, help="seed of all draws (default: %(default)s)")
    add_device(parser)
    add_workers(parser)
    add_files(parser, json="the numbers", html="a report with pictures")


def check(args: Namespace) -> None:
    """Refuse wrong names and paths before anything heavy is imported."""
    from gss.core.errors import InputError
    from gss.evaluation.samples.names import KINDS, PARTS

    check_choices("part", args.parts, PARTS, "--parts")
    check_choices("kind of given pixels", args.kinds, KINDS, "--kinds", plural="kinds of given pixels")
    for share in args.shares:
        check_range("--shares", share, 0, 1, "0.1")
    if len(args.completed) != 2:
        raise InputError("--completed takes two numbers, such as 10,5")
    check_joint(args.pipeline, "gss evaluate-samples")
    check_data(args.data, args.root, [args.split])


def run(args: Namespace) -> int:
    """Measure, write and print; return 1 when images could not be read."""
    from dataclasses import replace

    from gss.core.distributed import is_main
    from gss.core.files import write_json
    from gss.data.open import open_split
    from gss.data.specs.load import load_spec
    from gss.evaluation.samples.evaluate import evaluate_samples
    from gss.evaluation.samples.names import KINDS, PARTS
    from gss.evaluation.samples.page import build_page
    from gss.evaluation.samples.protocol import SampleProtocol
    from gss.evaluation.samples.tables import sample_tables
    from gss.pipeline.loading import load_pipeline
    from gss.weak.refine.labels import spread_labels

    protocol = SampleProtocol(
        parts=tuple(args.parts or PARTS),
        n=args.n,
        steps=args.steps,
        kinds=tuple(args.kinds or KINDS),
        shares=tuple(args.shares),
        completion_images=args.completed[0],
        correction_images=args.completed[1],
        corrections=args.corrections,
        generated=args.generated,
        limit=args.limit,
        seed=args.seed,
    )
    spec = load_spec(args.data, args.root)
    dataset = open_split(spec, args.split)
    train = open_split(spec, args.train_split) if "layouts" in protocol.parts else None
    pipeline = load_pipeline(args.pipeline, device=parse_device(args.device), stage="joint")
    result = evaluate_samples(
        pipeline,
        dataset,
        train=train,
        protocol=protocol,
        spread=lambda image, labels: spread_labels(image, labels, len(spec.label_space.names)),
        workers=args.workers,
        pictures=6 if args.html else 0,
        progress=True,
    )
    result = replace(result, pipeline=str(args.pipeline), data=f"{spec.name} {args.split}")
    if is_main():
        if args.json:
            write_json(args.json, result.to_json())
        if args.html:
            build_page(result).save(args.html)
        print(sample_tables(result).text())
    return report_unreadable(result.unreadable)
