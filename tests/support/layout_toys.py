"""Folders as people have them: twelve layouts of the same images and masks."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (12, 16)
"""(H, W) of all pictures."""
COUNT = 10
"""Images of each folder."""


def truth(number: int) -> np.ndarray:
    """Return the mask of an image: a rectangle of class 1 on class 0, uint8 `[12, 16]`."""
    labels = np.zeros(SIZE, np.uint8)
    labels[2 : 6 + number % 4, 4 : 9 + number % 5] = 1
    return labels


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def photo(path: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    save(path, pixels)


def split_of(number: int) -> str:
    return "train" if number < 8 else "val"


def rectangle(number: int) -> list[list[float]]:
    """Return the corners of the rectangle of `truth`, on pixel edges."""
    bottom, right = 6 + number % 4, 9 + number % 5
    return [[4, 2], [right, 2], [right, bottom], [4, bottom]]


def synonyms(root: Path) -> None:
    for number in range(COUNT):
        photo(root / f"photos/p{number}.jpg", number)
        save(root / f"Ground Truth/p{number}.png", truth(number))


def split_folders(root: Path) -> None:
    for number in range(COUNT):
        part = {"train": "train", "val": "valid"}[split_of(number)]
        photo(root / f"{part}/images/p{number}.jpg", number)
        save(root / f"{part}/masks/p{number}.png", truth(number) * 255)


def split_in_name(root: Path) -> None:
    for number in range(COUNT):
        photo(root / f"{split_of(number)}_images/p{number}.jpg", number)
        save(root / f"{split_of(number)}_masks/p{number}_mask.png", truth(number))


def suffix(root: Path) -> None:
    for number in range(COUNT):
        photo(root / f"p{number}.jpg", number)
        save(root / f"p{number}_mask.png", truth(number) * 255)


def same_ending(root: Path) -> None:
    for number in range(COUNT):
        photo(root / f"data/p{number}.png", number)
        save(root / f"data/p{number}_mask.png", truth(number))


def black_and_white(root: Path) -> None:
    for number in range(COUNT):
        photo(root / f"images/p{number}.jpg", number)
        save(root / f"masks/p{number}.png", truth(number) * 255)


def equal_channels(root: Path) -> None:
    for number in range(COUNT):
        photo(root / f"images/p{number}.jpg", number)
        save(root / f"masks/p{number}.png", np.repeat(truth(number)[..., None] * 255, 3, axis=2))


def colours(root: Path) -> None:
    palette = np.array([[0, 0, 0], [255, 0, 0]], np.uint8)
    for number in range(COUNT):
        photo(root / f"img/p{number}.jpg", number)
        save(root / f"labels/p{number}.png", palette[truth(number)])


def coco(root: Path) -> None:
    images, annotations = [], []
    for number in range(COUNT):
        photo(root / f"images/p{number}.jpg", number)
        images.append({"id": number, "file_name": f"p{number}.jpg", "height": SIZE[0], "width": SIZE[1]})
        outline = [value for corner in rectangle(number) for value in corner]
        annotations.append({"id": number, "image_id": number, "category_id": 7, "segmentation": [outline]})
    categories = [{"id": 3, "name": "never drawn"}, {"id": 7, "name": "object"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations").mkdir()
    (root / "annotations" / "instances.json").write_text(json.dumps(content))


def labelme(root: Path) -> None:
    for number in range(COUNT):
        photo(root / f"p{number}.jpg", number)
        shape = {"label": "object", "points": rectangle(number), "shape_type": "polygon"}
        if number == 3:
            (x0, y0), _, (x1, y1), _ = rectangle(number)
            shape |= {"points": [[x0, y0], [x1, y1]], "shape_type": "rectangle"}
        if number == 4:
            (x0, y0), _, (x1, y1), _ = rectangle(number)
            file = io.BytesIO()
            Image.fromarray(np.full((int(y1 - y0), int(x1 - x0)), 255, np.uint8)).save(file, "PNG")
            stamp = base64.b64encode(file.getvalue()).decode()
            shape |= {"points": [[x0, y0], [x1, y1]], "shape_type": "mask", "mask": stamp}
        content = {"shapes": [shape], "imagePath": f"p{number}.jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
        (root / f"p{number}.json").write_text(json.dumps(content))


def cvat(root: Path) -> None:
    lines = []
    for number in range(COUNT):
        photo(root / f"images/p{number}.jpg", number)
        points = ";".join(f"{x},{y}" for x, y in rectangle(number))
        shape = f'<polygon label="object" points="{points}" z_order="0"/>'
        if number == 5:
            (x0, y0), _, (x1, y1), _ = rectangle(number)
            count = int((x1 - x0) * (y1 - y0))
            size = f'left="{x0}" top="{y0}" width="{x1 - x0}" height="{y1 - y0}"'
            shape = f'<mask label="object" rle="0,{count}" {size}/>'
        if number == 6:
            (x0, y0), _, (x1, y1), _ = rectangle(number)
            shape = f'<box label="object" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}"/>'
        size = f'width="{SIZE[1]}" height="{SIZE[0]}"'
        lines.append(f'<image id="{number}" name="p{number}.jpg" {size}>{shape}</image>')
    text = "".join(lines)
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{text}</annotations>")


def studio_result(number: int, **value: object) -> dict:
    kind = next(key for key in value if key.endswith("labels"))
    return {"type": kind, "original_width": SIZE[1], "original_height": SIZE[0], "value": value}


def label_studio(root: Path) -> None:
    tasks = []
    for number in range(COUNT):
        photo(root / f"photos/p{number}.jpg", number)
        corners = [[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in rectangle(number)]
        result = studio_result(number, points=corners, polygonlabels=["object"])
        if number == 2:
            (x0, y0), _, (x1, y1), _ = corners
            result = studio_result(number, x=x0, y=y0, width=x1 - x0, height=y1 - y0, rectanglelabels=["object"])
        if number == 7:
            alpha = np.zeros((*SIZE, 4), np.uint8)
            alpha[truth(number) > 0] = 255
            result = studio_result(number, format="rle", rle=encode_brush(alpha.ravel()), brushlabels=["object"])
        data = {"image": f"/data/upload/1/0a1b2c3d-p{number}.jpg"}
        tasks.append({"id": number, "data": data, "annotations": [{"result": [result]}]})
    (root / "export.json").write_text(json.dumps(tasks))


def encode_brush(values: np.ndarray) -> list[int]:
    """Return Label Studio's run lengths of values uint8 `[n]`; every run is of equal values."""
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    starts = np.flatnonzero(np.append(True, np.diff(values.astype(int)) != 0))
    for start, end in zip(starts, [*starts[1:], len(values)], strict=True):
        bits += "1" + "11" + f"{end - start - 1:016b}" + f"{values[start]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def yolo(root: Path) -> None:
    for number in range(COUNT):
        part = split_of(number)
        photo(root / f"{part}/images/p{number}.jpg", number)
        (root / part / "labels").mkdir(parents=True, exist_ok=True)
        corners = [f"{x / SIZE[1]} {y / SIZE[0]}" for x, y in rectangle(number)]
        (root / part / "labels" / f"p{number}.txt").write_text(f"1 {' '.join(corners)}\n")
    settings = "train: train/images\nval: val/images\nnc: 2\nnames: [unused, object]\n"
    (root / "data.yaml").write_text(settings)


LAYOUTS = {
    "images and masks by other names": synonyms,
    "train/images and valid/masks": split_folders,
    "train_images and train_masks": split_in_name,
    "x.jpg and x_mask.png side by side": suffix,
    "x.png and x_mask.png side by side": same_ending,
    "masks of 0 and 255": black_and_white,
    "three equal channels": equal_channels,
    "one colour a class": colours,
    "COCO instances": coco,
    "LabelMe": labelme,
    "CVAT": cvat,
    "Label Studio": label_studio,
    "YOLO outlines": yolo,
}
