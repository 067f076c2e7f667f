"""Train posteriors that differ in one point, and put their reconstruction ceilings side by side."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from gss.config.io import load_config, split_overrides
from gss.config.posterior import PosteriorConfig
from gss.core.distributed import barrier, is_main
from gss.core.errors import InputError
from gss.core.files import write_json
from gss.core.outputs import prepare_output


def main(args: argparse.Namespace) -> None:
    """`gss compare CONFIG... --variants ff ft ... --out DIR`: one posterior per variant, then one table.

    A variant is a config file that is laid over the common ones: a name in `configs/variants`, or a path. Variants
    that are already trained in DIR are not trained again.
    """
    from gss.evaluation.reconstruction import format_table
    from gss.training.run import train

    files, overrides = split_overrides(args.configs)
    out = Path(args.out)
    if len({Path(variant).stem for variant in args.variants}) < len(args.variants):
        raise InputError(f"--variants {' '.join(args.variants)}: two have the same name, and would share a folder")
    # Every configuration is read before the first run starts, so that a typing error costs no hours.
    configs = {variant: load_config(PosteriorConfig, [*files, _path(variant)], overrides) for variant in args.variants}
    for variant, config in configs.items():
        _check_finished(out / Path(variant).stem, config)
    rows: list[dict[str, Any]] = []
    for variant, config in configs.items():
        folder = out / Path(variant).stem
        seconds = None
        if not (folder / "recon.json").is_file():
            if is_main():
                prepare_output(folder, overwrite=args.overwrite)
                print(f"{variant}:")
            barrier()
            started = time.perf_counter()
            train("posterior", config, folder)
            seconds = time.perf_counter() - started
        barrier()
        result = json.loads((folder / "recon.json").read_text())
        rows.append({"posterior": str(folder), "downsample": config.vq.downsample, "seconds": seconds, **result})
    if is_main():
        print(format_table(rows, tuple(_names(out / Path(args.variants[0]).stem))))
        write_json(out / "comparison.json", rows)


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
