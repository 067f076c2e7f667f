"""`gss evaluate-ood`: measure out-of-distribution scores of a pipeline."""

import sys
from argparse import ArgumentParser, Namespace

from gss.cli.checks import check_data, check_pipeline
from gss.cli.parser import add_files, add_force, add_limit, add_running, add_size, add_window, names
from gss.cli.runtime import one_line, parse_device, parse_dtype, report_unreadable

HELP = "measure out-of-distribution scores of a pipeline"
_STAGE = "density"  # of a job, the pipeline that has most scores
NEEDS = ("gss.pipeline.loading",)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of the pipeline")
    help = "built-in names, YAML files or folders; see docs/ood.md"
    parser.add_argument("--data", nargs="+", required=True, metavar="SPEC", help=help)
    parser.add_argument("--root", nargs="+", help="folder of the data set: one for all, or one for each of --data")
    parser.add_argument("--split", help="default: the only one, or the first of val, test, all")
    parser.add_argument("--outliers", nargs="+", default=[], metavar="NAME", help="classes held out of training")
    parser.add_argument("--scores", type=names, metavar="A,B", help="scores to measure, with commas (default: all)")
    parser.add_argument("--mode", choices=("pooled", "per_image"), default="pooled", help="default: %(default)s")
    parser.add_argument(
        "--fpr-rule",
        choices=("first_at_least", "first_above", "nearest", "nearest_thinned"),
        default="first_at_least",
        help="which point of the ROC curve is at 95 %% TPR (default: %(default)s)",
    )
    parser.add_argument("--exact", action="store_true", help="count distinct scores: no bounds, more memory")
    parser.add_argument("--components", choices=("anomaly", "obstacle"), help="measure whole objects, by track rules")
    help = "measure open-set mIoU, with thresholds from this split"
    parser.add_argument("--threshold-from", metavar="SPLIT", help=help)
    add_limit(parser)
    add_window(parser)
    add_size(parser)
    add_running(parser, batch="windows of an image run at once")
    add_files(parser, json="the numbers", html="a report with curves and heat maps")
    help = "write every score map, as SegmentMeIfYouCan's tool reads"
    parser.add_argument("--save-scores", metavar="DIR", help=help)
    parser.add_argument("--save-as", choices=("hdf5", "npy"), help="format of score files (default: hdf5)")
    help = "precision of score files (default: float32)"
    parser.add_argument("--save-dtype", choices=("float32", "float16"), help=help)
    parser.add_argument("--overwrite", action="store_true", help="replace score files of an earlier run")
    add_force(parser, "--save-scores")


def check(args: Namespace) -> None:
    """Refuse wrong names, paths and combinations of arguments before anything heavy is imported."""
    from gss.core.errors import InputError

    given = [f"--{name.replace('_', '-')}" for name in ("save_as", "save_dtype", "overwrite") if getattr(args, name)]
    if given and not args.save_scores:
        raise InputError(f"{' and '.join(given)} say how scores are saved; add --save-scores DIR")
    check_pipeline(args.pipeline, stage=_STAGE, scores=args.scores or ())
    roots = args.root or []
    for number, ref in enumerate(args.data):
        root = roots[0] if len(roots) == 1 else roots[number] if len(roots) == len(args.data) else None
        check_data(ref, root, [name for name in (args.split, args.threshold_from) if name])


def run(args: Namespace) -> int:
    """Measure every data set, write and print; return 1 when a data set or an image failed."""
    from dataclasses import replace

    from gss.core.distributed import is_main, num_processes
    from gss.core.errors import InputError
    from gss.core.files import write_json
    from gss.data.outliers.benchmarks import open_benchmarks
    from gss.evaluation.ood.evaluate import evaluate_ood, known_channels
    from gss.evaluation.ood.page import build_page
    from gss.evaluation.ood.result import OODEvaluation
    from gss.evaluation.ood.score_files import ScoreFiles
    from gss.evaluation.ood.tables import ood_tables
    from gss.pipeline.loading import load_pipeline

    # All mistakes show before the first image is read.
    test_sets = open_benchmarks(args.data, args.split, roots=args.root or (), outliers=args.outliers)
    sources: list = [None] * len(test_sets)
    if args.threshold_from:
        sources = open_benchmarks(args.data, args.threshold_from, roots=args.root or (), outliers=args.outliers)
    options = {"device": parse_device(args.device), "dtype": parse_dtype(args.dtype), "exact": args.all_codes}
    pipeline = load_pipeline(args.pipeline, stage=_STAGE, **options)
    pipeline.check_scores(args.scores or [])
    if args.threshold_from:
        for test_set in test_sets:
            known_channels(pipeline, test_set)
    save = None
    if args.save_scores:
        save = ScoreFiles(
            args.save_scores,
            file_format=args.save_as or "hdf5",
            dtype=args.save_dtype or "float32",
            overwrite=args.overwrite,
        )
    results: list[OODEvaluation] = []
    failures: list[str] = []

    def write() -> None:
        if is_main() and args.json:
            write_json(args.json, {"schema_version": 1, "results": [result.to_json() for result in results]})
        if is_main() and args.html:
            build_page(results).save(args.html)

    for test_set, source in zip(test_sets, sources, strict=True):
        try:
            result = evaluate_ood(
                pipeline,
                test_set,
                scores=args.scores or None,
                mode=args.mode,
                fpr_rule=args.fpr_rule,
                exact=args.exact,
                components=args.components,
                threshold_from=source,
                window=args.window,
                size=args.size,
                limit=args.limit,
                batch_size=args.batch_size,
                workers=args.workers,
                save=save,
                pictures=6 if args.html else 0,
                progress=True,
            )
        except InputError as error:
            # Another process may be in the middle of the same data set, so that only one alone can skip it.
            if len(test_sets) == 1 or num_processes() > 1:
                raise
            failures.append(f"{test_set.name}: {error}")
            continue
        except KeyboardInterrupt:
            if results:
                write()
            raise
        settings = result.settings | {"dtype": args.dtype, "all_codes": args.all_codes}
        results.append(replace(result, pipeline=str(args.pipeline), settings=settings))
    if failures and not results:
        raise InputError(failures[0])
    write()
    if is_main():
        print("\n\n".join(ood_tables(result).text() for result in results))
        for failure in failures:
            print(f"gss: error: {one_line(failure)}", file=sys.stderr)
    unreadable = report_unreadable(image for result in results for image in result.unreadable)
    return 1 if failures else unreadable
