"""Pictures, charts, text tables and HTML pages of results."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.report.charts": ["bar_chart", "heat_table", "histogram", "line_chart", "reliability_diagram"],
        "gss.report.page": ["Report"],
        "gss.report.pictures": ["colorize", "contact_sheet", "error_map", "heatmap", "overlay"],
        "gss.report.tables": ["Table"],
    },
)

if TYPE_CHECKING:
    from gss.report.charts import bar_chart as bar_chart
    from gss.report.charts import heat_table as heat_table
    from gss.report.charts import histogram as histogram
    from gss.report.charts import line_chart as line_chart
    from gss.report.charts import reliability_diagram as reliability_diagram
    from gss.report.page import Report as Report
    from gss.report.pictures import colorize as colorize
    from gss.report.pictures import contact_sheet as contact_sheet
    from gss.report.pictures import error_map as error_map
    from gss.report.pictures import heatmap as heatmap
    from gss.report.pictures import overlay as overlay
    from gss.report.tables import Table as Table
