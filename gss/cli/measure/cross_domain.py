"""`gss cross-domain`: measure pipelines on data sets they were not trained on."""

from argparse import ArgumentParser, Namespace

from gss.cli.checks import check_data, check_known_names, check_pipeline, check_range
from gss.cli.parser import (
    add_false_alarms,
    add_files,
    add_limit,
    add_running,
    add_size,
    add_window,
    count,
    names,
    numbers,
)
from gss.cli.runtime import parse_device, parse_dtype, report_unreadable

HELP = "measure pipelines on data sets they were not trained on"
NEEDS = ("gss.pipeline.loading",)
MAX_ROWS = 40
"""Rows of the longest table of classes that is printed; the files have all."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--pipelines",
        nargs="+",
        required=True,
        metavar="[NAME=]FOLDER[,FOLDER]",
        help="folders of pipelines; seeds of one model form a group, by NAME or by folders that end in _s0, _s1, ...",
    )
    help = "built-in name, YAML file or folder"
    parser.add_argument("--data", nargs="+", required=True, metavar="SPEC[:SPLIT]", help=help)
    parser.add_argument("--roots", nargs="+", default=[], metavar="NAME=FOLDER", help="folders of data sets")
    parser.add_argument("--split", default="val", help="of data sets that name none (default: %(default)s)")
    add_limit(parser)
    parser.add_argument("--map", nargs="+", default=[], metavar="FILE.yaml", help="mappings by 'gss data map --out'")
    parser.add_argument("--mseg", metavar="FILE", help="MSeg_master.tsv: map by way of its universal classes")
    parser.add_argument("--one-to-one", action="store_true", help="refuse mappings that merge or divide classes")
    parser.add_argument("--in-domain", metavar="NAME", help="test set like the training data (default: model cards)")
    parser.add_argument("--modes", type=names, metavar="A,B", help="decode modes to measure (default: all)")
    parser.add_argument("--scores", type=names, metavar="A,B", help="out-of-distribution scores (default: all common)")
    add_false_alarms(parser, "in domain")
    sizes = parser.add_mutually_exclusive_group()
    add_size(sizes)
    help = "shorter side; of several, keep the best"
    sizes.add_argument("--short-side", type=count, nargs="+", default=[], metavar="N", help=help)
    add_window(parser)
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image")
    parser.add_argument("--scales", type=numbers, default="1", metavar="A,B", help="average over relative sizes")
    add_running(parser, batch="windows of an image run at once")
    add_files(parser, json="the numbers", markdown="the tables", html="a report with heat maps and pictures")


def check(args: Namespace) -> None:
    """Refuse wrong names and paths before anything heavy is imported."""
    from pathlib import Path

    from gss.core.errors import InputError
    from gss.data.specs.spec import named_split

    check_range("--false-alarms", args.false_alarms, 0, 1, "0.05")
    check_known_names(args.modes, args.scores)
    for entry in args.pipelines:
        name, equals, rest = entry.partition("=")
        folders = rest.split(",") if equals and "/" not in name else [entry]
        for folder in filter(None, map(str.strip, folders)):
            check_pipeline(folder)
    for file in args.map:
        if not Path(file).is_file():
            raise InputError(f"--map {file}: there is no such file; 'gss data map --out {file}' writes one")
    if args.mseg and not Path(args.mseg).is_file():
        raise InputError(f"--mseg {args.mseg}: cannot read the MSeg table, there is no such file")
    roots = dict(entry.partition("=")[::2] for entry in args.roots)
    for ref in args.data:
        spec, split = named_split(ref) or (ref, args.split)
        check_data(spec, roots.get(spec), [split])


def run(args: Namespace) -> int:
    """Measure, write and print; return 1 when images could not be read."""
    from dataclasses import replace

    from gss.core.distributed import is_main
    from gss.core.files import write_json
    from gss.evaluation import write_markdown
    from gss.evaluation.cross_domain.evaluate import evaluate_folders
    from gss.evaluation.cross_domain.inputs import group_folders, open_test_sets
    from gss.evaluation.cross_domain.page import build_page
    from gss.evaluation.cross_domain.protocol import DEFAULT_SCORES, Protocol
    from gss.evaluation.cross_domain.tables import cross_domain_tables

    protocol = Protocol(
        size=args.size,
        short_sides=tuple(args.short_side),
        window=args.window,
        flip=args.flip,
        scales=tuple(args.scales),
        modes=None if args.modes is None else tuple(args.modes),
        scores=DEFAULT_SCORES if args.scores is None else tuple(args.scores),
        false_alarms=args.false_alarms,
        limit=args.limit,
        batch_size=args.batch_size,
    )
    result = evaluate_folders(
        group_folders(args.pipelines),
        open_test_sets(args.data, args.roots, args.split),
        protocol=protocol,
        mapping_files=args.map,
        mseg_file=args.mseg,
        one_to_one=args.one_to_one,
        in_domain=args.in_domain,
        device=parse_device(args.device),
        dtype=parse_dtype(args.dtype),
        exact=args.all_codes,
        pictures=3 if args.html else 0,
        workers=args.workers,
        progress=True,
    )
    result = replace(result, settings=result.settings | {"dtype": args.dtype, "all_codes": args.all_codes})
    if is_main():
        if args.json:
            write_json(args.json, result.to_json())
        if args.markdown:
            write_markdown(result, args.markdown)
        if args.html:
            build_page(result).save(args.html)
        print(cross_domain_tables(result).text(max_rows=MAX_ROWS))
    return report_unreadable(image for test_set in result.data.values() for image in test_set.unreadable)
