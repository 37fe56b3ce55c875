"""Trained models and public data sets that tests, demo and measurements share."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MODELS"]

MODELS = Path(__file__).parent / "models"
"""Folder of the trained models that ship with the package."""
