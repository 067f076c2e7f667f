"""The argument parser of `gss`, and the arguments and types that several commands share; imports nothing heavy."""

import argparse
import re
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any, NoReturn

from gss.cli.runtime import highlight, one_line
from gss.core.errors import did_you_mean, quoted

FORM_NAMES = ("points", "scribbles", "blocks", "boxes", "coarse", "tags")
"""Forms of weak labels; the keys of `gss.config.weak_labels.FORMS`, whose import takes long."""


class Parser(ArgumentParser):
    """argparse with errors of one line and a suggestion for a misspelt choice or option.

    Args:
        page: help to print instead of the one that argparse makes.
        options: arguments of `ArgumentParser`.
    """

    def __init__(self, *, page: str = "", **options: Any) -> None:
        super().__init__(**options)
        self._page = page

    def format_help(self) -> str:
        """Return the help page."""
        return self._page or super().format_help()

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line."""
        choice = re.match(r".*invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice:
            hint = did_you_mean(choice[1], re.findall(r"[\w.-]+", choice[2]))
            message = f"{message}; {hint}" if hint else message
        self.exit(2, highlight(f"{self.prog}: error: {one_line(message)} (see {self.prog} --help)\n"))

    def parse(self, argv: list[str]) -> argparse.Namespace:
        """Parse arguments, with positionals on both sides of options.

        argparse gives a list of positionals only the first unbroken run, so `CONFIG --out DIR key=value` leaves some
        over; they go to the list that the command named with `set_defaults(more=...)`.
        """
        args, rest = self.parse_known_args(argv)
        takes_more = getattr(args, "more", None)
        for text in rest:
            if text.startswith("-") or takes_more is None:
                hint = f"; write an override as {text.lstrip('-')}" if re.match(r"--[\w.]+=", text) else ""
                self.error(f"unrecognized argument {quoted(text)}{hint}")
            getattr(args, takes_more).append(text)
        return args


def add_configs(parser: ArgumentParser) -> None:
    """Add `CONFIG | KEY=VALUE`."""
    parser.add_argument("configs", nargs="*", metavar="CONFIG | KEY=VALUE", help="YAML files and overrides")
    parser.set_defaults(more="configs")


def add_data(parser: ArgumentParser, *, split: str = "val") -> None:
    """Add `--data`, `--root`, `--split` and `--limit`."""
    parser.add_argument("--data", required=True, metavar="SPEC", help="built-in name, YAML file or folder")
    add_split(parser, default=split)
    add_limit(parser)


def add_split(parser: ArgumentParser, *, default: str = "train") -> None:
    """Add `--root` and `--split`."""
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--split", default=default, help="default: %(default)s")


def add_limit(parser: ArgumentParser) -> None:
    """Add `--limit`."""
    parser.add_argument("--limit", type=count, metavar="N", help="use only N images, evenly spread")


def add_out(parser: ArgumentParser, help: str = "output folder") -> None:
    """Add `--out`, `--overwrite` and `--force`."""
    parser.add_argument("--out", required=True, help=help)
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results in --out")
    add_force(parser)


def add_force(parser: ArgumentParser, folder: str = "--out") -> None:
    """Add `--force`."""
    parser.add_argument("--force", action="store_true", help=f"take {folder} over from a process that is gone")


def add_device(parser: ArgumentParser) -> None:
    """Add `--device`."""
    help = "device to compute on, such as cpu, cuda or cuda:1 (default: a GPU if there is one)"
    parser.add_argument("--device", metavar="NAME", help=help)


def add_running(parser: ArgumentParser, *, batch: str = "images run at once", batch_size: int = 1) -> None:
    """Add `--device`, `--dtype`, `--all-codes`, `--batch-size` and `--workers` of a command that runs pipelines.

    Args:
        parser: parser of the command.
        batch: what is run at once.
        batch_size: its default.
    """
    add_device(parser)
    help = "precision of the prior (default: %(default)s)"
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help=help)
    help = "read every cell with all codes; by default only where the auxiliary head is in doubt"
    parser.add_argument("--all-codes", action="store_true", help=help)
    help = f"{batch} (default: %(default)s)"
    parser.add_argument("--batch-size", type=count, default=batch_size, metavar="N", help=help)
    add_workers(parser)


def add_workers(parser: ArgumentParser) -> None:
    """Add `--workers`."""
    help = "threads that read images ahead, 0 for none (default: %(default)s)"
    parser.add_argument("--workers", type=count_or_none, default=2, metavar="N", help=help)


def add_job(parser: ArgumentParser, step: str) -> None:
    """Add `--redo`, `--overwrite` and `--force` of a job, whose finished steps are not repeated."""
    add_force(parser)
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--redo", metavar=step.upper(), help=f"run this {step} and what builds on it again")
    help = f"run every {step} again in place of what is in --out; without it a call goes on where the last stopped"
    again.add_argument("--overwrite", action="store_true", help=help)


def add_window(parser: ArgumentParser) -> None:
    """Add `--window`."""
    help = "segment at once or window by window; auto slides over large images"
    parser.add_argument("--window", choices=("auto", "whole", "slide"), default="auto", help=help)


def add_size(parser: argparse._ActionsContainer, help: str = "resize images to this before segmenting") -> None:
    """Add `--size`."""
    parser.add_argument("--size", type=size, metavar="HxW", help=help)


def add_shifts(parser: ArgumentParser, *, severities: str) -> None:
    """Add `--shifts`, `--severities` and `--seed`."""
    help = "shifts or groups (photometric, noise, blur, digital, weather), with commas (default: all)"
    parser.add_argument("--shifts", type=names, default=[], metavar="A,B", help=help)
    help = "from 1 to 5, with commas (default: %(default)s)"
    parser.add_argument("--severities", type=counts, default=severities, metavar="1,3", help=help)
    parser.add_argument("--seed", type=int, default=0, help="seed of what the shifts draw (default: %(default)s)")


def add_false_alarms(parser: ArgumentParser, where: str) -> None:
    """Add `--false-alarms`."""
    help = f"alarms {where} (default: %(default)s)"
    parser.add_argument("--false-alarms", type=float, default=0.05, metavar="SHARE", help=help)


def add_truth(parser: ArgumentParser, *, default: str = "") -> None:
    """Add `--truth`, `--truth-root` and `--truth-split`."""
    parser.add_argument("--truth", metavar="SPEC", help=f"data set with full masks of the same images{default}")
    parser.add_argument("--truth-root", metavar="DIR", help="folder of that data set")
    parser.add_argument("--truth-split", metavar="NAME", help="its split (default: --split)")


def add_files(parser: ArgumentParser, *, required: bool = False, **files: str) -> None:
    """Add options that name a file to write, such as `--json`, each with what is written there."""
    for name, content in files.items():
        if name in ("sheet", "preview"):
            options: dict[str, Any] = {"metavar": "FILE.png", "type": picture}
        else:
            options = {"metavar": "FILE"}
        parser.add_argument(f"--{name}", required=required, help=f"write {content} here", **options)
    parser.set_defaults(files=[*files])


def size(text: str) -> tuple[int, int]:
    """Parse the size of an image, (H, W)."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise ArgumentTypeError(f"{quoted(text)} is not HEIGHTxWIDTH in pixels, such as 360x480")
    return int(match[1]), int(match[2])


def run_size(text: str) -> tuple[int, int] | int | str:
    """Parse the size that a pipeline runs at: (H, W), a short side, or "native"."""
    if text == "native":
        return text
    if re.fullmatch(r"[1-9]\d*", text):
        return int(text)
    try:
        return size(text)
    except ArgumentTypeError:
        allowed = "HEIGHTxWIDTH in pixels, the length of the short side, or native"
        raise ArgumentTypeError(f"{text!r} is not {allowed}") from None


def count(text: str) -> int:
    """Parse a whole number above 0."""
    if not re.fullmatch(r"[1-9]\d*", text):
        raise ArgumentTypeError(f"{quoted(text)} is not a whole number above 0")
    return int(text)


def count_or_none(text: str) -> int:
    """Parse a whole number that may be 0."""
    return 0 if text == "0" else count(text)


def counts(text: str) -> list[int]:
    """Parse whole numbers above 0, with commas."""
    return [count(part.strip()) for part in text.split(",")]


def numbers(text: str) -> list[float]:
    """Parse numbers, with commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentTypeError(f"{quoted(text)} is not a list of numbers, such as 0.75,1") from None


def names(text: str) -> list[str]:
    """Parse names, with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def picture(text: str) -> str:
    """Parse the name of a picture to write."""
    if not text.lower().endswith((".png", ".jpg")):
        raise ArgumentTypeError(f"{quoted(text)}: the name of a picture must end in .png or .jpg")
    return text
