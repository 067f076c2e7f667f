"""Label spaces and mappings between them."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.labels.space": ["IGNORE_INDEX", "IGNORE_TOKEN", "LabelSpace"],
        "gss.labels.mapping": ["LabelMapping"],
    },
)

if TYPE_CHECKING:
    from gss.labels.mapping import LabelMapping as LabelMapping
    from gss.labels.space import IGNORE_INDEX as IGNORE_INDEX
    from gss.labels.space import IGNORE_TOKEN as IGNORE_TOKEN
    from gss.labels.space import LabelSpace as LabelSpace
