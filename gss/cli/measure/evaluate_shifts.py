"""`gss evaluate-shifts`: measure pipelines under shifts of the images."""

from argparse import ArgumentParser, Namespace

from gss.cli.checks import check_data, check_known_names, check_pipeline, check_range
from gss.cli.parser import add_data, add_false_alarms, add_files, add_running, add_shifts, add_size, add_window, names
from gss.cli.runtime import parse_device, parse_dtype, report_unreadable

HELP = "measure pipelines under noise, blur, weather, ..."
NEEDS = ("gss.pipeline.loading",)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--pipelines", nargs="+", required=True, metavar="FOLDER", help="folders of pipelines")
    add_data(parser)
    add_shifts(parser, severities="1,3,5")
    parser.add_argument("--modes", type=names, default=[], metavar="A,B", help="more decode modes than the default")
    help = "out-of-distribution scores (default: that of each pipeline)"
    parser.add_argument("--scores", type=names, metavar="A,B", help=help)
    help = "clean images that set the threshold of alarms (default: --split)"
    parser.add_argument("--threshold-split", metavar="SPLIT", help=help)
    add_false_alarms(parser, "there")
    add_window(parser)
    add_size(parser)
    add_running(parser, batch="shifted versions of an image run at once")
    add_files(parser, json="the numbers", html="a report with curves and pictures")


def check(args: Namespace) -> None:
    """Refuse wrong names and paths before anything heavy is imported."""
    from gss.data.shifts.apply import choose_severities, choose_shifts

    choose_shifts(args.shifts), choose_severities(args.severities)
    check_range("--false-alarms", args.false_alarms, 0, 1, "0.05")
    check_known_names(args.modes, args.scores)
    for folder in args.pipelines:
        check_pipeline(folder)
    check_data(args.data, args.root, [name for name in (args.split, args.threshold_split) if name])


def run(args: Namespace) -> int:
    """Measure, write and print; return 1 when images could not be read."""
    from dataclasses import replace

    from gss.core.distributed import is_main
    from gss.core.files import write_json
    from gss.data.open import open_split
    from gss.data.shifts.apply import choose_severities, choose_shifts
    from gss.data.specs.load import load_spec
    from gss.evaluation.names import short_names
    from gss.evaluation.shifts.evaluate import evaluate_shifts
    from gss.evaluation.shifts.page import build_page
    from gss.evaluation.shifts.tables import shift_tables
    from gss.pipeline.loading import load_pipeline

    shifts, severities = choose_shifts(args.shifts), choose_severities(args.severities)
    spec = load_spec(args.data, args.root)
    dataset = open_split(spec, args.split)
    other = args.threshold_split if args.threshold_split != args.split else None
    threshold_data = open_split(spec, other) if other else None
    folders = short_names(args.pipelines)
    device, dtype = parse_device(args.device), parse_dtype(args.dtype)
    result = evaluate_shifts(
        {name: load_pipeline(path, device=device, dtype=dtype, exact=args.all_codes) for name, path in folders.items()},
        dataset,
        shifts=shifts,
        severities=severities,
        modes=args.modes,
        scores=args.scores,
        threshold_data=threshold_data,
        false_alarms=args.false_alarms,
        seed=args.seed,
        window=args.window,
        size=args.size,
        limit=args.limit,
        batch_size=args.batch_size,
        workers=args.workers,
        pictures=bool(args.html),
        progress=True,
    )
    facts = {
        "pipelines": folders,
        "threshold_from": f"clean images of {other or args.split}",
        "dtype": args.dtype,
        "all_codes": args.all_codes,
    }
    result = replace(result, data=f"{spec.name} {args.split}", settings=result.settings | facts)
    if is_main():
        if args.json:
            write_json(args.json, result.to_json())
        if args.html:
            build_page(result).save(args.html)
        print(shift_tables(result).text())
    return report_unreadable(result.unreadable)
