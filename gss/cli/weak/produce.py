"""`gss weak produce`: pseudo-masks from a trained pipeline or tag classifier."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_out, add_split
from gss.cli.weak import report_manifest

HELP = "pseudo-masks from a trained pipeline or tag classifier"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of a pipeline, or of the classifier of `gss train weak-tags`")
    help = "settings, see docs/weak-agmm.md and docs/weak-tags.md"
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help=help)
    parser.add_argument("--data", required=True, metavar="SPEC", help="data set with weak labels or partial masks")
    add_split(parser)
    add_out(parser, "output folder, itself a data set")
    parser.set_defaults(more="settings")


def run(args: Namespace) -> int:
    """Produce the masks and print what they hold."""
    from gss.config.io import load_config
    from gss.data.specs.load import load_spec
    from gss.weak.produce import produce_masks, produce_settings

    cfg = load_config(produce_settings(args.pipeline), [], args.settings)
    spec = load_spec(args.data, args.root)
    manifest = produce_masks(args.pipeline, spec, args.split, args.out, cfg, overwrite=args.overwrite)
    return report_manifest(manifest, args.out)
