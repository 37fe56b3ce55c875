"""A command as one function."""
