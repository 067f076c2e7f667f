"""`gss weak collect`: images that a tag classifier takes for what they do not show."""

import sys
from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_out, count

HELP = "images that a tag classifier takes for what they do not show"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of the tag classifier, such as that of `gss train weak-tags`")
    parser.add_argument("--images", nargs="+", required=True, metavar="FOLDER", help="searched with all folders below")
    help = "least probability of a class (default: %(default)s)"
    parser.add_argument("--threshold", type=float, default=0.5, metavar="P", help=help)
    parser.add_argument("--per-class", type=count, metavar="N", help="keep only the N highest of each predicted class")
    parser.add_argument("--exclude", metavar="FILE", help="list of rejected images that review.html of --out gave")
    parser.add_argument("--link", action="store_true", help="symbolic links to the images in place of copies")
    add_out(parser, "output folder: images, review.html and ood.json")


def run(args: Namespace) -> int:
    """Collect the images and print how many; return 1 when some could not be read."""
    from pathlib import Path

    from gss.core.distributed import device, is_main, run_on_main
    from gss.core.outputs import prepare_output
    from gss.data.files import find_images
    from gss.pipeline.loading import load_classifier
    from gss.weak.tags.collect import PAGE, collect, read_excluded

    out = Path(args.out)
    files = find_images(args.images, exclude=out)
    excluded = [] if args.exclude is None else read_excluded(args.exclude, files)
    model = load_classifier(args.pipeline)
    names = [model.config["class_names"][k] for k in model.classes]
    run_on_main(lambda: prepare_output(out, overwrite=args.overwrite))
    found = collect(
        lambda images: model(images).logits,
        names,
        files,
        out,
        threshold=args.threshold,
        per_class=args.per_class,
        excluded=excluded,
        size=model.config["image_size"],
        link=args.link,
        source=str(args.pipeline),
        device=device(),
    )
    if is_main():
        for failure in found.failed:
            print(f"gss: error: {failure.error}", file=sys.stderr)
        print(f"{len(found.kept)} of {len(found.kept) + len(found.others)} images look like a class")
        for k, name in enumerate(names):
            print(f"  {name}: {sum(image.predicted == k for image in found.kept)}")
        print(f"written to {out}; look through {out / PAGE}, then train with wood.ood={out}")
    return 1 if found.failed else 0
