"""`gss demo`: a page that runs a pipeline in the browser."""

from argparse import ArgumentParser, Namespace

from gss.cli.checks import check_out, check_pipeline
from gss.cli.parser import add_out, size

HELP = "write a page that runs a pipeline in the browser, without a server"
NEEDS = ("gss.pipeline.loading",)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of the pipeline")
    add_out(parser)
    parser.add_argument("--size", type=size, metavar="HxW", help="height and width that photos run at")
    parser.add_argument("--onnx", metavar="FILE", help="file of 'gss export' to use (default: one is made)")
    parser.add_argument("--int8", action="store_true", help="use 8-bit integers: a smaller file, less exact")
    parser.add_argument("--title", default="Segmentation in the browser", help="title of the page")
    help = "share of the pixels of training images that raises an alarm (default: 0.01)"
    parser.add_argument("--alarm-rate", type=float, metavar="SHARE", help=help)
    help = "folder dist of onnxruntime-web (default: npm fetches it once)"
    parser.add_argument("--runtime", metavar="DIR", help=help)


def check(args: Namespace) -> None:
    """Refuse wrong paths and missing arguments before anything heavy is imported."""
    from pathlib import Path

    from gss.core.errors import InputError
    from gss.ood.alarms import check_rate

    if args.onnx is None and args.size is None:
        raise InputError("--size HxW is missing: the size that photos run at, such as 256x320; or --onnx FILE")
    if args.alarm_rate is not None:
        check_rate(args.alarm_rate)
    if args.onnx and not Path(args.onnx).is_file():
        raise InputError(f"--onnx {args.onnx}: there is no such file; 'gss export' writes one")
    check_pipeline(args.pipeline)
    check_out(args)


def run(args: Namespace) -> None:
    """Write the page."""
    import tempfile
    from pathlib import Path

    from gss.core.outputs import prepare_output
    from gss.export import OnnxModel, export_onnx, quantize
    from gss.export.demo.build import build_page
    from gss.export.demo.runtime import web_runtime
    from gss.export.graph import check_graph_size
    from gss.pipeline.loading import load_pipeline
    from gss.pipeline.store.saving import digest

    runtime = web_runtime(Path(args.runtime) if args.runtime else None)
    out = prepare_output(args.out, overwrite=args.overwrite)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(args.onnx) if args.onnx else Path(folder) / "model.onnx"
        if args.onnx is None:
            pipeline = load_pipeline(args.pipeline, device="cpu")
            check_graph_size(pipeline, args.size)
            print(f"exporting {args.pipeline} at {args.size[0]}x{args.size[1]}")
            export_onnx(pipeline, file, args.size, weights=digest(Path(args.pipeline)))
        if args.int8:
            quantize(file, Path(folder) / "model.int8.onnx")
            file = Path(folder) / "model.int8.onnx"
        build_page(OnnxModel(file), runtime, out, title=args.title, alarm_rate=args.alarm_rate)
    print(f"open {out / 'index.html'} in a browser; the folder can be put on any web server as it is")
