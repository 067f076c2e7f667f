"""Stage `joint`: train a joint prior of tokens on a trained pipeline."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.training.joint.task": ["JointTask"],
        "gss.training.joint.train": ["train_joint"],
    },
)

if TYPE_CHECKING:
    from gss.training.joint.task import JointTask as JointTask
    from gss.training.joint.train import train_joint as train_joint
