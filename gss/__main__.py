"""Run the command line: `python -m gss`."""

from gss.cli import console

console()
