"""Benches: what runs inside the simulator, started by :func:`termac_sim.runner.run_bench`."""
