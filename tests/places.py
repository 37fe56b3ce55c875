"""Folders that tests read from."""

from pathlib import Path

__all__ = ["ROOT", "SCRIPTS", "SHARED"]

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
SHARED = ROOT.parent / "shared"
"""Public data and models; tests skip where it is absent."""
