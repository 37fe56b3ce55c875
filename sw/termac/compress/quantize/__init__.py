"""From float to integers: calibration, rounding, bias correction."""
