"""`gss config`: print the settings of a stage."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_configs
from gss.training.stages import STAGES

LIGHT = True  # runs, or finds mistakes, before torch is loaded
HELP = "print the settings of a stage as YAML, with descriptions"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("stage", choices=tuple(STAGES))
    add_configs(parser)


def run(args: Namespace) -> None:
    """Print the defaults, or what the given files and overrides make of them."""
    from gss.config.io import load_config, split_overrides, to_yaml

    print(to_yaml(load_config(STAGES[args.stage].config_class(), *split_overrides(args.configs))), end="")
