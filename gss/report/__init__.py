"""Pictures, charts, text tables and HTML pages of results."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.report.charts": ["line_chart"],
        "gss.report.page": ["Report"],
    },
)

if TYPE_CHECKING:
    from gss.report.charts import line_chart as line_chart
    from gss.report.page import Report as Report
