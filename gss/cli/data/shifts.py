"""`gss data shifts`: draw one image under every shift."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_files, add_shifts, add_split

HELP = "draw one image under every shift (noise, blur, weather, ...)"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="built-in name, YAML file or folder")
    add_split(parser, default="val")
    parser.add_argument("--image", metavar="ID", help="id of the image (default: the middle one of the split)")
    add_files(parser, required=True, sheet="the contact sheet")
    add_shifts(parser, severities="1,2,3,4,5")


def run(args: Namespace) -> None:
    """Draw the sheet and print what each shift does."""
    from gss.core.errors import InputError, quoted
    from gss.data.open import open_split
    from gss.data.shifts.apply import choose_severities, choose_shifts
    from gss.data.shifts.sheet import draw_shifts, list_shifts
    from gss.data.specs.load import load_spec
    from gss.report.pictures import save_picture

    shifts, severities = choose_shifts(args.shifts), choose_severities(args.severities)
    spec = load_spec(args.spec, args.root)
    dataset = open_split(spec, args.split)
    if args.image is not None and args.image not in dataset.ids:
        raise InputError(
            f"no image {quoted(args.image)} in {spec.name} {args.split}; its ids are like {quoted(dataset.ids[0])}"
        )
    index = len(dataset) // 2 if args.image is None else dataset.ids.index(args.image)
    sheet = draw_shifts(dataset, index, shifts=shifts, severities=severities, seed=args.seed)
    save_picture(args.sheet, sheet)
    print(list_shifts(shifts))
    print(f"image {dataset.ids[index]}")
