"""`gss data mix`: paste objects into training images, and look at the result."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_configs, add_files, add_split

HELP = "paste objects into training images as `gss train residual` does, and look"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="built-in name, YAML file or folder")
    parser.add_argument("--objects", required=True, metavar="SOURCE", help="folder, COCO file or scenes_unknown")
    parser.add_argument("--context", metavar="SOURCE", help="foreign scenes to show beside the images")
    add_files(parser, required=True, preview="a contact sheet")
    add_split(parser)
    add_configs(parser)


def run(args: Namespace) -> None:
    """Draw the preview and print what is pasted."""
    from collections import Counter

    from gss.config.io import load_config, split_overrides
    from gss.config.residual import ResidualConfig
    from gss.data.outliers.sources import build_mixed, draw_sheet, open_sources
    from gss.report.pictures import save_picture

    cfg = load_config(ResidualConfig, *split_overrides(args.configs))
    cfg.data.spec, cfg.data.root, cfg.data.train_split = args.spec, args.root or cfg.data.root, args.split
    cfg.outliers.objects = args.objects
    cfg.context.source = args.context or cfg.context.source
    sources = open_sources(cfg)
    sheet = draw_sheet(build_mixed(cfg, sources))
    save_picture(args.preview, sheet)
    print(f"{args.objects}: {len(sources.train)} objects to train on, {len(sources.val)} held out")
    common = Counter(category for category in sources.train.categories if category).most_common()
    if common:
        print("trained on: " + ", ".join(f"{name} {count}" for name, count in common))
    if sources.scenes is not None:
        print(f"{cfg.context.source}: {len(sources.scenes)} foreign scenes")
