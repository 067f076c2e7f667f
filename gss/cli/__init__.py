"""The `gss` command: arguments in, typed calls out, one module a command.

Nothing heavy is imported before a command runs, so that `gss --help` answers at once.
"""

import gc
import importlib
import os
import sys
import traceback
import warnings
from argparse import Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import NoReturn

import gss
from gss.cli.checks import check_own, import_own
from gss.cli.endings import written
from gss.cli.following import following
from gss.cli.overview import epilog, overview
from gss.cli.parser import Parser
from gss.cli.runtime import announce, forgive_characters, highlight, one_line, quiet, show_warning
from gss.core.errors import InputError
from gss.core.interrupt import Interrupted, interruptible
from gss.core.invocation import invoked
from gss.core.machine import flush_denormals, keep_memory, uncollected
from gss.core.outputs import check_files, release_outputs, take_over_locks

COMMANDS: Mapping[str, str | Mapping[str, str]] = {
    "quickstart": "gss.cli.quickstart",
    "train": "gss.cli.train",
    "compare": "gss.cli.compare",
    "config": "gss.cli.config",
    "recon": "gss.cli.measure.recon",
    "transfer": "gss.cli.transfer",
    "evaluate": "gss.cli.measure.evaluate",
    "evaluate-shifts": "gss.cli.measure.evaluate_shifts",
    "cross-domain": "gss.cli.measure.cross_domain",
    "evaluate-ood": "gss.cli.measure.evaluate_ood",
    "evaluate-samples": "gss.cli.measure.evaluate_samples",
    "predict": "gss.cli.use.predict",
    "sample": "gss.cli.use.sample",
    "complete": "gss.cli.use.complete",
    "generate": "gss.cli.use.generate",
    "export": "gss.cli.use.export",
    "demo": "gss.cli.use.demo",
    "data": {
        "init": "gss.cli.data.init",
        "check": "gss.cli.data.check",
        "shifts": "gss.cli.data.shifts",
        "map": "gss.cli.data.map",
        "mix": "gss.cli.data.mix",
    },
    "weak": {
        "run": "gss.cli.weak.run",
        "make": "gss.cli.weak.make",
        "import": "gss.cli.weak.import_masks",
        "refine": "gss.cli.weak.refine",
        "produce": "gss.cli.weak.produce",
        "collect": "gss.cli.weak.collect",
        "seeds": "gss.cli.weak.seeds",
        "report": "gss.cli.weak.report",
    },
    "palette": "gss.cli.palette",
    "zoo": "gss.cli.zoo",
}
"""Command to its module, which has `HELP`, `add_arguments(parser)`, `run(args)` and perhaps `check(args)` and `NEEDS`,
modules that `run` needs and that take long to import; groups of commands are nested."""

_GROUPS = {
    "data": "look at a data set",
    "weak": "train from weak labels; make, import, refine and judge them",
}
_BUG = "gss: this is a bug in gss, not a mistake of yours: please report it with the lines above"
_BUG_CODE = 70  # EX_SOFTWARE of sysexits.h


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `gss` command.

    Args:
        argv: arguments after the program's name; those of the process by default.

    Returns:
        Exit code: 0, 1 where some of many inputs failed, 2 for a mistake in the input, 70 for a bug, 130 after Ctrl-C,
        143 after SIGTERM. argparse itself exits with 0 or 2.
    """
    help_page = "gss --help"
    try:
        forgive_characters()
        with interruptible():
            words = sys.argv[1:] if argv is None else list(argv)
            if not words or (len(words) == 1 and isinstance(COMMANDS.get(words[0]), Mapping)):
                words.append("--help")  # `gss` alone prints the map, `gss data` its commands
            parser = build_parser()
            complete(parser)
            args = parser.parse(words)
            help_page = f"{args.prog} --help"
            check_files({name: getattr(args, name) for name in getattr(args, "files", ()) if getattr(args, name)})
            take_over_locks(getattr(args, "force", False))
            module = importlib.import_module(args.module)
            with warnings.catch_warnings(), quiet(getattr(args, "quiet", False)), invoked(words):
                warnings.showwarning = show_warning()
                _check(module, args)
                flush_denormals(True)
                code = module.run(args) or 0
            files = [getattr(args, name) for name in getattr(args, "files", ()) if getattr(args, name)]
            if not getattr(args, "quiet", False) and os.environ.get("RANK", "0") == "0":
                ending = [written(files)] if files else []
                # Where some of the inputs failed, mending them comes first.
                ending += filter(None, [following(args.prog, args)]) if code == 0 else []
                if ending:
                    print("\n".join(ending))
            return code
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
        hint = f" (see {help_page})" if isinstance(error, InputError) else ""
        print(highlight(f"gss: error: {_message(error)}{hint}"), file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        print(_BUG, file=sys.stderr)
        return _BUG_CODE
    finally:
        release_outputs()
        flush_denormals(False)  # who called this function goes on as before


def _check(module: ModuleType, args: Namespace) -> None:
    """Refuse the mistakes that show without torch, then import it."""
    if hasattr(module, "check"):
        module.check(args)
    check_own(args)
    if getattr(module, "LIGHT", False):
        return
    if not args.quiet:
        announce(f"{args.prog}: starting")
    with uncollected():
        for name in ("torch", *getattr(module, "NEEDS", ())):
            importlib.import_module(name)
    keep_memory()
    import_own(args)


def console() -> NoReturn:
    """Run the command and end the process, as `gss` and `python -m gss` do."""
    code = main()
    # At its end the interpreter looks for cycles among half a million objects, which takes more than a second.
    gc.freeze()
    sys.exit(code)


def complete(parser: Parser) -> None:
    """Answer the shell if it asks for completions; argcomplete ends the process then."""
    if "_ARGCOMPLETE" in os.environ:
        try:
            import argcomplete
        except ImportError:
            return
        argcomplete.autocomplete(parser)


def build_parser() -> Parser:
    """Return the parser of all commands; the result of `parse` names the command's module as `module`."""
    parser = Parser(prog="gss", page=overview(dict(_helps(COMMANDS))))
    parser.add_argument("--version", action="version", version=f"gss {gss.__version__}")
    _add_commands(parser.add_subparsers(title="commands", metavar="COMMAND", required=True), COMMANDS)
    return parser


def _helps(table: Mapping[str, str | Mapping[str, str]], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield every command with its help in a line."""
    for name, entry in table.items():
        if isinstance(entry, str):
            yield f"{before}{name}", importlib.import_module(entry).HELP
        else:
            yield from _helps(entry, f"{name} ")


def _add_commands(commands: _SubParsersAction, table: Mapping[str, str | Mapping[str, str]], before: str = "") -> None:
    for name, entry in table.items():
        if not isinstance(entry, str):
            group = commands.add_parser(name, help=_GROUPS[name], description=_sentence(_GROUPS[name]))
            _add_commands(group.add_subparsers(metavar="ACTION", required=True), entry, f"{name} ")
            continue
        module = importlib.import_module(entry)
        described = {"help": module.HELP, "description": _sentence(module.HELP), "epilog": epilog(f"{before}{name}")}
        command = commands.add_parser(name, formatter_class=RawDescriptionHelpFormatter, **described)
        module.add_arguments(command)
        if not getattr(module, "LIGHT", False):  # what is not light takes time, and prints more than its result
            command.add_argument("--quiet", action="store_true", help="print only errors and warnings")
        command.set_defaults(module=entry, prog=command.prog)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return one_line(f"{error.filename}: {error.strerror}")
    return one_line(str(error)) or type(error).__name__
