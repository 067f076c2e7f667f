"""Train posteriors that differ in one point, and put their reconstruction ceilings side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gss.config.io import load_config
from gss.config.posterior import PosteriorConfig
from gss.core.distributed import is_main
from gss.core.errors import InputError
from gss.core.files import read_json, write_json
from gss.evaluation.reconstruction import ReconstructionResult, format_table
from gss.jobs.stages import prepare_job, run_stages, training_stage
from gss.posterior.bundle import Posterior


def compare(
    files: list[str],
    overrides: list[str],
    out: Path,
    *,
    variants: Sequence[str],
    redo: str = "",
    overwrite: bool = False,
) -> None:
    """Train one posterior per variant, and write and print one table of their ceilings.

    Variants that are finished in `out` are not trained again; an interrupted one is continued.

    Args:
        files: config files of all variants.
        overrides: overrides of all variants.
        out: output folder; each variant has a sub-folder of its name.
        variants: config files laid over the common ones: names in `configs/variants`, or paths.
        redo: name of a variant to train again although it is finished.
        overwrite: train all variants again.

    Raises:
        InputError: two variants of one name, bad settings, or a finished variant with other settings.
    """
    names = [Path(variant).stem for variant in variants]
    if len(set(names)) < len(names):
        raise InputError(f"--variants {' '.join(variants)}: two have the same name, and would share a folder")
    # Every configuration is read before the first run starts, so that a typing error costs no hours.
    configs = {
        name: load_config(PosteriorConfig, [*files, _path(variant)], overrides)
        for name, variant in zip(names, variants, strict=True)
    }
    stages = [training_stage(name, "posterior", cfg, out, after=()) for name, cfg in configs.items()]
    prepare_job(out, overwrite=overwrite)
    records = run_stages(stages, out, redo=names if overwrite else [redo] if redo else [])
    if not is_main():
        return
    rows: list[dict[str, Any]] = []
    results = []
    for name, cfg in configs.items():
        result = ReconstructionResult.from_json(read_json(out / name / "recon.json"))
        facts = {"posterior": str(out / name), "downsample": cfg.vq.downsample, "seconds": records[name].seconds}
        rows.append({**facts, **result.to_json()})
        results.append((str(out / name), cfg.vq.downsample, result))
    write_json(out / "comparison.json", rows)
    print(format_table(results, Posterior.from_pretrained(out / names[0]).label_space.names))


def _path(variant: str) -> str:
    return variant if variant.endswith((".yaml", ".yml")) else f"variants/{variant}.yaml"
