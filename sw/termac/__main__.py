"""``python -m termac``: the command line."""

from termac.cli import main

main(prog_name="termac")
