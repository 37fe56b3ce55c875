"""The AXI4 memory window and the AXI4-Lite registers."""
