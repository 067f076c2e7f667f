"""Shifts: photometric and weather-like changes of an image; its labels stay as they are."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.data.shifts.apply": [
            *("GROUPS", "SEVERITIES", "SHIFTS", "RandomShift", "ShiftedImages"),
            *("apply_shift", "choose_severities", "choose_shifts", "shift_generator"),
        ]
    },
)

if TYPE_CHECKING:
    from gss.data.shifts.apply import GROUPS as GROUPS
    from gss.data.shifts.apply import SEVERITIES as SEVERITIES
    from gss.data.shifts.apply import SHIFTS as SHIFTS
    from gss.data.shifts.apply import RandomShift as RandomShift
    from gss.data.shifts.apply import ShiftedImages as ShiftedImages
    from gss.data.shifts.apply import apply_shift as apply_shift
    from gss.data.shifts.apply import choose_severities as choose_severities
    from gss.data.shifts.apply import choose_shifts as choose_shifts
    from gss.data.shifts.apply import shift_generator as shift_generator
