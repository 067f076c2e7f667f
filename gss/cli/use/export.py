"""`gss export`: write a pipeline as one file for other runtimes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gss.cli.checks import check_data, check_pipeline
from gss.cli.parser import add_force, count, size

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

HELP = "write a pipeline as an ONNX file or a torch.export archive"
NEEDS = ("gss.pipeline.loading",)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of the pipeline")
    parser.add_argument("--onnx", metavar="FILE", help="write an ONNX file here (default: onnx/model.onnx in PIPELINE)")
    parser.add_argument("--pt2", metavar="FILE", help="write a torch.export archive here")
    parser.add_argument("--size", type=size, required=True, metavar="HxW", help="height and width of the image")
    parser.add_argument("--int8", action="store_true", help="also write FILE.int8.onnx, with 8-bit integers")
    help = "also write the joint prior: FILE.encode.onnx once an image, FILE.step.onnx once a step of drawing"
    parser.add_argument("--joint", action="store_true", help=help)
    parser.add_argument("--decode", metavar="MODE", help="decode mode (default: best)")
    parser.add_argument("--score", metavar="NAME", help="out-of-distribution score (default: best)")
    help = "images to compare the file and the pipeline on (default: generated scenes)"
    parser.add_argument("--images", nargs="+", metavar="IMAGE", help=help)
    parser.add_argument("--data", metavar="SPEC", help="data set to compare them on, with labels, instead of --images")
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--split", default="val", help="default: %(default)s")
    parser.add_argument("--limit", type=count, default=16, metavar="N", help="images compared (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier files")
    add_force(parser, folder="the folder of FILE")


def check(args: Namespace) -> None:
    """Refuse wrong names, paths and combinations of arguments before anything heavy is imported."""
    from gss.core.errors import InputError
    from gss.data.files import find_images

    if args.images and args.data:
        raise InputError("--images and --data exclude each other: give one of them")
    onnx, pt2 = _files(args)
    for option in ("int8", "joint"):
        if getattr(args, option) and onnx is None:
            raise InputError(f"--{option} is about ONNX files: name one with --onnx")
    for option, file, ending in (("--onnx", onnx, ".onnx"), ("--pt2", pt2, ".pt2")):
        if file is not None and file.suffix != ending:
            raise InputError(f"{option} {file}: the name must end in {ending}")
        if file is not None and file.exists() and not args.overwrite:
            raise InputError(f"{file} exists: pass --overwrite to replace it, or choose another {option}")
    modes, scores = ([name] if name else [] for name in (args.decode, args.score))
    check_pipeline(args.pipeline, modes=modes, scores=scores, mode_option="--decode", score_option="--score")
    if args.images:
        find_images(args.images)
    if args.data:
        check_data(args.data, args.root, [args.split])


def _files(args: Namespace) -> tuple[Path | None, Path | None]:
    """Return the ONNX file and the archive to write."""
    from pathlib import Path

    from gss.core.lookup.run_folders import find_pipeline

    pt2 = Path(args.pt2) if args.pt2 else None
    if args.onnx or pt2:
        return Path(args.onnx) if args.onnx else None, pt2
    return find_pipeline(args.pipeline) / "onnx" / "model.onnx", None


def run(args: Namespace) -> None:
    """Write and compare the files."""
    from pathlib import Path

    from gss.core.outputs import check_writable, locked
    from gss.export.graph import check_graph_size
    from gss.export.job import export
    from gss.pipeline.loading import load_pipeline
    from gss.pipeline.sampling.arguments import need_joint
    from gss.pipeline.store.saving import digest

    onnx, pt2 = _files(args)
    pipeline = load_pipeline(args.pipeline, device="cpu")
    check_graph_size(pipeline, args.size)  # before anything is written or said
    if args.joint:
        need_joint(pipeline.joint, pipeline.likelihood, "--joint")
    for option, file in (("--onnx", onnx), ("--pt2", pt2)):
        if file is not None:
            check_writable(file, option)
    first = onnx or pt2
    assert first is not None
    first.parent.mkdir(parents=True, exist_ok=True)
    source, images = _images(args)
    with locked(first.parent):
        result = export(
            pipeline,
            args.size,
            images,
            source=source,
            onnx=onnx,
            pt2=pt2,
            int8=args.int8,
            joint=args.joint,
            decode=args.decode,
            score=args.score,
            weights=digest(Path(args.pipeline)),
            say=print,
        )
    parity = result.parity
    print(f"compared on {parity.images} images of {source}")
    print(f"PyTorch: {_miou(parity.torch_miou)}{parity.torch_seconds:.3f} s an image")
    for name, found in parity.runs.items():
        print(
            f"{name}: {100 * found.labels_equal:.4f} % of the labels equal, probabilities within "
            f"{found.probability_difference:.2g}, {_miou(found.miou)}{found.seconds:.3f} s an image"
        )
    if parity.joint is not None:
        print(
            f"joint prior: {100 * parity.joint.tokens_equal:.4f} % of the tokens equal, probabilities within "
            f"{parity.joint.probability_difference:.2g}, {parity.joint.seconds:.3f} s an image and step "
            f"(PyTorch: {parity.joint.torch_seconds:.3f} s)"
        )
    print(f"report: {result.report}")


def _images(args: Namespace) -> tuple[str, Iterator[tuple[Any, np.ndarray | None]]]:
    """Return where the images to compare on come from, and the images with their labels."""
    from gss.core.sampling import evenly_spaced
    from gss.data.files import find_images
    from gss.data.open import open_split
    from gss.data.specs.load import load_spec

    if args.images:
        paths = find_images(args.images)
        chosen = [paths[index] for index in evenly_spaced(len(paths), args.limit)]
        return " ".join(args.images), ((path, None) for path in chosen)
    dataset = open_split(load_spec(args.data or "scenes", args.root), args.split)
    indices = evenly_spaced(len(dataset), args.limit)
    pairs = (dataset.read(int(index)) for index in indices)
    if args.data:
        return f"{args.data}, split {args.split}", pairs
    return "generated scenes (--images compares on yours)", ((image, None) for image, _ in pairs)


def _miou(value: float | None) -> str:
    return "" if value is None else f"mIoU {value:.4f}, "
