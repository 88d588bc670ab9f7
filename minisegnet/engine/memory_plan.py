"""Which buffer lives when and where: buffers whose lives do not overlap share memory."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 64  # bytes: a cache line


@dataclass
class Buffer:
    """A piece of the arena: `nbytes` from `offset` on, in use from step `birth` to step `death`, both included."""

    name: str
    nbytes: int
    birth: int
    death: int
    offset: int = 0


def gaps(buffers: list[Buffer], moment: int, nbytes: int) -> list[tuple[int, int]]:
    """Where in the arena's `nbytes` no buffer lives at a moment: (start, stop) of each gap, the largest first."""
    found, start = [], 0
    for buffer in sorted(buffers, key=lambda b: b.offset):
        if buffer.birth <= moment <= buffer.death:
            found.append((start, buffer.offset))
            start = buffer.offset + -(-buffer.nbytes // ALIGNMENT) * ALIGNMENT
    found.append((start, nbytes))
    return sorted(((a, b) for a, b in found if a < b), key=lambda gap: gap[0] - gap[1])


def place(buffers: list[Buffer]) -> int:
    """Give every buffer its offset, and return how many bytes they take together.

    The largest come first, each at the lowest place that is free while it lives.
    """
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: (-b.nbytes, b.birth)):
        size = -(-buffer.nbytes // ALIGNMENT) * ALIGNMENT
        offset = 0
        for other in sorted(placed, key=lambda b: b.offset):
            if other.birth > buffer.death or other.death < buffer.birth:
                continue
            if offset + size <= other.offset:
                break
            offset = max(offset, other.offset + -(-other.nbytes // ALIGNMENT) * ALIGNMENT)
        buffer.offset = offset
        placed.append(buffer)
    return max((b.offset + b.nbytes for b in placed), default=0)
