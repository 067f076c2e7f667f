"""`gss weak report`: coverage of labels, and their quality where full masks exist."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_files, add_truth

HELP = "coverage of labels, and their quality where full masks exist"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="data set whose labels are judged")
    parser.add_argument("--root", help="folder of the images")
    parser.add_argument("--split", default="train", help="default: %(default)s")
    add_truth(parser)
    add_files(parser, json="the numbers", html="a report with pictures")


def run(args: Namespace) -> None:
    """Measure, write and print."""
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
    result, rows = measure(dataset, truth, pictures=6 if args.html else 0, progress=is_main())
    if not is_main():
        return
    facts = {"data": spec.name, "split": args.split, "classes": list(dataset.label_space.names), "truth": args.truth}
    if args.json:
        write_json(args.json, {**facts, **result})
    if args.html:
        build_report(result, rows, dataset, title=f"{spec.name} · {args.split}").save(args.html)
    print(format_report(result, dataset.label_space.names))
