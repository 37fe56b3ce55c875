"""Prune a network so that the columns of the array combine."""
