"""What a kernel's accesses of memory cost on a device: sectors, bank conflicts, bytes moved and used, as a table.

A warp's load is one request. Global memory answers in sectors of 32 bytes: lanes side by side need 4 of them for 32
floats, lanes far apart one each. Shared memory has 32 banks of 4 bytes: lanes that want different words of one bank are
served one after another, in as many rounds as the fullest bank has words.
Source: CUDA C++ Best Practices Guide, "Coalesced access to global memory" and "Shared memory and memory banks".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from minisegnet.emulator.results import Line

SECTOR = 32  # bytes


@dataclass
class Row:
    """The accesses of one line to one array, all launches together.

    Of shared memory `sectors` is 0; of global memory `rounds` and `ideal_rounds` are.
    """

    kernel: str
    line: Line
    text: str
    array: str
    shared: bool
    action: str  # "read", "write" or "atomic"
    accesses: int = 0  # of single threads
    requests: int = 0  # of warps
    bytes: int = 0  # asked for
    sectors: int = 0
    rounds: int = 0  # that shared memory took
    ideal_rounds: int = 0  # that it would have taken without conflicts

    @property
    def sectors_per_request(self) -> float:
        """4 is ideal for floats side by side, 32 the worst."""
        return self.sectors / self.requests if self.requests else 0.0

    @property
    def ways(self) -> float:
        """How many times the rounds of a conflict-free access: 1 is ideal, 32 the worst."""
        return self.rounds / self.ideal_rounds if self.ideal_rounds else 0.0

    @property
    def bytes_moved(self) -> int:
        """Bytes of the sectors; of shared memory those asked for."""
        return self.bytes if self.shared else self.sectors * SECTOR

    @property
    def useful(self) -> float:
        """The part of the bytes moved that was asked for, 0 to 1."""
        return self.bytes / self.bytes_moved if self.bytes_moved else 0.0


@dataclass
class Counters:
    """What was counted, in the order in which it came."""

    rows: list[Row] = field(default_factory=list)
    barriers: int = 0  # each counted once for a block
    warp_barriers: int = 0  # __syncwarp, once for the lanes that met
    warp_operations: int = 0  # shuffles, votes, matrix products: once for a warp

    def bytes_moved(self, *, writes: bool) -> int:
        """Of global memory, by its reads or by its writes and atomic operations."""
        return sum(row.bytes_moved for row in self.rows if not row.shared and (row.action != "read") == writes)

    def bytes_useful(self, *, writes: bool) -> int:
        """Of those, the ones asked for."""
        return sum(row.bytes for row in self.rows if not row.shared and (row.action != "read") == writes)

    def row(self, kernel: str, line: Line, text: str, array: str, shared: bool, action: str) -> Row:
        """The row of such an access, a new one if there is none."""
        for row in self.rows:
            if (row.kernel, row.line, row.array, row.action) == (kernel, line, array, action):
                return row
        self.rows.append(Row(kernel, line, text, array, shared, action))
        return self.rows[-1]

    def __str__(self) -> str:
        if not self.rows:
            return "no access of memory"
        head = ("line", "", "array", "requests", "sectors", "ways", "useful")
        table = [head] + [
            (
                str(row.line),
                row.action,
                row.array,
                f"{row.requests:,}",
                "" if row.shared else f"{row.sectors_per_request:.1f}",
                f"{row.ways:.1f}" if row.shared else "",
                "" if row.shared else f"{row.useful:.0%}",
            )
            for row in self.rows
        ]
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(width) if column < 3 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]
        for name, writes in (("read", False), ("written", True)):
            moved, useful = self.bytes_moved(writes=writes), self.bytes_useful(writes=writes)
            lines.append(f"global memory {name}: {moved:,} bytes in sectors, {useful:,} of them asked for")
        lines.append(
            f"barriers {self.barriers:,}, of a warp {self.warp_barriers:,}, "
            f"shuffles and the like {self.warp_operations:,}"
        )
        return "\n".join(lines)

    def picture(self) -> Any:
        """A matplotlib figure of the table: see `counters_picture`."""
        from minisegnet.emulator.counters_picture import draw

        return draw(self)
