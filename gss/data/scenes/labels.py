"""Classes of the generated street scenes (the eleven of CamVid)."""

from gss.labels.space import IGNORE_INDEX, LabelSpace

SKY, BUILDING, POLE, ROAD, PAVEMENT, VEGETATION, SIGN, FENCE, CAR, PERSON, CYCLIST = range(11)
VOID = IGNORE_INDEX

LABELS = LabelSpace(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "vegetation",
        "sign",
        "fence",
        "car",
        "person",
        "cyclist",
    ),
    colors=(
        (70, 130, 180),
        (70, 70, 70),
        (190, 190, 150),
        (128, 64, 128),
        (244, 35, 232),
        (107, 142, 35),
        (220, 220, 0),
        (190, 120, 70),
        (0, 0, 142),
        (220, 20, 60),
        (0, 190, 190),
    ),
)
