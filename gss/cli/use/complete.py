"""`gss complete`: complete partial masks."""

from argparse import ArgumentParser, Namespace

from gss.cli.checks import check_data, check_joint, check_out
from gss.cli.parser import add_limit, add_out, add_split
from gss.cli.use.drawing import add_run_size, add_sampling, check_sampling, load, report
from gss.pipeline.sampling import defaults

HELP = "complete partial masks, given pixels are kept"
NEEDS = ("gss.pipeline.loading",)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of a pipeline with a joint prior")
    help = "files, folders or quoted globs of partial masks: class numbers, 255 where unknown"
    parser.add_argument("masks", nargs="*", metavar="MASK", help=help)
    help = "image files, folders or quoted globs, of the same names; without, masks are completed alone"
    parser.add_argument("--images", nargs="+", metavar="IMAGE", help=help)
    help = "data set to take the masks from instead, such as one with clicks, scribbles or boxes"
    parser.add_argument("--data", metavar="SPEC", help=help)
    add_split(parser)
    add_limit(parser)
    parser.add_argument("--without-images", action="store_true", help="do not read the images of --data")
    add_out(parser)
    add_sampling(
        parser, n=4, what="paths through the unknown cells, whose mean is the mask", settings=defaults.COMPLETE
    )
    add_run_size(parser)
    parser.set_defaults(more="masks")


def check(args: Namespace) -> None:
    """Refuse wrong paths, settings and combinations before anything heavy is imported."""
    from pathlib import Path

    from gss.core.errors import InputError
    from gss.data.files import find_images

    if bool(args.masks) == bool(args.data):
        raise InputError("give masks, or --data with a data set of partial masks: one of the two")
    if args.data and args.images:
        raise InputError("--images belongs to mask files; the images of --data are those of the data set")
    check_joint(args.pipeline, "gss complete")
    if args.data:
        check_data(args.data, args.root, [args.split])
    for paths in filter(None, (args.masks, args.images)):
        find_images(paths, exclude=Path(args.out))
    check_sampling(args)
    check_out(args)


def run(args: Namespace) -> int:
    """Complete what can be read; return 1 when a mask failed."""
    from pathlib import Path

    from gss.core.distributed import run_on_main
    from gss.core.outputs import prepare_output
    from gss.core.sampling import evenly_spaced
    from gss.data.files import find_images
    from gss.data.open import open_split
    from gss.data.specs.load import load_spec
    from gss.evaluation.checks import check_classes, class_names
    from gss.jobs.sampling.complete import complete_masks, data_masks, mask_files

    out = Path(args.out)
    pipeline, draws = load(args, "gss complete")
    if args.data:
        dataset = open_split(load_spec(args.data, args.root), args.split)
        check_classes(class_names(pipeline), dataset.label_space.names)
        chosen = evenly_spaced(len(dataset), args.limit)
        masks = data_masks(dataset, chosen, with_images=not args.without_images)
    else:
        images = find_images(args.images, exclude=out) if args.images else None
        masks = mask_files(find_images(args.masks, exclude=out), images)
    run_on_main(lambda: prepare_output(out, overwrite=args.overwrite))
    done, failed = complete_masks(
        pipeline,
        masks,
        out,
        draws,
        facts={"pipeline": args.pipeline, "data": args.data},
    )
    return report(failed, f"{len(done)} of {len(masks.names)} masks completed into {out}")
