"""Train posteriors that differ in one point, and put their reconstruction ceilings side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gss.config.io import load_config
from gss.config.posterior import PosteriorConfig
from gss.core.distributed import barrier, is_main
from gss.core.errors import InputError
from gss.core.files import write_json
from gss.core.outputs import prepare_output
from gss.evaluation.reconstruction import ReconstructionResult, format_table
from gss.training.run import train


def compare(
    files: list[str], overrides: list[str], *, variants: Sequence[str], out: str | Path, overwrite: bool = False
) -> None:
    """Train one posterior per variant, and print and write one table of their ceilings.

    Variants that are already trained in `out` are not trained again.

    Args:
        files: config files of all variants.
        overrides: overrides of all variants.
        variants: config files laid over the common ones: names in `configs/variants`, or paths.
        out: output folder; each variant has a sub-folder of its name.
        overwrite: replace variants that are not finished.

    Raises:
        InputError: two variants of one name, bad settings, or a finished variant with other settings.
    """
    out = Path(out)
    if len({Path(variant).stem for variant in variants}) < len(variants):
        raise InputError(f"--variants {' '.join(variants)}: two have the same name, and would share a folder")
    # Every configuration is read before the first run starts, so that a typing error costs no hours.
    configs = {variant: load_config(PosteriorConfig, [*files, _path(variant)], overrides) for variant in variants}
    for variant, config in configs.items():
        _check_finished(out / Path(variant).stem, config)
    rows: list[dict[str, Any]] = []
    for variant, config in configs.items():
        folder = out / Path(variant).stem
        seconds = None
        if not (folder / "recon.json").is_file():
            if is_main():
                prepare_output(folder, overwrite=overwrite)
                print(f"{variant}:")
            barrier()
            started = time.perf_counter()
            train("posterior", config, folder, say=print)
            seconds = time.perf_counter() - started
        barrier()
        result = json.loads((folder / "recon.json").read_text())
        rows.append({"posterior": str(folder), "downsample": config.vq.downsample, "seconds": seconds, **result})
    if is_main():
        write_json(out / "comparison.json", rows)
        results = [(row["posterior"], row["downsample"], ReconstructionResult.from_json(row)) for row in rows]
        print(format_table(results, tuple(_names(out / Path(variants[0]).stem))))


def _check_finished(folder: Path, config: PosteriorConfig) -> None:
    """Refuses to pass off a finished run of other settings as this variant.

    Raises:
        ValueError: the settings of the run in `folder` differ.
    """
    done = (folder / "recon.json").is_file() and (folder / "config.yaml").is_file()
    if done and load_config(PosteriorConfig, [str(folder / "config.yaml")], []) != config:
        raise InputError(f"{folder} holds a finished run with other settings: choose another --out, or remove it")


def _path(variant: str) -> str:
    return variant if variant.endswith((".yaml", ".yml")) else f"variants/{variant}.yaml"


def _names(folder: Path) -> list[str]:
    return json.loads((folder / "posterior" / "posterior.json").read_text())["label_space"]["names"]
