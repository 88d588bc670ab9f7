"""What the benchmarks share: the sides that are compared, a process for each, and what is made of their times."""
