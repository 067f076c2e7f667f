"""Stage `residual`: train a residual pattern head on pasted outliers."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.training.residual.measure": ["same_masks"],
        "gss.training.residual.task": ["ResidualTask"],
        "gss.training.residual.train": ["train_residual"],
    },
)

if TYPE_CHECKING:
    from gss.training.residual.measure import same_masks as same_masks
    from gss.training.residual.task import ResidualTask as ResidualTask
    from gss.training.residual.train import train_residual as train_residual
