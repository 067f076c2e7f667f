"""Run the command line: `python -m gss.cli`."""

import sys

from gss.cli import main

sys.exit(main())
