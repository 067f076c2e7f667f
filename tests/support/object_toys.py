"""Shared by several tests; taken from data/outliers/test_mixing.py."""

import json

from PIL import Image, ImageDraw

RED, GREEN = (230, 20, 20), (20, 200, 40)


def folder(root, colors, *, size=(40, 60), empty=()):
    """A folder of discs: images, masks with 0, 1 and a void corner, classes.json, objects.json, lists."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for id, color in colors.items():
        picture = Image.new("RGB", size[::-1], (90, 90, 90))
        mask = Image.new("L", size[::-1], 0)
        for canvas, fill in ((picture, color), (mask, 0 if id in empty else 1)):
            ImageDraw.Draw(canvas).ellipse((10, 5, 39, 24), fill=fill)
        mask.putpixel((0, 0), 255)
        picture.save(root / "images" / f"{id}.png")
        mask.save(root / "masks" / f"{id}.png")
    (root / "classes.json").write_text(json.dumps({"classes": {"0": "background", "1": "object"}}))
    (root / "objects.json").write_text(json.dumps([{"name": id, "category": f"thing {id}"} for id in colors]))
    return root
