"""`gss data init`: say how a folder is understood, and write it as a data spec that can be edited."""

from argparse import ArgumentParser, Namespace

LIGHT = True  # needs no torch
HELP = "understand a folder of images and labels, and write it as a data spec"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", help="folder with images and masks, or with annotation files")
    help = "keys of the spec that decide how it is read, such as mask='labels/{id}.*' or ignore=255"
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help=help)
    parser.add_argument("--out", metavar="FILE.yaml", help="file to write (default: data.yaml in the folder)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    parser.set_defaults(more="settings")


def run(args: Namespace) -> None:
    """Understand, write and print."""
    from pathlib import Path

    from gss.cli.endings import command
    from gss.core.errors import InputError
    from gss.core.lookup.near_paths import path_hint
    from gss.data.layouts.spec_file import write_spec_file
    from gss.data.specs.folder import FOLDER_SPEC, folder_hints, folder_keys, parse_hints, yolo_settings
    from gss.data.specs.load import load_spec

    root = Path(args.folder).expanduser()
    if not root.exists():
        hint = path_hint(args.folder, Path.is_dir) or "; give the folder that holds the images and the masks"
        raise InputError(f"{root}: there is no such folder{hint}")
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the folder that holds the images and the masks")
    taken = yolo_settings(root)
    path = Path(args.out).expanduser() if args.out else root / ("gss.yaml" if taken else FOLDER_SPEC)
    hints = {}
    if (root / FOLDER_SPEC).is_file():
        known = folder_hints(root)
        if known is None and path == root / FOLDER_SPEC and not args.overwrite:
            raise InputError(f"{path} is there already: edit it, pass --overwrite to replace it, or --out FILE.yaml")
        hints = known or {}
    elif path.exists() and not args.overwrite:
        raise InputError(f"{path} is there already: pass --overwrite to replace it, or choose another --out")
    keys, line = folder_keys(root, hints | parse_hints(args.settings))
    write_spec_file(path, keys, line, root)
    spec = load_spec(path)
    print(f"{root}: {line}")
    print(f"wrote {path}: {spec.label_space.num_classes} classes, splits {', '.join(spec.readable_splits())}")
    advice = spec.validation_advice()
    if advice:
        print(f"warning: no split validates: {advice}")
    data = root if path == root / FOLDER_SPEC else path
    print("next:", command("gss", "data", "check", data, "--sheet", "sheet.png"))
    print("then:", command("gss", "quickstart", "--data", data, "--stages", "posterior,prior", "--out", "runs/mine"))
