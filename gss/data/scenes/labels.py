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
    )
)
