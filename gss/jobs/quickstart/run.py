"""The main job: both stages, twin, density and residual head, evaluation, predictions and one report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gss.core.errors import InputError
from gss.core.files import atomic_path, write_json
from gss.core.sampling import evenly_spaced
from gss.data.open import open_split
from gss.data.outliers.benchmarks import open_ood
from gss.data.protocols import LabelledImages
from gss.data.specs.load import load_spec
from gss.data.specs.spec import DataSpec
from gss.evaluation.ood.result import OODEvaluation
from gss.evaluation.ood.tables import ood_tables
from gss.evaluation.segmentation.evaluate import evaluate
from gss.evaluation.segmentation.result import EvaluationResult
from gss.jobs.predict import predict
from gss.jobs.quickstart.page import _format, _scoring, write_report
from gss.jobs.quickstart.stages import DEFAULT_STAGES, order_stages, training_stages
from gss.jobs.quickstart.unknown import check_kinds, equality, measure_unknown
from gss.jobs.stages import prepare_job, run_stages
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import save_picture
from gss.training.residual import same_masks

# Data set of the second domain that goes with a first one.
_OTHER_DOMAIN = {"scenes": "scenes_fog"}
# Data set with objects of no known class that goes with a first one.
_UNKNOWN = {"scenes": "scenes_unknown"}
# Objects to paste for the residual head, and the data set that is measured then: none of its kinds was pasted.
_OUTLIERS = {"scenes": ("scenes_outliers", "scenes_strangers")}
_NEW_IMAGES = 6


def quickstart(
    out: Path,
    *,
    data: str = "scenes",
    root: str | None = None,
    seed: int = 0,
    stages: Sequence[str] = DEFAULT_STAGES,
    redo: str = "",
    overwrite: bool = False,
) -> None:
    """Train what is not trained yet in `out`, measure, predict and write `out/report.html`.

    Args:
        out: output folder.
        data: data spec.
        root: folder of the data set.
        seed: seed of the whole run.
        stages: what is trained and shown, some of `STAGES`.
        redo: name of a stage to train again although it is finished.
        overwrite: train everything again.

    Raises:
        InputError: unknown stages or data, or a folder with other settings.
    """
    stages = order_stages(stages)
    objects, unknown_data = "", _UNKNOWN.get(data)
    if "residual" in stages:
        if data not in _OUTLIERS:
            raise InputError(
                f"the stage residual has no objects to paste into {data}: leave it out of --stages, and use "
                "'gss train residual' with outliers.objects=FOLDER"
            )
        objects, unknown_data = _OUTLIERS[data]
        check_kinds(objects, unknown_data)
    common = [f"data.spec={data}", f"train.seed={seed}"] + ([f"data.root={root}"] if root else [])
    training, prior_cfg = training_stages(stages, common, out, objects=objects)
    prepare_job(out, overwrite=overwrite)
    records = run_stages(training, out, redo=stages if overwrite else [redo] if redo else [])

    pipelines = {name: load_pipeline(out / name / "pipeline") for name in stages if name != "posterior"}
    networks = [name for name in ("prior", "twin") if name in stages]
    domains = [data, *([_OTHER_DOMAIN[data]] if data in _OTHER_DOMAIN else [])]
    results: dict[tuple[str, str], EvaluationResult] = {}
    for domain in domains:
        dataset = open_split(load_spec(domain, root), prior_cfg.data.val_split)
        for name in networks:
            pipeline = pipelines[name]
            print(f"measuring {name} on {domain}")
            result = evaluate(
                pipeline, dataset, progress=True, pictures=3 if name == "prior" else 0, throughput=name == "prior"
            )
            split = f"{domain} {prior_cfg.data.val_split}"
            results[name, domain] = replace(result, pipeline=str(out / name / "pipeline"), data=split)
    unknown: OODEvaluation | None = None
    unchanged: bool | None = None
    if unknown_data:
        print(f"measuring scores on {unknown_data}")
        strange = open_ood(unknown_data, prior_cfg.data.val_split, root=root)
        unknown = measure_unknown(_scoring(pipelines), pipelines.get("twin"), strange)
        if "residual" in pipelines:
            unchanged = same_masks(pipelines["prior"], pipelines["residual"], strange)
    _predict_new(pipelines["prior"], load_spec(data, root), prior_cfg.data.val_split, out)
    summary = {
        "seconds": {name: records[name].seconds for name in stages},
        "recon": json.loads((out / "posterior" / "recon.json").read_text()),
        "results": {f"{name} on {domain}": result.to_json() for (name, domain), result in results.items()},
        "matrix": {
            f"{'generative' if name == 'prior' else name}, {mode}": {
                domain: results[name, domain].modes[mode]["miou"] for domain in domains
            }
            for name in networks
            for mode in results[name, domains[0]].modes
        },
        "unknown": unknown.to_json() if unknown else None,
        "masks_unchanged": unchanged,
    }
    write_json(out / "results.json", summary)
    write_report(out, pipelines, domains, results, summary, prior_cfg, unknown)
    print(_format(domains, results))
    if unknown:
        print(f"\n{ood_tables(unknown).text()}")
    if unchanged is not None:
        print(equality(unchanged))
    print(f"report: {out / 'report.html'}")


def _predict_new(pipeline: GSSPipeline, spec: DataSpec, val_split: str, out: Path) -> None:
    """Write images that no stage has seen as files, and segment these files."""
    split = "test" if "test" in spec.splits else val_split
    dataset: LabelledImages = open_split(spec, split)
    chosen = evenly_spaced(len(dataset), _NEW_IMAGES)
    with atomic_path(out / "new_images") as folder:
        folder.mkdir()
        for index in chosen:
            save_picture(folder / f"{split}_{index:04d}.png", dataset.read(index)[0])
    with atomic_path(out / "predictions") as folder:
        folder.mkdir()
        paths = sorted((out / "new_images").iterdir())
        predict(pipeline, paths, folder, source=str(out / "prior" / "pipeline"), decode=pipeline.default_decode)
