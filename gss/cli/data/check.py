"""`gss data check`: read every file of a data set and report what is wrong."""

from argparse import ArgumentParser, Namespace

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
    from gss.core.files import atomic_path, write_json
    from gss.data.check.split import check_domains, draw_sheets, findings, format_findings, num_problems
    from gss.data.specs.load import load_spec

    spec = load_spec(args.spec, args.root)
    reports = check_domains(spec, args.split)
    if args.json:
        write_json(args.json, findings(spec, reports))
    text = format_findings(spec, reports)
    if args.sheet:
        with atomic_path(args.sheet) as temporary:
            draw_sheets(spec, reports).save(temporary)
        text += f"\ncontact sheet: {args.sheet}"
    print(text)
    return 1 if num_problems(reports) else 0
