"""What the benchmarks share: the sides that are compared, each in a process of its own, and the arithmetic of rounds."""
