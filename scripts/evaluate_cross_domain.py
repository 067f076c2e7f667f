"""Measure pipelines on data sets they were not trained on; the same as `gss cross-domain`.

On several processes: accelerate launch scripts/evaluate_cross_domain.py --pipelines A B --data X Y
"""

import sys

from gss.cli import main

if __name__ == "__main__":
    sys.exit(main(["cross-domain", *sys.argv[1:]]))
