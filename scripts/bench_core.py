"""Core operations against the usual way to compute them: time, peak memory and equality of results.

    python scripts/bench_core.py [--quick] [--only NAME] [--json FILE] [--repeats N] [--threads N] [--cpu-time]

Ours and the peer run in turns, in one process and on the same input; each time is the shortest of the
repeats (fewer where they would take more than two minutes together). With --cpu-time it is processor time,
which other work on a busy machine changes less. A peak is measured in a process per row and side, forked before
anything else has run, which makes the input, resets the kernel's high-water mark of resident memory, runs the
operation once and reports how far the mark rose (/proc/self/clear_refs and VmHWM; elsewhere `ru_maxrss`, whose
mark includes making the input).

`max_error` is the largest absolute difference of the two results; for label maps the share of pixels that
differ, for the table the difference of squared distances (0 where both took one of two equally near colours),
for losses the largest gradient difference relative to the largest gradient.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gss.core.files import write_json
from gss.posterior.codec import MaskigeCodec
from gss.posterior.inverses import nearest_table
from gss.posterior.likelihood import CellLikelihood
from gss.posterior.palette import maxmin
from gss.training.losses.classification import token_cross_entropy
from gss.training.losses.marginal import token_and_pixel_loss


@dataclass(frozen=True)
class Case:
    """The two sides of a row, on one input, and how far their results are apart (None: not comparable)."""

    ours: Callable[[], Any]
    peer: Callable[[], Any]
    error: Callable[[Any, Any], float] | None


@dataclass(frozen=True)
class Row:
    name: str
    peer: str
    build: Callable[[bool], Case]


def differing(ours: Tensor | np.ndarray, peer: Tensor | np.ndarray) -> float:
    return float((torch.as_tensor(ours) != torch.as_tensor(peer)).double().mean())


def farthest(ours: Tensor, peer: Tensor) -> float:
    return float((ours - peer).abs().max())


def broadcast_nearest(pixels: Tensor, palette: Tensor) -> Tensor:
    """Squared distance of every pixel `[B, 3, H, W]` to every colour `[K, 3]`, all at once."""
    return (pixels[:, None] - palette[None, :, :, None, None]).square().sum(2).argmin(1)


def nearest_colour(quick: bool) -> Case:
    side = 128 if quick else 1024
    codec = MaskigeCodec(maxmin(150).tolist())
    maskige = torch.rand(1, 3, side, side) * 2 - 1
    palette = codec.palette / 127.5 - 1
    return Case(lambda: codec.decode(maskige), lambda: broadcast_nearest(maskige, palette), differing)


def table_lookup(quick: bool) -> Case:
    side = 128 if quick else 1024
    codec = MaskigeCodec(maxmin(150).tolist())
    picture = torch.randint(0, 256, (side, side, 3), dtype=torch.uint8).numpy()
    codec.decode_image(picture[:1])  # the table, built once per codec, has its own row

    def peer() -> np.ndarray:
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
        return broadcast_nearest(pixels, codec.palette)[0].numpy()

    return Case(lambda: codec.decode_image(picture), peer, differing)


def table_build(quick: bool) -> Case:
    codec = MaskigeCodec(maxmin(19 if quick else 150).tolist())
    palette = codec.palette.numpy()

    def peer() -> np.ndarray:
        levels = torch.arange(256.0) / 127.5 - 1
        table = np.empty((256, 256, 256), dtype=np.uint8)
        for red in range(256):
            plane = torch.stack(torch.meshgrid(levels[red : red + 1], levels, levels, indexing="ij"))
            table[red] = codec.decode(plane.movedim(1, 0))[0].numpy()
        return table

    def error(ours: np.ndarray, theirs: np.ndarray) -> float:
        where = np.nonzero(ours != theirs)
        pixels = np.stack(where, axis=1).astype(np.float64)
        first, second = (np.square(pixels - palette[labels[where]]).sum(axis=1) for labels in (ours, theirs))
        return float(np.abs(first - second).max(initial=0.0))

    return Case(lambda: nearest_table(palette), peer, error)


def token_embedding(quick: bool) -> Case:
    side = 16 if quick else 128
    codes = torch.randn(8192, 128)
    tokens = torch.randint(0, 8192, (1, side, side))

    def peer() -> Tensor:
        one_hot = F.one_hot(tokens, 8192).permute(0, 3, 1, 2).float()
        return F.conv2d(one_hot, codes.t()[:, :, None, None])

    return Case(lambda: F.embedding(tokens, codes).permute(0, 3, 1, 2).contiguous(), peer, farthest)


def label_upsampling(quick: bool) -> Case:
    side = 64 if quick else 512
    labels = torch.randint(0, 150, (1, side, side))
    labels[0, : side // 8] = 150  # void

    def ours() -> Tensor:
        return labels[:, :, None, :, None].expand(-1, -1, 2, -1, 2).reshape(1, 2 * side, 2 * side)

    def peer() -> Tensor:
        one_hot = F.one_hot(labels, 151).permute(0, 3, 1, 2).float()
        return F.interpolate(one_hot, scale_factor=2, mode="bilinear", align_corners=False).argmax(1)

    return Case(ours, peer, differing)


def token_loss(chunk: int) -> Callable[[bool], Case]:
    def build(quick: bool) -> Case:
        side, codes = (16, 1024) if quick else (128, 8192)
        hidden = torch.randn(1, 64, side, side, requires_grad=True)
        weight = (torch.randn(codes, 64) / 8).requires_grad_()
        bias = torch.zeros(codes, requires_grad=True)
        targets = torch.randint(0, codes, (1, side, side))
        targets[:, ::7] = -100

        def ours() -> tuple[Tensor, ...]:
            loss = token_cross_entropy(hidden, weight, bias, targets, chunk=chunk)
            return torch.autograd.grad(loss, (hidden, weight, bias))

        def peer() -> tuple[Tensor, ...]:
            logits = F.conv2d(hidden, weight[:, :, None, None], bias)
            return torch.autograd.grad(F.cross_entropy(logits, targets), (hidden, weight, bias))

        def error(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> float:
            pairs = zip(first, second, strict=True)
            return max(farthest(a, b) / float(b.abs().max()) for a, b in pairs)

        return Case(ours, peer, error)

    return build


def marginal_loss(quick: bool) -> Case:
    B, side, V, K, f = (1, 8, 128, 5, 4) if quick else (4, 48, 1024, 11, 4)
    hidden = torch.randn(B, 64, side, side, requires_grad=True)
    weight = (torch.randn(V, 64) / 8).requires_grad_()
    bias = torch.zeros(V, requires_grad=True)
    likelihood = CellLikelihood(V, K, f)
    likelihood.set_table(torch.randn(V, K, f, f).softmax(1))
    labels = torch.randint(0, K, (B, side * f, side * f))
    targets = torch.randint(0, V, (B, 1, side, side))
    probs = torch.ones(targets.shape)

    def ours() -> tuple[Tensor, ...]:
        loss, *_ = token_and_pixel_loss(
            hidden,
            weight,
            bias,
            targets=targets,
            target_probs=probs,
            labels=labels,
            table=likelihood.table,
            token_scale=1.0,
            pixel_scale=1.0,
        )
        return torch.autograd.grad(loss, (hidden, weight, bias))

    def peer() -> tuple[Tensor, ...]:
        logits = F.conv2d(hidden, weight[:, :, None, None], bias)
        pixel = F.nll_loss(likelihood.marginal(logits.softmax(1)).log(), labels)
        return torch.autograd.grad(F.cross_entropy(logits, targets[:, 0]) + pixel, (hidden, weight, bias))

    def error(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> float:
        return max(farthest(a, b) / float(b.abs().max()) for a, b in zip(first, second, strict=True))

    return Case(ours, peer, error)


ROWS = [
    Row("nearest colour, 1024x1024, K=150", "broadcast distances", nearest_colour),
    Row("8-bit table, 1024x1024, K=150", "broadcast distances", table_lookup),
    Row("8-bit table, building it, K=150", "nearest colour of all 2^24", table_build),
    Row("token embedding, 128x128, V=8192, D=128", "one-hot + 1x1 convolution", token_embedding),
    Row("label up-sampling x2, 512x512, K=150", "one-hot + bilinear + argmax", label_upsampling),
    Row("token loss + gradients, 128x128, V=8192", "cross_entropy of logits", token_loss(0)),
    Row("token loss in chunks of 1024 cells", "cross_entropy of logits", token_loss(1024)),
    Row("token and marginal pixel loss, V=1024", "autograd through both", marginal_loss),
]


def timings(case: Case, repeats: int, clock: Callable[[], float]) -> tuple[float, float, float | None]:
    """Least seconds of ours and of the peer, run in turns, and the error of the first run."""
    seconds: tuple[list[float], list[float]] = ([], [])
    error = None
    while len(seconds[0]) < repeats and sum(map(sum, seconds)) < 120:
        results = []
        for side, run in enumerate((case.ours, case.peer)):
            start = clock()
            results.append(run())
            seconds[side].append(clock() - start)
        if len(seconds[0]) == 1 and case.error:
            error = case.error(*results)
    return min(seconds[0]), min(seconds[1]), error


def own_peak_mb(run: Callable[[], Any]) -> float:
    """Rise of this process's resident memory above its present value while `run` runs, in MB (1e6 bytes)."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = _status("VmRSS")
        run()
        return (_status("VmHWM") - before) * 1024 / 1e6
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / 1e6


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field + ":"))


def forked_peak_mb(row: Row, side: str, quick: bool) -> float:
    """`own_peak_mb` of one side in a process of its own, which also makes the input."""

    def work() -> None:
        torch.manual_seed(0)
        sender.send(own_peak_mb(getattr(row.build(quick), side)))

    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=work)
    child.start()
    sender.close()  # so that a child that dies ends the wait
    peak = receiver.recv()
    child.join()
    return peak


def measure(row: Row, peaks: dict[str, float], args: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    ours, peer, error = timings(
        row.build(args.quick),
        1 if args.quick else args.repeats,
        time.process_time if args.cpu_time else time.perf_counter,
    )
    return {
        "name": row.name + " (small input)" * args.quick,
        "peer": row.peer,
        "ours_s": ours,
        "peer_s": peer,
        "ratio": peer / ours,
        "ours_peak_mb": round(peaks["ours"], 1),
        "peer_peak_mb": round(peaks["peer"], 1),
        "max_error": error,
    }


def table(results: list[dict[str, Any]]) -> str:
    """Markdown table of the results."""
    lines = [
        "| operation | against | ours, s | peer, s | ratio | ours, MB | peer, MB | max error |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for r in results:
        error = "" if r["max_error"] is None else f"{r['max_error']:.2g}"
        lines.append(
            f"| {r['name']} | {r['peer']} | {r['ours_s']:.3g} | {r['peer_s']:.3g} | {r['ratio']:.3g} "
            f"| {r['ours_peak_mb']:.0f} | {r['peer_peak_mb']:.0f} | {error} |"
        )
    return "\n".join(lines)


def run(rows: list[Row], description: str, argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Command line of a benchmark script."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", metavar="NAME", help="rows whose name or peer contains this")
    parser.add_argument("--json", metavar="FILE", help="also write the rows as JSON")
    parser.add_argument("--quick", action="store_true", help="small inputs, one repeat: a check that it runs")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch, default: %(default)s")
    parser.add_argument("--cpu-time", action="store_true", help="processor instead of wall-clock time; one thread")
    args = parser.parse_args(argv)
    if args.repeats < 1 or args.threads < 1:
        parser.error("--repeats and --threads must be at least 1")
    if args.cpu_time and args.threads > 1:
        parser.error("--cpu-time adds up all threads: it needs --threads 1")
    torch.set_num_threads(args.threads)
    wanted = (args.only or "").lower()
    chosen = [row for row in rows if wanted in f"{row.name} {row.peer}".lower()]
    if not chosen:
        names = "; ".join(row.name for row in rows)
        parser.error(f"--only {args.only!r} is in no row; rows: {names}")
    # First of all: a process forked from one that has computed inherits free memory that hides the rise.
    peaks = [{side: forked_peak_mb(row, side, args.quick) for side in ("ours", "peer")} for row in chosen]
    results = []
    for row, found in zip(chosen, peaks, strict=True):
        results.append(measure(row, found, args))
        print(json.dumps(results[-1]), flush=True)
    print(table(results))
    if args.json:
        write_json(args.json, results)
    return results


if __name__ == "__main__":
    run(ROWS, __doc__)
