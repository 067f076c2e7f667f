"""`gss weak report`: coverage of labels, and their quality where full masks exist."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_files, add_truth
from gss.cli.runtime import report_unreadable

HELP = "coverage of labels, and their quality where full masks exist"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="data set whose labels are judged")
    parser.add_argument("--root", help="folder of the images")
    parser.add_argument("--split", default="train", help="default: %(default)s")
    add_truth(parser)
    add_files(parser, json="the numbers", html="a report with pictures")


def run(args: Namespace) -> int:
    """Measure, write and print; return 1 when images could not be read."""
    from gss.core.distributed import is_main
    from gss.core.files import write_json
    from gss.data.export import open_labelled
    from gss.data.open import open_split
    from gss.data.specs.load import load_spec
    from gss.weak.quality import measure
    from gss.weak.quality_page import build_report, format_report

    spec = load_spec(args.spec, args.root)
    dataset, truth = open_split(spec, args.split), None
    if args.truth:
        truth = open_labelled(load_spec(args.truth, args.truth_root), args.truth_split or args.split)
    measured = measure(dataset, truth, pictures=6 if args.html else 0, progress=is_main())
    if not is_main():
        return report_unreadable(measured.unreadable)
    result = measured.result
    facts = {"data": spec.name, "split": args.split, "classes": list(dataset.label_space.names), "truth": args.truth}
    if args.json:
        left_out = [image.to_json() for image in measured.unreadable]
        write_json(args.json, {**facts, **result, "unreadable": left_out})
    if args.html:
        build_report(result, measured.pictures, dataset, title=f"{spec.name} · {args.split}").save(args.html)
    print(format_report(result, dataset.label_space.names))
    return report_unreadable(measured.unreadable)
