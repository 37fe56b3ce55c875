"""Round a network to few signed powers of two per group of weights."""
