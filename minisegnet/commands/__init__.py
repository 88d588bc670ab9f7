"""The commands of `minisegnet`, one a module: its docstring is the help, `run` does the work and returns the exit code."""
