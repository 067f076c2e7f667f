"""`gss compare`: train variants of a posterior and compare their ceilings."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_configs, add_job

HELP = (
    "train variants of a posterior and compare their ceilings (prior against twin: 'gss cross-domain --pipelines', or "
    "'gss evaluate' of each)"
)


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
    add_job(parser, "variant")
    parser.add_argument("--out", required=True, help="output folder, one sub-folder a variant")


def run(args: Namespace) -> None:
    """Train what is not trained yet, then print one table."""
    from pathlib import Path

    from gss.config.io import split_overrides
    from gss.jobs.compare import compare

    files, overrides = split_overrides(args.configs)
    compare(files, overrides, Path(args.out), variants=args.variants, redo=args.redo or "", overwrite=args.overwrite)
