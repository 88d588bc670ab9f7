"""The commands of `minisegnet`, one a module: its docstring is the help, `run` does it and returns the exit code."""
