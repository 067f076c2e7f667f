"""`gss palette`: choose class colors and draw them."""

from argparse import ArgumentParser, Namespace

LIGHT = True  # runs, or finds mistakes, before torch is loaded
HELP = "choose class colours and draw them"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("num_classes", type=int, metavar="K", help="number of classes, 1 to 255")
    parser.add_argument("--method", choices=("maxmin", "lattice", "random", "jitter"), default="maxmin")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="FILE.png", help="write a swatch here")
    parser.set_defaults(files=["out"])


def run(args: Namespace) -> None:
    """Print the colors and their smallest distance, and write a swatch on demand."""
    from gss.posterior.palette import build, min_distance, swatch
    from gss.report.pictures import save_picture

    palette = build(args.method, args.num_classes, args.seed)
    if args.out:
        save_picture(args.out, swatch(palette))
    for index, (red, green, blue) in enumerate(palette.tolist()):
        print(f"{index:3d}  {red:3d} {green:3d} {blue:3d}  #{red:02x}{green:02x}{blue:02x}")
    print(f"{len(palette)} colours, minimum distance {min_distance(palette):.1f}")
