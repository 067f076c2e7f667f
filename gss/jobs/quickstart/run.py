"""The main job: both stages, twin, heads and joint prior, evaluation, predictions and one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gss.core.distributed import is_main
from gss.core.errors import InputError
from gss.core.files import atomic_path, read_json, write_json
from gss.core.sampling import evenly_spaced
from gss.core.words import duration
from gss.data.files import find_inputs
from gss.data.open import open_split
from gss.data.outliers.benchmarks import open_ood
from gss.data.protocols import LabelledImages
from gss.data.specs.load import load_spec
from gss.data.specs.spec import DataSpec
from gss.evaluation.ood.result import OODEvaluation
from gss.evaluation.ood.tables import ood_tables
from gss.evaluation.reconstruction import ReconstructionResult
from gss.evaluation.segmentation.evaluate import evaluate
from gss.evaluation.segmentation.result import EvaluationResult
from gss.jobs.clock import StageClock
from gss.jobs.predict import Settings, predict
from gss.jobs.quickstart.drawn import DrawnMasks, DrawnPictures, draw_masks
from gss.jobs.quickstart.names import DEFAULT_STAGES, order_stages
from gss.jobs.quickstart.page import mode_table, model_name, scoring_pipeline, write_report
from gss.jobs.quickstart.result import QuickstartResult
from gss.jobs.quickstart.stages import training_stages
from gss.jobs.quickstart.unknown import check_kinds, equality, measure_unknown
from gss.jobs.stages import prepare_job, run_stages
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import save_picture
from gss.training.residual import same_masks

_NEW_IMAGES = 6
_REPORT = "report"  # the last stage of the job: measuring, predicting and drawing for it
USUAL_SECONDS = {"posterior": 90, "prior": 150, "twin": 140, "density": 40, "residual": 120, "joint": 120, _REPORT: 90}
"""Seconds that each stage takes on two free CPU cores with the generated scenes."""


@dataclass(frozen=True)
class Companions:
    """Data sets that go with the one that is trained on; empty where there is none.

    Args:
        other_domain: data set of another domain to measure on.
        unknown: data set with objects of no known class to measure on.
        objects: objects to paste for the residual head.
        strangers: data set to measure the residual head on; none of its kinds of objects was pasted.
    """

    other_domain: str = ""
    unknown: str = ""
    objects: str = ""
    strangers: str = ""


COMPANIONS = {"scenes": Companions("scenes_fog", "scenes_unknown", "scenes_outliers", "scenes_strangers")}
"""Data set to what goes with it."""


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
    companions = COMPANIONS.get(data, Companions())
    unknown_data = companions.unknown
    if "residual" in stages:
        if not companions.objects:
            raise InputError(
                f"the stage residual has no objects to paste into {data}: leave it out of --stages, and use "
                "'gss train residual' with outliers.objects=FOLDER"
            )
        unknown_data = companions.strangers
        check_kinds(companions.objects, unknown_data)
    common = [f"data.spec={data}", f"train.seed={seed}"] + ([f"data.root={root}"] if root else [])
    training, prior_cfg = training_stages(stages, common, out, objects=companions.objects)
    for split in (prior_cfg.data.train_split, prior_cfg.data.val_split):
        open_split(load_spec(data, root), split)  # a mistake in the data ends here, before there is a folder
    prepare_job(out, overwrite=overwrite)
    if is_main():
        print(f"training {', '.join(stages)} on {data} into {out}")
    usual = {name: USUAL_SECONDS[name] for name in (*stages, _REPORT)}
    clock = StageClock(stages, usual)
    if is_main() and data in COMPANIONS:
        print(f"{len(usual)} stages, about {duration(sum(usual.values()))} on two free CPU cores")
    records = run_stages(training, out, redo=stages if overwrite else [redo] if redo else [], clock=clock)
    if is_main():
        print(f"{clock.place(_REPORT)}: begins{clock.left()}")

    pipelines = {name: load_pipeline(out / name / "pipeline") for name in stages if name != "posterior"}
    networks = [name for name in ("prior", "twin") if name in stages]
    domains = [name for name in (data, companions.other_domain) if name]
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
        unknown = measure_unknown(scoring_pipeline(pipelines), pipelines.get("twin"), strange)
        if "residual" in pipelines:
            unchanged = same_masks(pipelines["prior"], pipelines["residual"], strange)
    _predict_new(pipelines["prior"], load_spec(data, root), prior_cfg.data.val_split, out)
    drawn: DrawnMasks | None = None
    shown: DrawnPictures | None = None
    if "joint" in pipelines:
        print(f"drawing masks of {data}")
        cfg = prior_cfg.data
        val, train = (open_split(load_spec(data, root), split) for split in (cfg.val_split, cfg.train_split))
        drawn, shown = draw_masks(pipelines["joint"], val, train, records["joint"].result, seed=seed)
    measured = QuickstartResult(
        seconds={name: records[name].seconds for name in stages},
        recon=ReconstructionResult.from_json(read_json(out / "posterior" / "recon.json")),
        results={f"{name} on {domain}": result for (name, domain), result in results.items()},
        matrix={
            f"{model_name(name)}, {mode}": {domain: results[name, domain].modes[mode].miou for domain in domains}
            for name in networks
            for mode in results[name, domains[0]].modes
        },
        unknown=unknown,
        masks_unchanged=unchanged,
        drawn=drawn,
    )
    write_json(out / "results.json", measured.to_json())
    write_report(out, pipelines, domains, results, measured, prior_cfg, drawn=shown)
    print(mode_table(domains, results).text())
    if unknown:
        print(f"\n{ood_tables(unknown).text()}")
    if unchanged is not None:
        print(equality(unchanged))
    print(f"finished in {clock.elapsed()}")
    print(f"wrote {out / 'report.html'}: open it in a browser\nwrote {out / 'results.json'}: the same as numbers")
    print(f"wrote {out / 'predictions'}: masks of {_NEW_IMAGES} images\nnext: gss predict {out} PHOTO.jpg --out masks")


def _predict_new(pipeline: GSSPipeline, spec: DataSpec, val_split: str, out: Path) -> None:
    """Write images that no stage has seen as files, and segment these files."""
    split = "test" if "test" in spec.splits else val_split
    dataset: LabelledImages = open_split(spec, split)
    chosen = evenly_spaced(len(dataset), _NEW_IMAGES)
    with atomic_path(out / "new_images") as folder:
        folder.mkdir()
        for index in chosen:
            save_picture(folder / f"{dataset.ids[index].replace('/', '_')}.png", dataset.read(index)[0])
    with atomic_path(out / "predictions") as folder:
        folder.mkdir()
        inputs = find_inputs([str(out / "new_images")])
        settings = Settings(decode=pipeline.default_decode)
        predict(pipeline, inputs, folder, settings, source=str(out / "prior" / "pipeline"))
