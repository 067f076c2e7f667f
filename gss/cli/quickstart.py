"""`gss quickstart`: train and evaluate on generated scenes, write a report."""

from argparse import ArgumentParser, Namespace

from gss.cli.checks import check_data
from gss.cli.parser import FORM_NAMES, add_job, names

HELP = "train and evaluate on generated scenes, write a report"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--out", default="runs/quickstart", help="output folder (default: %(default)s)")
    parser.add_argument("--data", default="scenes", help="data set to use instead of the generated scenes")
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--seed", type=int, default=0, help="seed of the whole run (default: %(default)s)")
    parser.add_argument("--labels", choices=FORM_NAMES, help="weaken the training masks to these and learn from them")
    parser.add_argument(
        "--stages",
        type=names,
        metavar="A,B",
        help="what is trained and shown, with commas; residual adds a head trained on pasted objects (some minutes), "
        "twin, density and joint can be left out (default: posterior,prior,twin,density,joint)",
    )
    add_job(parser, "stage")


def check(args: Namespace) -> None:
    """Refuse wrong names of stages and data before anything heavy is imported."""
    from gss.core.errors import InputError
    from gss.jobs.quickstart.names import order_stages

    if args.labels and args.stages is not None:
        raise InputError("--stages is about training from full masks; with --labels leave it out")
    if args.stages is not None:
        order_stages(args.stages)
    check_data(args.data, args.root, ["train"] if args.labels else ["train", "val"])


def run(args: Namespace) -> None:
    """Run the job."""
    from pathlib import Path

    if args.labels:
        from gss.jobs.quickstart.weak import quickstart_weak

        quickstart_weak(
            Path(args.out),
            form=args.labels,
            data=args.data,
            root=args.root,
            seed=args.seed,
            redo=args.redo or "",
            overwrite=args.overwrite,
        )
        return
    from gss.jobs.quickstart.names import DEFAULT_STAGES
    from gss.jobs.quickstart.run import quickstart

    quickstart(
        Path(args.out),
        data=args.data,
        root=args.root,
        seed=args.seed,
        stages=DEFAULT_STAGES if args.stages is None else args.stages,
        redo=args.redo or "",
        overwrite=args.overwrite,
    )
