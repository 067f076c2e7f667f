"""`gss data check`: read every file of a data set and report what is wrong."""

from argparse import ArgumentParser, Namespace

from gss.cli.endings import command
from gss.cli.parser import add_files

HELP = "report missing pairs, wrong sizes, unknown labels, class shares"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="built-in name, YAML file or folder")
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--split", help="only this split")
    add_files(parser, json="the findings", sheet="a contact sheet")


def run(args: Namespace) -> int:
    """Check and print; return 1 when problems were found."""
    from gss.core.files import write_json
    from gss.data.check.report import check_data
    from gss.data.check.sheet import draw_sheets
    from gss.data.check.text import format_data
    from gss.data.specs.load import load_spec
    from gss.report.pictures import save_picture

    report = check_data(load_spec(args.spec, args.root), args.split)
    if args.json:
        write_json(args.json, report.to_json())
    text = format_data(report)
    if args.sheet:
        save_picture(args.sheet, draw_sheets(report))
    if not report.num_problems:
        root = ["--root", args.root] if args.root else []
        following = ("--data", args.spec, *root, "--stages", "posterior,prior", "--out", "runs/mine")
        text += f"\nnext: {command('gss', 'quickstart', *following)}"
    print(text)
    return 1 if report.num_problems else 0
