"""The `gss` command: parses arguments and hands over to one function of the package per sub-command.

No heavy import happens before a sub-command is known, so that `gss --help` answers at once.
"""

import argparse
import importlib
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import gss
from gss.cli.runtime import flush_denormals, one_line, show_warning
from gss.cli.weak import FORM_NAMES, add_weak
from gss.core.errors import InputError, did_you_mean
from gss.core.interrupt import Interrupted, interruptible
from gss.core.outputs import check_writable, release_outputs

# Arguments that name a file to write.
_FILES = ("json", "html", "markdown", "sheet", "preview")
_EPILOG = "Mistakes in the input end with one line and exit code 2; GSS_DEBUG=1 shows the traceback."


# 70 is EX_SOFTWARE of sysexits.h.
_BUG = "gss: this is a bug in gss, not a mistake of yours: please report it with the lines above"


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line and a suggestion for a misspelt choice or option."""

    def error(self, message: str) -> NoReturn:
        choice = re.match(r".*invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice:
            hint = did_you_mean(choice[1], re.findall(r"[\w.-]+", choice[2]))
            message = f"{message}; {hint}" if hint else message
        self.exit(2, f"{self.prog}: error: {one_line(message)} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `gss` command.

    Args:
        argv: Arguments after the program's name; those of the process by default.

    Returns:
        Exit code: 0, 2 for a mistake in the input, 130 after Ctrl-C, 143 after SIGTERM; argparse itself exits with 0
        or 2.
    """
    try:
        with interruptible():
            args = _parse(sys.argv[1:] if argv is None else list(argv))
            for name in _FILES:
                if getattr(args, name, None):
                    check_writable(getattr(args, name), f"--{name}")
            module, _, function = args.handler.rpartition(".")
            handler = getattr(importlib.import_module(module), function)
            flush_denormals(True)
            with warnings.catch_warnings():
                warnings.showwarning = show_warning()
                return handler(args) or 0
    except KeyboardInterrupt as stop:
        stop = stop if isinstance(stop, Interrupted) else Interrupted()
        print(f"gss: {stop}", file=sys.stderr)
        return stop.exit_code
    except BrokenPipeError:
        # The reader of our output (`| head`) went away; keep the interpreter's last flush from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (InputError, OSError) as error:
        if os.environ.get("GSS_DEBUG", "") not in ("", "0"):
            raise
        print(f"gss: error: {_message(error)}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        print(_BUG, file=sys.stderr)
        return 70
    finally:
        release_outputs()
        flush_denormals(False)  # who called this function goes on as before


def train(args: argparse.Namespace) -> None:
    """Handle `gss train`: read the config, then run the stage."""
    from gss.config.io import load_config, split_overrides
    from gss.core.outputs import prepare_output

    # Both checks come before torch is loaded, so that a mistake shows at once.
    config: Any = load_config(_config_class(args.stage), *split_overrides(args.configs))
    # Only the first of several processes looks at the folder: a slower one would find the run's own files.
    if os.environ.get("RANK", "0") == "0":
        prepare_output(args.out, overwrite=args.overwrite, resume=args.resume)
    run = importlib.import_module("gss.training.run")
    flush_denormals(True)
    run.train(args.stage, config, args.out, resume=args.resume)


def show_config(args: argparse.Namespace) -> None:
    """Handle `gss config`: print the defaults, or what the given files and overrides make of them."""
    from gss.config.io import load_config, split_overrides, to_yaml

    print(to_yaml(load_config(_config_class(args.stage), *split_overrides(args.configs))), end="")


def _config_class(stage: str) -> type:
    from gss.config.density import DensityConfig
    from gss.config.posterior import PosteriorConfig
    from gss.config.prior import PriorConfig
    from gss.config.residual import ResidualConfig
    from gss.config.tags import WeakTagsConfig
    from gss.config.weak_agmm import WeakAgmmConfig

    others = {
        "posterior": PosteriorConfig,
        "density": DensityConfig,
        "residual": ResidualConfig,
        "weak-agmm": WeakAgmmConfig,
        "weak-tags": WeakTagsConfig,
    }
    return others.get(stage, PriorConfig)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = _build_parser()
    args, rest = parser.parse_known_args(argv)
    # argparse gives a list of positionals only the first unbroken run, so `CONFIG --out DIR key=value`
    # leaves some over.
    takes_more = getattr(args, "more", None)
    for text in rest:
        if text.startswith("-") or takes_more is None:
            hint = f"; write an override as {text.lstrip('-')}" if re.match(r"--[\w.]+=", text) else ""
            parser.error(f"unrecognized argument {text!r}{hint}")
        getattr(args, takes_more).append(text)
    return args


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="gss", description="Generative semantic segmentation.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"gss {gss.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    command = commands.add_parser("quickstart", help="train and evaluate on generated scenes, write a report")
    command.add_argument("--out", default="runs/quickstart", help="output folder (default: %(default)s)")
    command.add_argument("--data", default="scenes", help="data set to use instead of the generated scenes")
    command.add_argument("--root", help="folder of the data set")
    command.add_argument("--seed", type=int, default=0, help="seed of the whole run (default: %(default)s)")
    command.add_argument("--labels", choices=FORM_NAMES, help="weaken the training masks to these and learn from them")
    command.add_argument(
        "--stages",
        default="posterior,prior,twin,density",
        help="what is trained and shown, with commas; residual adds a head trained on pasted objects (some minutes), "
        "twin and density can be left out (default: %(default)s)",
    )
    command.add_argument("--overwrite", action="store_true", help="replace earlier results in --out")
    command.set_defaults(handler="gss.jobs.quickstart.run.main")

    command = commands.add_parser("train", help="train stage 1 (posterior), 2 (prior), the twin, or further stages")
    command.add_argument(
        "stage", choices=("posterior", "prior", "twin", "density", "residual", "weak-agmm", "weak-tags")
    )
    _add_configs(command)
    command.add_argument("--out", required=True, help="output folder")
    again = command.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --out")
    again.add_argument("--overwrite", action="store_true", help="start again in an --out that holds a run")
    command.set_defaults(handler="gss.cli.train")

    command = commands.add_parser("compare", help="train variants of a posterior and compare their ceilings")
    _add_configs(command)
    command.add_argument(
        "--variants",
        nargs="+",
        default=["ff", "ff_r", "ft", "ft_w", "tf", "tt"],
        metavar="NAME",
        help="configs laid over CONFIG: names in configs/variants or paths (default: the six of the paper)",
    )
    command.add_argument("--out", required=True, help="output folder, one sub-folder a variant")
    command.add_argument("--overwrite", action="store_true", help="replace variants that are not finished")
    command.set_defaults(handler="gss.jobs.compare.main")

    command = commands.add_parser("config", help="print the settings of a stage as YAML, with descriptions")
    command.add_argument("stage", choices=("posterior", "prior", "density", "residual", "weak-agmm", "weak-tags"))
    _add_configs(command)
    command.set_defaults(handler="gss.cli.show_config")

    command = commands.add_parser("recon", help="measure what the tokens of a posterior can express at best")
    command.add_argument("posterior", nargs="+", help="folders written by `gss train posterior`")
    _add_data(command)
    command.add_argument("--json", metavar="FILE", help="write the numbers here too")
    command.set_defaults(handler="gss.evaluation.reconstruction.main", more="posterior")

    command = commands.add_parser("transfer", help="give a trained posterior the classes of another data set")
    command.add_argument("posterior", help="folder written by `gss train posterior`")
    _add_data(command, split="train")
    command.add_argument("--val-split", metavar="SPLIT", help="split the ceiling is measured on (default: val, if any)")
    command.add_argument(
        "--refine",
        type=_count,
        default=0,
        metavar="STEPS",
        help="also repaint the codes for the new classes, 500 steps",
    )
    command.add_argument("--out", required=True, help="output folder")
    command.add_argument("--overwrite", action="store_true", help="replace earlier results in --out")
    command.set_defaults(handler="gss.jobs.transfer.main")

    command = commands.add_parser("evaluate", help="measure a pipeline on a data set")
    command.add_argument("pipeline", help="folder of the pipeline")
    _add_data(command)
    _add_window(command)
    command.add_argument("--size", type=_size, metavar="HxW", help="resize images to this before segmenting")
    command.add_argument("--modes", metavar="A,B", help="decode modes to measure, with commas (default: all)")
    command.add_argument("--json", metavar="FILE", help="write the numbers here too")
    command.add_argument("--html", metavar="FILE", help="write a report with pictures here")
    command.set_defaults(handler="gss.evaluation.segmentation.evaluate.main")

    command = commands.add_parser("evaluate-shifts", help="measure pipelines under noise, blur, weather, ...")
    command.add_argument("--pipelines", nargs="+", required=True, metavar="FOLDER", help="folders of pipelines")
    _add_data(command)
    _add_shifts(command, severities="1,3,5")
    command.add_argument("--modes", type=_names, default=[], metavar="A,B", help="more decode modes than the default")
    command.add_argument(
        "--scores", type=_names, metavar="A,B", help="out-of-distribution scores (default: that of each pipeline)"
    )
    command.add_argument(
        "--threshold-split", metavar="SPLIT", help="clean images that set the threshold of alarms (default: --split)"
    )
    command.add_argument(
        "--false-alarms", type=float, default=0.05, metavar="SHARE", help="alarms there (default: %(default)s)"
    )
    _add_window(command)
    command.add_argument("--size", type=_size, metavar="HxW", help="resize images to this before segmenting")
    command.add_argument("--json", metavar="FILE", help="write the numbers here too")
    command.add_argument("--html", metavar="FILE", help="write a report with curves and pictures here")
    command.set_defaults(handler="gss.evaluation.shifts.evaluate.main")

    command = commands.add_parser("cross-domain", help="measure pipelines on data sets they were not trained on")
    command.add_argument(
        "--pipelines",
        nargs="+",
        required=True,
        metavar="[NAME=]FOLDER[,FOLDER]",
        help="folders of pipelines; seeds of one model form a group, by NAME or by folders that end in _s0, _s1, ...",
    )
    command.add_argument(
        "--data", nargs="+", required=True, metavar="SPEC[:SPLIT]", help="built-in name, YAML file or folder"
    )
    command.add_argument("--roots", nargs="+", default=[], metavar="NAME=FOLDER", help="folders of data sets")
    command.add_argument("--split", default="val", help="of data sets that name none (default: %(default)s)")
    command.add_argument("--limit", type=_count, metavar="N", help="use only N images each, evenly spread")
    command.add_argument("--map", nargs="+", default=[], metavar="FILE.yaml", help="mappings by 'gss data map --out'")
    command.add_argument("--mseg", metavar="FILE", help="MSeg_master.tsv: map by way of its universal classes")
    command.add_argument("--one-to-one", action="store_true", help="refuse mappings that merge or divide classes")
    command.add_argument("--in-domain", metavar="NAME", help="test set like the training data (default: model cards)")
    command.add_argument("--modes", type=_names, metavar="A,B", help="decode modes to measure (default: all)")
    command.add_argument(
        "--scores", type=_names, metavar="A,B", help="out-of-distribution scores (default: all common)"
    )
    command.add_argument(
        "--false-alarms", type=float, default=0.05, metavar="SHARE", help="alarms in domain (default: %(default)s)"
    )
    sizes = command.add_mutually_exclusive_group()
    sizes.add_argument("--size", type=_size, metavar="HxW", help="resize images to this before segmenting")
    sizes.add_argument(
        "--short-side", type=_count, nargs="+", default=[], metavar="N", help="shorter side; of several, keep the best"
    )
    _add_window(command)
    command.add_argument("--flip", action="store_true", help="average with the mirrored image")
    command.add_argument("--scales", type=_numbers, default="1", metavar="A,B", help="average over relative sizes")
    command.add_argument("--json", metavar="FILE", help="write the numbers here too")
    command.add_argument("--markdown", metavar="FILE", help="write the tables here too")
    command.add_argument("--html", metavar="FILE", help="write a report with heat maps and pictures here")
    command.set_defaults(handler="gss.evaluation.cross_domain.evaluate.main")

    command = commands.add_parser("evaluate-ood", help="measure out-of-distribution scores of a pipeline")
    command.add_argument("pipeline", help="folder of the pipeline")
    command.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="SPEC",
        help="built-in names, YAML files or folders; see docs/ood.md",
    )
    command.add_argument("--root", nargs="+", help="folder of the data set: one for all, or one for each of --data")
    command.add_argument("--split", help="default: the only one, or the first of val, test, all")
    command.add_argument("--outliers", nargs="+", default=[], metavar="NAME", help="classes held out of training")
    command.add_argument("--scores", metavar="A,B", help="scores to measure, with commas (default: all)")
    command.add_argument("--mode", choices=("pooled", "per_image"), default="pooled", help="default: %(default)s")
    command.add_argument(
        "--fpr-rule",
        choices=("first_at_least", "first_above", "nearest", "nearest_thinned"),
        default="first_at_least",
        help="which point of the ROC curve is at 95 %% TPR (default: %(default)s)",
    )
    command.add_argument("--exact", action="store_true", help="count distinct scores: no bounds, more memory")
    command.add_argument("--components", choices=("anomaly", "obstacle"), help="measure whole objects, by track rules")
    command.add_argument(
        "--threshold-from", metavar="SPLIT", help="measure open-set mIoU, with thresholds from this split"
    )
    command.add_argument("--limit", type=_count, metavar="N", help="use only N images, evenly spread")
    _add_window(command)
    command.add_argument("--size", type=_size, metavar="HxW", help="resize images to this before segmenting")
    command.add_argument("--json", metavar="FILE", help="write the numbers here too")
    command.add_argument("--html", metavar="FILE", help="write a report with curves and heat maps here")
    command.add_argument(
        "--save-scores", metavar="DIR", help="write every score map, as SegmentMeIfYouCan's tool reads"
    )
    command.add_argument("--save-as", choices=("hdf5", "npy"), help="format of score files (default: hdf5)")
    command.add_argument("--dtype", choices=("float32", "float16"), help="of score files (default: float32)")
    command.add_argument("--overwrite", action="store_true", help="replace score files of an earlier run")
    command.set_defaults(handler="gss.cli.evaluate_ood.main")

    command = commands.add_parser("predict", help="segment images")
    command.add_argument("pipeline", help="folder of the pipeline")
    command.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders or quoted globs")
    command.add_argument("--out", required=True, help="output folder")
    _add_window(command)
    command.add_argument(
        "--decode", metavar="MODE", help="hard, marginal, expected, aux, fused, density or joint (default: best)"
    )
    command.add_argument("--flip", action="store_true", help="average with the mirrored image")
    command.add_argument("--overwrite", action="store_true", help="replace earlier results in --out")
    command.set_defaults(handler="gss.jobs.predict.main", more="images")

    command = commands.add_parser("data", help="look at a data set")
    actions = command.add_subparsers(metavar="ACTION", required=True)
    action = actions.add_parser("check", help="report missing pairs, wrong sizes, unknown labels, class shares")
    action.add_argument("spec", help="built-in name, YAML file or folder")
    action.add_argument("--root", help="folder of the data set")
    action.add_argument("--split", help="only this split")
    action.add_argument("--sheet", metavar="FILE.png", help="write a contact sheet here")
    action.set_defaults(handler="gss.data.check.main")
    action = actions.add_parser("shifts", help="draw one image under every shift (noise, blur, weather, ...)")
    action.add_argument("spec", help="built-in name, YAML file or folder")
    action.add_argument("--root", help="folder of the data set")
    action.add_argument("--split", default="val", help="default: %(default)s")
    action.add_argument("--image", metavar="ID", help="id of the image (default: the middle one of the split)")
    action.add_argument("--sheet", metavar="FILE.png", required=True, help="write the contact sheet here")
    _add_shifts(action, severities="1,2,3,4,5")
    action.set_defaults(handler="gss.data.shift_sheet.main")

    action = actions.add_parser("map", help="print what the classes of one data set are in another")
    action.add_argument("source", metavar="FROM", help="data set, or folder of the pipeline that predicts")
    action.add_argument("target", metavar="TO", help="data set to measure on")
    action.add_argument("--mseg", metavar="FILE", help="MSeg_master.tsv: map by way of its universal classes")
    action.add_argument("--map", metavar="FILE.yaml", help="mapping written by hand or by --out")
    action.add_argument("--out", metavar="FILE.yaml", help="write the mapping here, to correct it")
    action.add_argument("--overwrite", action="store_true", help="replace the file of --out")
    action.set_defaults(handler="gss.data.mapping.main")

    action = actions.add_parser("mix", help="paste objects into training images as `gss train residual` does, and look")
    action.add_argument("spec", help="built-in name, YAML file or folder")
    action.add_argument("--objects", required=True, metavar="SOURCE", help="folder, COCO file or scenes_unknown")
    action.add_argument("--context", metavar="SOURCE", help="foreign scenes to show beside the images")
    action.add_argument("--preview", required=True, metavar="FILE.png", help="write a contact sheet here")
    action.add_argument("--root", help="folder of the data set")
    action.add_argument("--split", default="train", help="default: %(default)s")
    _add_configs(action)
    action.set_defaults(handler="gss.data.outliers.sources.main")

    add_weak(commands, _count, _size, _names)

    command = commands.add_parser("palette", help="choose class colours and draw them")
    command.add_argument("num_classes", type=int, metavar="K", help="number of classes, 1 to 255")
    command.add_argument("--method", choices=("maxmin", "lattice", "random", "jitter"), default="maxmin")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", metavar="FILE.png", help="write a swatch here")
    command.set_defaults(handler="gss.posterior.palette.main")
    return parser


def _add_configs(command: argparse.ArgumentParser) -> None:
    command.add_argument("configs", nargs="*", metavar="CONFIG | KEY=VALUE", help="YAML files and overrides")
    command.set_defaults(more="configs")


def _add_data(command: argparse.ArgumentParser, split: str = "val") -> None:
    command.add_argument("--data", required=True, metavar="SPEC", help="built-in name, YAML file or folder")
    command.add_argument("--root", help="folder of the data set")
    command.add_argument("--split", default=split, help="default: %(default)s")
    command.add_argument("--limit", type=_count, metavar="N", help="use only N images, evenly spread")


def _add_shifts(command: argparse.ArgumentParser, *, severities: str) -> None:
    names = "shifts or groups (photometric, noise, blur, digital, weather), with commas (default: all)"
    command.add_argument("--shifts", type=_names, default=[], metavar="A,B", help=names)
    about = "from 1 to 5, with commas (default: %(default)s)"
    command.add_argument("--severities", type=_counts, default=severities, metavar="1,3", help=about)
    command.add_argument("--seed", type=int, default=0, help="seed of what the shifts draw (default: %(default)s)")


def _add_window(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--window",
        choices=("auto", "whole", "slide"),
        default="auto",
        help="segment at once or window by window; auto slides over large images",
    )


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH in pixels, such as 360x480")
    return int(match[1]), int(match[2])


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _counts(text: str) -> list[int]:
    return [_count(part.strip()) for part in text.split(",")]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers, such as 0.75,1") from None


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return one_line(f"{error.filename}: {error.strerror}")
    return one_line(str(error)) or type(error).__name__
