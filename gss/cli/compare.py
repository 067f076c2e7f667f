"""`gss compare`: train variants of a posterior and compare their ceilings."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_configs

HELP = "train variants of a posterior and compare their ceilings"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    add_configs(parser)
    parser.add_argument(
        "--variants",
        nargs="+",
        default=["ff", "ff_r", "ft", "ft_w", "tf", "tt"],
        metavar="NAME",
        help="configs laid over CONFIG: names in configs/variants or paths (default: the six of the paper)",
    )
    parser.add_argument("--out", required=True, help="output folder, one sub-folder a variant")
    parser.add_argument("--overwrite", action="store_true", help="replace variants that are not finished")


def run(args: Namespace) -> None:
    """Train what is not trained yet, then print one table."""
    from gss.config.io import split_overrides
    from gss.jobs.compare import compare

    compare(*split_overrides(args.configs), variants=args.variants, out=args.out, overwrite=args.overwrite)
