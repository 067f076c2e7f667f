"""`gss weak seeds`: precision and recall of class activation maps, over all thresholds."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_files, add_split, add_truth
from gss.cli.runtime import report_unreadable

HELP = "precision and recall of class activation maps, over all thresholds"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    help = "tag classifiers, the first one to compare to; and size, scales, flip of the maps"
    parser.add_argument("classifiers", nargs="+", metavar="FOLDER | KEY=VALUE", help=help)
    parser.add_argument("--data", required=True, metavar="SPEC", help="data set with tags")
    add_split(parser)
    add_truth(parser, default=" (default: --data)")
    help = "recall at which precisions are compared (default: that of the first classifier where its mIoU is best)"
    parser.add_argument("--recall", type=float, metavar="SHARE", help=help)
    add_files(parser, json="all thresholds and classes", sheet="pictures of the maps")
    parser.set_defaults(more="classifiers")


def run(args: Namespace) -> int:
    """Measure every classifier, write and print; return 1 when images could not be read."""
    from gss.config.io import load_config, split_overrides
    from gss.config.tags import CamConfig
    from gss.core.distributed import is_main
    from gss.core.files import write_json
    from gss.data.export import open_labelled
    from gss.data.specs.load import load_spec
    from gss.report.pictures import save_picture
    from gss.weak.tags.seed_comparison import compare_seeds

    folders, settings = split_overrides(args.classifiers)
    cfg = load_config(CamConfig, [], settings)
    spec = load_spec(args.data, args.root)
    masks = spec if args.truth is None else load_spec(args.truth, args.truth_root)
    truth = open_labelled(masks, args.truth_split or args.split)
    seeds = compare_seeds(folders, spec, args.split, truth, cfg, recall=args.recall, progress=is_main())
    unreadable = [image for part in seeds.classifiers for image in part.unreadable]
    if not is_main():
        return report_unreadable(unreadable)
    if args.json:
        write_json(args.json, seeds.to_json())
    if args.sheet:
        save_picture(args.sheet, seeds.picture(truth))
    print(seeds.table().text())
    return report_unreadable(unreadable)
