"""Settings of the scheduler that the sampling methods start from, where none is given."""

from __future__ import annotations

from typing import Any

SAMPLE: dict[str, Any] = {"schedule": "geometric", "late_temperature": 0.35, "trust": 0.75}
"""Of several masks of an image: the first cells decide what it leaves open, and noise is left out of the rest."""

COMPLETE: dict[str, Any] = {"trust": 0.5}
"""Of the rest of a mask, a mean over paths: drawn cells count less than given ones."""

GENERATE: dict[str, Any] = {"schedule": "geometric", "top_p": 0.9}
"""Of masks without image: without these, masks of short trainings are speckled."""
