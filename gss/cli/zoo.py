"""`gss zoo`: list the trained pipelines that come with the project."""

from argparse import ArgumentParser, Namespace

HELP = "list the trained pipelines that come with the project"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--folder", help="folder of pipelines (default: zoo/ of the project)")
    parser.add_argument("--json", metavar="FILE", help="write the list here")
    parser.set_defaults(files=["json"])


def run(args: Namespace) -> None:
    """Print a table of the pipelines and how to use the first."""
    from gss.core.files import write_json
    from gss.pipeline.store.zoo import FOLDER, list_models
    from gss.report.tables import Cell, Table, tables_text

    folder = args.folder or FOLDER
    models = list_models(folder)
    if args.json:
        write_json(args.json, [model.to_json() for model in models])
    rows: list[list[Cell]] = [
        [model.name, len(model.classes), f"{model.megabytes:.1f} MB", model.folder] for model in models
    ]
    if not rows:
        print(f"no pipelines in {folder}")
        return
    print(tables_text([Table("", ["model", "classes", "size", "folder"], rows)]))
    print(f"next: gss predict {models[0].folder} PHOTO.jpg --out masks")
