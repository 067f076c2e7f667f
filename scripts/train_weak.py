"""Train a pixel classifier from partial masks; the same as `gss train weak-agmm`.

On several processes: accelerate launch scripts/train_weak.py CONFIG... key=value... --out DIR
"""

import sys

from gss.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", "weak-agmm", *sys.argv[1:]]))
