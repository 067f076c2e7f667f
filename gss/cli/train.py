"""`gss train`: train one stage."""

import os
from argparse import ArgumentParser, Namespace

from gss.cli.checks import check_training
from gss.cli.endings import train_ending
from gss.cli.parser import add_configs, add_force
from gss.cli.runtime import announce
from gss.cli.taken import refuse_other_run
from gss.core.errors import InputError
from gss.core.machine import flush_denormals
from gss.training.engine.run_folder import explained, forget_refused
from gss.training.stages import STAGES

LIGHT = True  # runs, or finds mistakes, before torch is loaded
HELP = "train stage 1 (posterior), 2 (prior), the twin, or further stages"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("stage", choices=tuple(STAGES))
    add_configs(parser)
    parser.add_argument("--out", required=True, help="output folder")
    add_force(parser)
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue from the newest checkpoint in --out")
    again.add_argument("--overwrite", action="store_true", help="start again in an --out that holds a run")


def run(args: Namespace) -> None:
    """Read the config, then train."""
    from gss.config.io import load_config, split_overrides
    from gss.core.outputs import prepare_output

    # These checks come before torch is loaded, so that a mistake shows at once.
    config = load_config(STAGES[args.stage].config_class(), *split_overrides(args.configs))
    check_training(config)
    free = not args.resume and not (os.path.isdir(args.out) and os.listdir(args.out))
    # Only the first of several processes looks at the folder: a slower one would find the run's own files.
    if os.environ.get("RANK", "0") == "0":
        if not args.resume and not args.overwrite:
            refuse_other_run(args.stage, config, args.out)
        prepare_output(args.out, overwrite=args.overwrite, resume=args.resume)
    announce(f"{args.prog} {args.stage}: into {args.out}")
    try:
        with explained(args.out):
            from gss.training.run import train

            flush_denormals(True)
            train(args.stage, config, args.out, resume=args.resume, say=print)
    except InputError:
        if free:
            forget_refused(args.out)
        raise
    if os.environ.get("RANK", "0") == "0":
        print(train_ending(args.stage, config, args.out, args.configs))
