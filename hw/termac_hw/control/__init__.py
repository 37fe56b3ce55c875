"""What walks the program: sequencer, loader, engine."""
