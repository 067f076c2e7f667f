"""Renderer of generated street scenes."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.data.generated": ["ScenesDataset"],
        "gss.data.scenes.labels": ["LABELS"],
        "gss.data.scenes.scene": ["Scene", "render"],
    },
)

if TYPE_CHECKING:  # ScenesDataset builds on the renderer: a static import would close a circle
    from gss.data.scenes.labels import LABELS as LABELS
    from gss.data.scenes.scene import Scene as Scene
    from gss.data.scenes.scene import render as render
