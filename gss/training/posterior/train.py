"""Stage `posterior`: how masks become tokens and back."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from gss.config.posterior import PosteriorConfig
from gss.core.distributed import barrier, is_main
from gss.core.files import write_json
from gss.evaluation import reconstruction as recon
from gss.evaluation.segmentation.result import domain_means
from gss.metrics.means import or_nan
from gss.posterior.bundle import Posterior
from gss.training.engine.stage import Say, quiet, report, seed_stage, train_task
from gss.training.identity import split_sources
from gss.training.posterior.task import PosteriorTask
from gss.training.splits import open_splits, report_domains
from gss.weak.seeds import check_seeds


def train_posterior(
    cfg: PosteriorConfig, out: str | Path, *, resume: bool = False, say: Say = quiet
) -> dict[str, float]:
    """Train a posterior; the product is `out/posterior`.

    `out/recon.json` says how much of the validation masks its tokens can express.

    Args:
        cfg: settings of the stage.
        out: run folder.
        resume: continue from the newest checkpoint.
        say: receives what the user is told.

    Returns:
        Figures of the last validation, and the mean IoU of every way to choose the tokens of a mask.
    """
    out = Path(out)
    seed_stage(cfg)
    splits = open_splits(cfg.data, seed=cfg.train.seed)
    check_seeds(splits.plain, allow=cfg.weak.allow_missing)
    report_domains(splits.augmented, say)
    task = PosteriorTask(cfg, splits.plain, splits.val)
    sources = partial(split_sources, splits)
    figures = train_task(cfg, task, splits.augmented, out, sources=sources, resume=resume)
    barrier()  # the main process has written the product
    result = recon.reconstruct(Posterior.from_pretrained(out), splits.val, progress=True)
    for way, measured in result.ways.items():
        figures[f"{way}_miou"] = or_nan(measured.miou)
        figures |= domain_means(f"{way}_miou", measured.domains, "miou")
    if is_main():
        write_json(out / "recon.json", result.to_json())
        rows = [(str(out), cfg.vq.downsample, result)]
        report(say, recon.format_table(rows, splits.val.label_space.names))
    return figures
