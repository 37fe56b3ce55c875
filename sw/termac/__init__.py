"""From a trained network to a bit-exact, synthesizable accelerator."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("termac")
