"""The command line: ``termac COMMAND``. Every command is a thin call into the library.

Imports of the library happen inside the commands, so that ``termac estimate`` starts fast and
needs neither Verilator nor cocotb.
"""

from __future__ import annotations

import click

from termac.cli.config import config
from termac.cli.demo import demo
from termac.cli.doctor import doctor
from termac.cli.estimate import estimate
from termac.cli.exits import ReportingGroup
from termac.cli.generate import generate
from termac.cli.pack import pack
from termac.cli.simulate import simulate

__all__ = ["main"]


@click.group(cls=ReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="termac", prog_name="termac")
@click.option(
    "--traceback",
    is_flag=True,
    envvar="TERMAC_TRACEBACK",
    help="Show the traceback of an internal error.  [also: TERMAC_TRACEBACK=1]",
)
def main(traceback: bool) -> None:
    """From a trained network to a bit-exact, synthesizable accelerator.

    Exit codes: 0 all is well; 1 hardware and golden model disagree; 2 wrong use or bad input; 3
    internal error, a fault of Termac; 130 and 143 interrupted and terminated.
    """


for command in (demo, config, generate, pack, simulate, estimate, doctor):
    main.add_command(command)
