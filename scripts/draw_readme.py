"""Draw the picture of the README: image, maskige, mask, confidence and out-of-distribution score of one image.

python scripts/draw_readme.py zoo/camvid-lite0 --out docs/pictures/segmentation.jpg   # a generated street scene
python scripts/draw_readme.py PIPELINE --image photo.jpg --out FILE
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gss.config.shared import DataConfig
from gss.core.errors import InputError
from gss.data.open import build_dataset
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import contact_sheet, heatmap, legend, overlay, save_picture

WIDTH = 300


def main() -> int:
    """Draw the picture; return 2 for a mistake in the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", help="folder of the pipeline")
    parser.add_argument("--image", help="picture to segment; a generated street scene by default")
    parser.add_argument("--scene", type=int, default=3, metavar="N", help="number of the scene in its test split")
    parser.add_argument("--out", required=True, metavar="FILE", help="picture to write")
    args = parser.parse_args()
    try:
        pipeline = load_pipeline(args.pipeline)
        image = Image.open(args.image).convert("RGB") if args.image else scene(args.scene)
        save_picture(Path(args.out), draw(pipeline, image))
    except (InputError, OSError) as error:
        print(f"draw_readme: error: {error}", file=sys.stderr)
        return 2
    return 0


def scene(number: int) -> Image.Image:
    """Return an image of the test split of the generated street scenes."""
    scenes = build_dataset(DataConfig(spec="scenes"), "test", train=False)
    image: Image.Image = scenes.read(number)[0]
    return image


def draw(pipeline: GSSPipeline, image: Image.Image) -> Image.Image:
    """Return a sheet of all that one run of the pipeline says about an image, above the names of the classes."""
    output = pipeline(image, return_ood=True)
    assert output.confidence is not None and output.ood_scores is not None
    confidence, score = np.asarray(output.confidence[0]), np.asarray(output.ood_scores[0])
    names = [pipeline.id2label[index] for index in sorted(pipeline.id2label)]
    columns = {
        "image": image,
        "mask": overlay(image, np.asarray(output.masks[0]), pipeline.colors, clear=pipeline.background),
        "confidence": heatmap(confidence, low=0.0, high=1.0),
        "out-of-distribution score": heatmap(score, palette="magma"),
    }
    if output.maskiges is not None:
        maskige = Image.fromarray(np.asarray(output.maskiges[0])).resize(image.size, Image.Resampling.NEAREST)
        columns = {"image": image, "maskige": maskige, **columns}
    sheet = contact_sheet([list(columns.values())], list(columns), width=WIDTH)
    chips = legend(names, pipeline.colors, columns=6, width=sheet.width)
    picture = Image.new("RGB", (sheet.width, sheet.height + chips.height), "white")
    picture.paste(sheet, (0, 0))
    picture.paste(chips, (0, sheet.height))
    return picture


if __name__ == "__main__":
    sys.exit(main())
