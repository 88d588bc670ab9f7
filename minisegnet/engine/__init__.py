"""A graph made fast: buffers planned once, operations fused, Winograd convolutions, one process a core."""
