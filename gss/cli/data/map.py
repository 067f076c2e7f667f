"""`gss data map`: print the mapping between the classes of two data sets."""

from argparse import ArgumentParser, Namespace

LIGHT = True  # runs, or finds mistakes, before torch is loaded
HELP = "print what the classes of one data set are in another"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="FROM", help="data set, or folder of the pipeline that predicts")
    parser.add_argument("target", metavar="TO", help="data set to measure on")
    parser.add_argument("--mseg", metavar="FILE", help="MSeg_master.tsv: map by way of its universal classes")
    parser.add_argument("--map", metavar="FILE.yaml", help="mapping written by hand or by --out")
    parser.add_argument("--out", metavar="FILE.yaml", help="write the mapping here, to correct it")
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --out")
    parser.set_defaults(files=["out"])


def run(args: Namespace) -> None:
    """Find the mapping, print it and write it on demand."""
    from pathlib import Path

    from gss.core.errors import InputError
    from gss.data.mapping import find_mapping, open_side
    from gss.data.specs.load import builtin_specs
    from gss.labels.mapping_files import format_mapping, save_mapping
    from gss.labels.mseg import MSegTaxonomy
    from gss.labels.names import by_key

    if args.out and Path(args.out).exists() and not args.overwrite:
        raise InputError(f"{args.out} exists and may hold corrections; pass --overwrite or another --out")
    mseg = MSegTaxonomy.read(args.mseg) if args.mseg else None
    refs = (args.source, args.target)
    source, target = (open_side(ref, mseg) for ref in refs)
    mapping, origin = find_mapping(source, target, file=args.map, mseg=mseg)
    if args.out:
        builtin = [ref if ref in builtin_specs() else "" for ref in refs]
        save_mapping(mapping, args.out, source=builtin[0], target=builtin[1])
    sizes = [
        f"{ref} ({side.label_space.num_classes} classes)" for ref, side in zip(refs, (source, target), strict=True)
    ]
    print(f"{' -> '.join(sizes)}, {origin}\n\n{format_mapping(mapping)}")
    theirs = by_key(mapping.target)
    same = [name for key, name in by_key(mapping.source).items() if name in mapping.dropped and key in theirs]
    if same:
        print(f"left out although the other side has a class of that name: {', '.join(same)}")
