"""Segmenting images and videos in files."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.jobs.predict.names": ["OUTPUTS"],
        "gss.jobs.predict.records": ["Predictions", "Settings"],
        "gss.jobs.predict.run": ["predict"],
    },
)

if TYPE_CHECKING:
    from gss.jobs.predict.names import OUTPUTS as OUTPUTS
    from gss.jobs.predict.records import Predictions as Predictions
    from gss.jobs.predict.records import Settings as Settings
    from gss.jobs.predict.run import predict as predict
