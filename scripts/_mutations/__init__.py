"""Single mutations of the hardware: what each breaks, and the tests that must notice.

A mutation replaces one piece of text that occurs once below its folder of ``hw/termac_hw``. White
space may differ, and code may move within the folder. So a change of the hardware seldom needs a
change here; where it does, ``scripts/mutate.py`` names the mutation.
"""

from _mutations.control import CONTROL
from _mutations.datapath import DATAPATH
from _mutations.hosts import HOSTS

__all__ = ["MUTATIONS"]

MUTATIONS = (*CONTROL, *DATAPATH, *HOSTS)
"""All of them; names are unique."""
