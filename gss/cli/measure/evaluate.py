"""`gss evaluate`: measure a pipeline on a data set."""

from argparse import ArgumentParser, Namespace

from gss.cli.checks import check_data, check_metrics, check_pipeline
from gss.cli.parser import add_data, add_files, add_running, add_size, add_window, names
from gss.cli.runtime import parse_device, parse_dtype, report_unreadable

HELP = "measure a pipeline on a data set"
NEEDS = ("gss.pipeline.loading",)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of the pipeline")
    add_data(parser)
    add_window(parser)
    add_size(parser)
    add_running(parser)
    parser.add_argument("--modes", type=names, metavar="A,B", help="decode modes to measure (default: all)")
    help = "further metrics of your own, as module:Name (docs/extending)"
    parser.add_argument("--metrics", type=names, default=[], metavar="A,B", help=help)
    parser.add_argument("--no-card", action="store_true", help="leave the model card of the pipeline as it is")
    add_files(parser, json="the numbers", html="a report with pictures")


def check(args: Namespace) -> None:
    """Refuse wrong names and paths before anything heavy is imported."""
    check_metrics(args.metrics)
    check_pipeline(args.pipeline, modes=args.modes or ())
    check_data(args.data, args.root, [args.split])


def run(args: Namespace) -> int:
    """Measure, write and print; return 1 when images could not be read."""
    from dataclasses import replace
    from pathlib import Path

    from gss.core.distributed import is_main
    from gss.core.files import write_json
    from gss.core.invocation import command_line
    from gss.core.lookup.run_folders import find_pipeline
    from gss.data.open import open_split
    from gss.data.specs.load import load_spec
    from gss.evaluation.segmentation.evaluate import evaluate
    from gss.evaluation.segmentation.page import build_page
    from gss.evaluation.segmentation.tables import segmentation_tables
    from gss.pipeline.loading import load_pipeline
    from gss.pipeline.store.results import add_results
    from gss.pipeline.store.trained import seen_in_training

    spec = load_spec(args.data, args.root)
    dataset = open_split(spec, args.split)
    pipeline = load_pipeline(
        args.pipeline, device=parse_device(args.device), dtype=parse_dtype(args.dtype), exact=args.all_codes
    )
    result = evaluate(
        pipeline,
        dataset,
        modes=args.modes or None,
        window=args.window,
        size=args.size,
        limit=args.limit,
        batch_size=args.batch_size,
        workers=args.workers,
        pictures=6 if args.html else 0,
        progress=True,
        metrics=args.metrics,
    )
    settings = result.settings | {"dtype": args.dtype, "all_codes": args.all_codes}
    local = Path(args.pipeline).expanduser().is_dir()
    seen = seen_in_training(find_pipeline(args.pipeline), args.data, spec.name, args.split) if local else ""
    data = f"{spec.name} {args.split}"
    result = replace(result, seen=seen, pipeline=str(args.pipeline), data=data, settings=settings)
    if is_main():
        if args.json:
            write_json(args.json, result.to_json())
        if args.html:
            build_page(result).save(args.html)
        print(segmentation_tables(result).text())
        # The card states what the whole split gave at the usual size.
        if not args.no_card and not args.limit and args.size is None and local:
            card = add_results(
                find_pipeline(args.pipeline),
                {mode: metrics.to_json() for mode, metrics in result.modes.items()},
                data,
                names=result.class_names,
                mode=result.default_mode,
                images=result.images,
                seen=seen,
                command=command_line(),
            )
            if card is not None:
                print(f"wrote {card}: the model card has these figures now")
    return report_unreadable(result.unreadable)
