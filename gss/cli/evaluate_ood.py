"""The command `gss evaluate-ood`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from gss.core.distributed import is_main
from gss.core.errors import InputError
from gss.core.files import write_json
from gss.data.outliers.benchmarks import OODDataset, open_ood
from gss.evaluation.ood.evaluate import evaluate_ood, known_channels
from gss.evaluation.ood.score_files import ScoreFiles
from gss.evaluation.ood.tables import format_evaluation
from gss.pipeline.loading import load_pipeline


def main(args: argparse.Namespace) -> int:
    """Handle `gss evaluate-ood`.

    Args:
        args: `pipeline`, `data` (list), `root` (list or None), `split`, `threshold_from`, `outliers`, `scores`
            (names with commas, or None), `mode`, `fpr_rule`, `exact`, `components`, `window`, `size`, `limit`,
            `json`, `html`, `save_scores`, `save_as`, `dtype`, `overwrite`.

    Raises:
        ValueError: bad pipeline, data set, score or output.
    """
    given = [f"--{name.replace('_', '-')}" for name in ("save_as", "dtype", "overwrite") if getattr(args, name)]
    if given and not args.save_scores:
        raise InputError(f"{' and '.join(given)} say how scores are saved; add --save-scores DIR")
    # All mistakes show before the first image is read.
    datasets = _open_all(args, args.split)
    sources = _open_all(args, args.threshold_from) if args.threshold_from else [None] * len(datasets)
    pipeline = load_pipeline(args.pipeline)
    scores = [name.strip() for name in args.scores.split(",") if name.strip()] if args.scores else None
    pipeline.check_scores(scores or [])
    if args.threshold_from:
        for dataset in datasets:
            known_channels(pipeline, dataset)
    save = None
    if args.save_scores:
        save = ScoreFiles(
            args.save_scores,
            file_format=args.save_as or "hdf5",
            dtype=args.dtype or "float32",
            overwrite=args.overwrite,
        )
    results = []
    for dataset, source in zip(datasets, sources, strict=True):
        result = evaluate_ood(
            pipeline,
            dataset,
            scores=scores,
            mode=args.mode,
            fpr_rule=args.fpr_rule,
            exact=args.exact,
            components=args.components,
            threshold_from=source,
            window=args.window,
            size=args.size,
            limit=args.limit,
            save=save,
            pictures=6 if args.html else 0,
            progress=True,
        )
        results.append(replace(result, pipeline=str(args.pipeline)))
        if is_main():
            print(format_evaluation(result), end="\n\n")
    if is_main():
        if args.json:
            write_json(args.json, {"results": [result.to_json() for result in results]})
        if args.html:
            from gss.evaluation.ood.page import build_page

            build_page(results).save(args.html)
    return 0


def _open_all(args: argparse.Namespace, split: str | None) -> list[OODDataset]:
    """The data sets, each with its root."""
    roots: Sequence[str | None] = args.root or [None]
    if len(roots) not in (1, len(args.data)):
        raise InputError(
            f"--root names {len(roots)} folders for {len(args.data)} data sets; give one for all or one for each"
        )
    roots = list(roots) * len(args.data) if len(roots) == 1 else roots
    opened = [
        open_ood(ref, split, root=root, outliers=args.outliers) for ref, root in zip(args.data, roots, strict=True)
    ]
    names = [dataset.name for dataset in opened]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"--data names {twice} twice; results could not be told apart")
    return opened
