"""Errors of the VQ model.

ValueError
├── SettingError    an argument of a model or quantiser that is out of range or fits no other
└── InputSizeError  a picture that does not divide into cells
"""


class SettingError(ValueError):
    """An argument of a model or quantiser out of range; the text names it, its value and what is allowed."""


class InputSizeError(ValueError):
    """A picture that does not divide into cells; the text names the size to pad to."""
