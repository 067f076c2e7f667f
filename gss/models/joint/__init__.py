"""Joint prior p(unknown tokens | known tokens, image)."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.models.joint.context": ["JointContext"],
        "gss.models.joint.model": ["JointPriorModel", "JointPriorOutput"],
    },
)

if TYPE_CHECKING:
    from gss.models.joint.context import JointContext as JointContext
    from gss.models.joint.model import JointPriorModel as JointPriorModel
    from gss.models.joint.model import JointPriorOutput as JointPriorOutput
