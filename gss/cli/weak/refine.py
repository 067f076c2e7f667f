"""`gss weak refine`: spread partial or uncertain labels along the edges of the images."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_limit, add_out, add_split
from gss.cli.weak import report_manifest

HELP = "spread partial or uncertain labels along the edges of the images"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="data set with weak labels or pseudo-masks")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings, see docs/weak.md")
    add_split(parser)
    add_limit(parser)
    add_out(parser, "output folder, itself a data set")
    parser.set_defaults(more="settings")


def run(args: Namespace) -> int:
    """Refine the labels and print what they hold."""
    from gss.config.io import load_config, split_overrides
    from gss.config.weak_labels import RefineConfig
    from gss.data.specs.load import load_spec
    from gss.weak.refine.labels import refine_split

    cfg = load_config(RefineConfig, *split_overrides(args.settings))
    spec = load_spec(args.spec, args.root)
    manifest = refine_split(spec, args.split, args.out, cfg, limit=args.limit, overwrite=args.overwrite)
    return report_manifest(manifest, args.out)
