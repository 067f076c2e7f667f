"""Give a pipeline a residual pattern head; the same as `gss train residual`.

On several processes: accelerate launch scripts/train_residual.py CONFIG... key=value... --out DIR
"""

import sys

from gss.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", "residual", *sys.argv[1:]]))
