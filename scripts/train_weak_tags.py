"""Train a tag classifier for pseudo-masks; the same as `gss train weak-tags`.

On several processes: accelerate launch scripts/train_weak_tags.py CONFIG... key=value... --out DIR
"""

import sys

from gss.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", "weak-tags", *sys.argv[1:]]))
