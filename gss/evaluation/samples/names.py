"""Names that the evaluation of drawn masks takes; imports nothing heavy, so that a wrong one shows at once."""

PARTS = ("bits", "hypotheses", "completion", "corrections", "layouts")
"""What can be measured."""

KINDS = ("random", "blocks", "border", "components", "strokes")
"""Kinds of given pixels.

- `random`: cells anywhere;
- `blocks`: rectangles of cells;
- `border`: the cells nearest to the border of the image;
- `components`: whole connected regions of a class;
- `strokes`: straight strokes inside such regions, two cells wide.
"""
