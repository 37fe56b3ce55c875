"""Activation and weight memories."""
