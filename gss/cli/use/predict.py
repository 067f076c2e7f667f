"""`gss predict`: segment images and videos."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from gss.cli.checks import check_choices, check_joint, check_out, check_pipeline, check_range
from gss.cli.parser import add_out, add_running, add_window, count, names, numbers, run_size
from gss.cli.runtime import parse_device, parse_dtype

if TYPE_CHECKING:
    from gss.jobs.predict import Predictions, Settings
    from gss.pipeline.pipeline import GSSPipeline

HELP = "segment images and videos"
NEEDS = ("gss.pipeline.loading", "gss.jobs.predict.run")


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipeline", help="folder of the pipeline")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="image files, videos, folders or quoted globs")
    add_out(parser)
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run has done, and do the rest")
    help = "files to write, out of mask,maskige,overlay,confidence,scores,heat,alarms (default: all there are)"
    parser.add_argument("--outputs", type=names, metavar="A,B", help=help)
    add_window(parser)
    add_running(parser, batch_size=4)
    help = "what runs the network; onnx takes a file of 'gss export' (default: %(default)s)"
    parser.add_argument("--backend", choices=("torch", "onnx"), default="torch", help=help)
    help = "file of --backend onnx (default: onnx/model.onnx in PIPELINE)"
    parser.add_argument("--onnx", metavar="FILE", help=help)
    help = "what shares the images out; ray is a cluster, and takes --source (default: %(default)s)"
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help=help)
    help = "folder, file, glob or tar shards of --engine ray, on any file system of fsspec; --out is a URL too then"
    parser.add_argument("--source", metavar="URL", help=help)
    help = "actors of --engine ray (default: one for each GPU, or else CPU, of the cluster)"
    parser.add_argument("--actors", type=count, metavar="N", help=help)
    help = "cluster of --engine ray (default: RAY_ADDRESS, or else this machine)"
    parser.add_argument("--address", metavar="HOST:PORT", help=help)
    help = "size to run at: HxW, the length of the short side, or native (default: the scale of training)"
    parser.add_argument("--size", type=run_size, metavar="SIZE", help=help)
    help = "sizes relative to that, averaged, with commas"
    parser.add_argument("--scales", type=numbers, default=[1.0], metavar="0.75,1", help=help)
    help = "hard, marginal, expected, aux, fused, refined, density or joint (default: best)"
    parser.add_argument("--decode", metavar="MODE", help=help)
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image")
    help = "out-of-distribution scores to write, with commas; best for the pipeline's default"
    parser.add_argument("--scores", type=names, default=[], metavar="A,B", help=help)
    help = "share of the pixels of training images that raises an alarm (default: 0.01)"
    parser.add_argument("--alarm-rate", type=float, metavar="SHARE", help=help)
    help = "masks that a joint prior draws of each image, to write where they differ"
    parser.add_argument("--samples", type=count, default=0, metavar="N", help=help)
    parser.set_defaults(more="images")


def check(args: Namespace) -> None:
    """Refuse wrong names, paths and combinations of arguments before anything heavy is imported."""
    from pathlib import Path

    from gss.core.errors import InputError
    from gss.data.files import find_inputs
    from gss.jobs.predict.names import INPUT_SUFFIXES, OUTPUTS

    _check_engine(args)
    check_choices("output", args.outputs, OUTPUTS, "--outputs")
    check_range("--alarm-rate", args.alarm_rate, 0, 1, "0.01")
    if args.alarm_rate is not None and not args.scores:
        raise InputError("--alarm-rate is about scores: name some with --scores, such as --scores best")
    onnx = args.backend == "onnx"  # then the file says which mode and score there are
    scores = () if onnx else [name for name in args.scores if name != "best"]
    modes = [args.decode] if args.decode and not onnx else []
    check_pipeline(args.pipeline, stage=_stage(args), modes=modes, scores=scores, mode_option="--decode")
    if args.samples:
        check_joint(args.pipeline, "sample")
    if args.engine == "local":
        find_inputs(args.images, exclude=Path(args.out), suffixes=INPUT_SUFFIXES)
        check_out(args)


def run(args: Namespace) -> int:
    """Segment what can be read; return 1 when an image failed."""
    return _run_on_ray(args) if args.engine == "ray" else _run_here(args)


def _stage(args: Namespace) -> str:
    """Return the stage of a job whose pipeline is meant, see `find_pipeline`; all of them give the same masks."""
    if args.samples or args.decode == "refined":
        return "joint"
    return "density" if args.scores or args.decode in ("density", "joint") else ""


def _check_engine(args: Namespace) -> None:
    """Refuse arguments that belong to another engine."""
    from gss.core.errors import InputError

    if args.engine == "local":
        for name in ("source", "actors", "address"):
            if getattr(args, name) is not None:
                raise InputError(f"--{name} is about --engine ray: add it, or name the images without --{name}")
        if not args.images:
            raise InputError("no image is named: give image files, videos, folders or quoted globs")
        return
    if args.images:
        raise InputError(f"--engine ray takes its images from --source URL, not from {args.images[0]!r}")
    if args.source is None:
        raise InputError("--engine ray needs --source URL: a folder, a file, a glob or tar shards")
    if args.backend != "torch":
        raise InputError("--engine ray runs --backend torch only")


def _run_on_ray(args: Namespace) -> int:
    """Segment a source on a cluster of Ray."""
    from pathlib import Path

    from gss.cli.runtime import parse_dtype
    from gss.core.lookup.run_folders import find_pipeline
    from gss.integrations.ray import Job, predict_source
    from gss.integrations.ray.cluster import load_ray
    from gss.pipeline.loading import load_pipeline
    from gss.pipeline.store.saving import digest

    load_ray()  # before anything that takes time
    folder = Path(find_pipeline(args.pipeline, stage=_stage(args)))
    pipeline = load_pipeline(folder, device="cpu", dtype=parse_dtype(args.dtype), exact=args.all_codes)
    job = Job(
        str(folder.absolute()),
        args.source,
        args.out,
        batch_size=args.batch_size,
        device=args.device,
        dtype=args.dtype,
        exact=args.all_codes,
        actors=args.actors,
        address=args.address,
        overwrite=args.overwrite,
        resume=args.resume,
    )
    result = predict_source(pipeline, job, _settings(args, pipeline), source=args.pipeline, weights=digest(folder))
    return _report(result, len(result.images) + len(result.failed), args.out)


def _run_here(args: Namespace) -> int:
    """Segment images and videos in this process, or in all that a launcher started."""
    from pathlib import Path

    from gss.core.distributed import is_main, run_on_main
    from gss.core.interrupt import Interrupted
    from gss.core.lookup.run_folders import find_pipeline
    from gss.core.outputs import prepare_output
    from gss.data.files import find_inputs
    from gss.jobs.predict import predict
    from gss.jobs.predict.names import INPUT_SUFFIXES
    from gss.jobs.predict.video import is_video, load_av
    from gss.pipeline.loading import load_pipeline
    from gss.pipeline.store.saving import digest

    out = Path(args.out)
    inputs = find_inputs(args.images, exclude=out, suffixes=INPUT_SUFFIXES)
    if any(is_video(item.path) for item in inputs):
        load_av()
    # Of a job that trained a joint prior, the pipeline that has it.
    folder = find_pipeline(args.pipeline, stage=_stage(args))
    pipeline = load_pipeline(
        folder, device=parse_device(args.device), dtype=parse_dtype(args.dtype), exact=args.all_codes
    )
    weights = digest(folder)
    if args.backend == "onnx":
        from gss.core.lookup.run_folders import find_pipeline
        from gss.export import OnnxModel, OnnxPipeline

        model = OnnxModel(args.onnx or find_pipeline(args.pipeline) / "onnx" / "model.onnx")
        pipeline = OnnxPipeline.wrap(pipeline, model, weights=weights)
    settings = _settings(args, pipeline)
    # Once for all processes: the second would find the first one's files.
    run_on_main(lambda: prepare_output(out, overwrite=args.overwrite, resume=args.resume))
    try:
        result = predict(
            pipeline,
            inputs,
            out,
            settings,
            source=args.pipeline,
            weights=weights,
            batch_size=args.batch_size,
            workers=args.workers,
            resume=args.resume,
        )
    except Interrupted as stop:
        same = "the same command" if args.resume else "the same command with --resume"
        raise Interrupted(stop.number, f"{same} does the rest", stop.after) from None
    return _report(result, len(inputs), args.out) if is_main() else int(bool(result.failed))


def _report(result: Predictions, inputs: int, out: str) -> int:
    """Print what failed and the summary; return 1 when an image failed."""
    from gss.jobs.predict.summary import summary

    for failure in result.failed:
        print(f"gss: error: {failure.error}", file=sys.stderr)
    for line in summary(result, inputs, out):
        print(line)
    return 1 if result.failed else 0


def _settings(args: Namespace, pipeline: GSSPipeline) -> Settings:
    """Return the choices of the arguments, checked against the pipeline."""
    from gss.core.errors import InputError
    from gss.jobs.predict import OUTPUTS, Settings
    from gss.ood.alarms import DEFAULT_RATE
    from gss.pipeline.sampling.arguments import need_joint

    decode = args.decode or pipeline.default_decode
    scores = tuple(dict.fromkeys(pipeline.default_score if name == "best" else name for name in args.scores))
    pipeline.check_inputs([decode], window=args.window, size=args.size, scales=args.scales)
    pipeline.check_scores(scores)
    rate = args.alarm_rate
    if rate is None and scores and all(name in pipeline.alarm_scores for name in scores):
        rate = DEFAULT_RATE
    for name in scores if rate is not None else ():
        pipeline.alarm_threshold(name, rate)
    if args.samples:
        need_joint(pipeline.joint, pipeline.likelihood, "sample")
    outputs = OUTPUTS if args.outputs is None else tuple(dict.fromkeys(args.outputs))
    asked = () if args.outputs is None else outputs
    for kind in ("scores", "heat", "alarms"):
        if kind in asked and not scores and not (args.samples and kind != "alarms"):
            raise InputError(f"--outputs {kind} needs scores: name some with --scores, such as --scores best")
    if "alarms" in asked and rate is None:
        raise InputError("--outputs alarms needs thresholds of these scores: 'gss train density' learns them")
    if "maskige" in asked and args.backend == "onnx":
        raise InputError("--outputs maskige is not there with --backend onnx: leave it out, or use --backend torch")
    if asked == ("maskige",) and pipeline.vqvae is None:
        raise InputError("--outputs maskige needs tokens, which a discriminative network does not have")
    return Settings(
        decode=decode,
        window=args.window,
        flip=args.flip,
        scales=tuple(args.scales),
        size=args.size,
        scores=scores,
        alarm_rate=rate,
        outputs=outputs,
        samples=args.samples,
    )
