"""Where a graph's picture puts things: chains gathered into blocks, each on the row of its resolution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from math import log2
from typing import TYPE_CHECKING, Any

from minisegnet import layers, shapes

if TYPE_CHECKING:
    from minisegnet.graph import Graph
    from minisegnet.nodes import Node


@dataclass(eq=False)
class Block:
    """A box of the picture: one node, or the nodes of a chain, each read by the next alone.

    level     how often the image has been halved there
    column    place from left to right
    lane      place from top to bottom among the blocks of the same level, 0 unless something is in the way
    """

    label: str
    nodes: list[Node]
    level: float
    column: int = 0
    lane: int = 0
    reads: list[tuple[Block, bool]] = field(default_factory=list)  # True: it reads indices

    @property
    def caption(self) -> list[str]:
        """What it does, a layer a line; what repeats stands once, under "2 times:"."""
        words = [words_for(node.layer) for node in self.nodes if node.layer is not None]
        for period in range(1, len(words) // 2 + 1):
            if words == words[:period] * (len(words) // period):
                return [f"{len(words) // period} times:", *words[:period]]
        return words

    @property
    def height(self) -> tuple[float, int]:
        """Level and lane, which sort from top to bottom."""
        return self.level, self.lane

    @property
    def kind(self) -> str:
        """What it is coloured by: the first of input, down, up, and the kind of its weightiest layer."""
        if self.nodes[0].layer is None:
            return "input"
        change = sum(halvings(node.layer) for node in self.nodes)
        if change:
            return "down" if change > 0 else "up"
        kinds = [kind_of(node.layer) for node in self.nodes]
        return next((kind for kind in ("convolution", "up", "down", "join", "loss") if kind in kinds), kinds[0])


def arrange(graph: Graph) -> list[Block]:
    """The blocks of a graph, with their places.

    A block that changes the resolution stands beneath or above the one it reads, every other one to its right: a
    U-Net becomes a U. Where that place is taken, or an arrow would run through a block, the next lane or column is.
    """
    blocks = gather(graph)
    placed: list[Block] = []
    arrows: list[tuple] = []  # vertical ones: column, and the heights that they lie between
    for block in blocks:
        sources = [source for source, _ in block.reads]
        lane = sources[0].lane if sources else 0
        first = max((source.column + (source.level == block.level) for source in sources), default=0)
        block.column, block.lane = next(
            (column, at)
            for column in count(first)
            for at in (lane, lane + 1, lane - 1, lane + 2, lane - 2)
            if is_free(column, (block.level, at), sources, placed, arrows)
        )
        placed.append(block)
        for source in sources:
            if source.level != block.level:
                arrows.append((block.column, *sorted([source.height, block.height])))
    return blocks


def is_free(column: int, height: tuple, sources: list[Block], placed: list[Block], arrows: list[tuple]) -> bool:
    """No block stands there, no arrow passes there, and the arrows that would come in pass no block."""
    heights = [block.height for block in placed if block.column == column]
    incoming = [sorted([source.height, height]) for source in sources if source.level != height[0]]
    return (
        height not in heights
        and not any(at == column and low < height < high for at, low, high in arrows)
        and not any(low < other < high for low, high in incoming for other in heights)
    )


def gather(graph: Graph) -> list[Block]:
    """The nodes as blocks: a chain is one, as long as nothing else reads in its middle and its resolution stays."""
    levels = node_levels(graph)
    members = list(graph.nodes.values())
    readers: dict[str, int] = {node.name: 0 for node in members}
    for node in members:
        for handle in node.inputs:
            readers[handle.node.name] += 1
    runs: list[list[Node]] = []
    for node in members:
        before = runs[-1][-1] if runs else None
        if (
            before is not None
            and prefix(node)
            and prefix(node) == prefix(before)
            and [handle.node for handle in node.inputs] == [before]
            and readers[before.name] == 1
            and before not in graph.outputs
            and halvings(node.layer) == 0
        ):
            runs[-1].append(node)
        else:
            runs.append([node])
    block_of: dict[str, Block] = {}
    blocks = []
    for run in runs:
        block = Block(label_of(run, members), run, levels[run[-1].name])
        for handle in run[0].inputs:
            block.reads.append((block_of[handle.node.name], handle.position > 0))
        block_of |= {node.name: block for node in run}
        blocks.append(block)
    return blocks


def label_of(run: list[Node], members: list[Node]) -> str:
    """The chain's name for the whole of it, "name.0-3" for a part, the node's own name for one node."""
    whole = [node for node in members if prefix(node) == prefix(run[0])]
    if prefix(run[0]) and len(whole) == len(run):
        return prefix(run[0])
    if len(run) == 1:
        return run[0].name
    return f"{run[0].name}\N{EN DASH}{run[-1].name.rpartition('.')[2]}"


def prefix(node: Node) -> str:
    """The chain's name of a node "name.3"."""
    return node.name.rpartition(".")[0]


def node_levels(graph: Graph) -> dict[str, float]:
    """How often the image has been halved at each node; the inputs are at 0."""
    levels: dict[str, float] = {}
    for node in graph.nodes.values():
        if node.layer is None:
            levels[node.name] = 0.0
        elif node.size_of is not None:
            levels[node.name] = levels[node.size_of.node.name]
        else:
            levels[node.name] = round(levels[node.inputs[0].node.name] + halvings(node.layer), 3)
    return levels


def halvings(layer: Any) -> float:
    """How often a layer halves its image, below 0 for one that enlarges it: 1 for MaxPool2d(2)."""
    if isinstance(layer, layers.Conv2d | layers.MaxPool2d | layers.AvgPool2d):
        return mean_log2(layer.kernel_size if layer.stride is None else layer.stride)
    if isinstance(layer, layers.ConvTranspose2d | layers.BedOfNails2d):
        return -mean_log2(layer.stride)
    if isinstance(layer, layers.NearestUnpool2d | layers.UpsampleBilinear2d):
        return -mean_log2(layer.scale_factor)
    if isinstance(layer, layers.MaxUnpool2d):
        return -mean_log2(layer.stride or layer.kernel_size or 2)
    return 0.0


def mean_log2(factor: Any) -> float:
    """Between the two directions."""
    vertical, horizontal = shapes.pair(factor)
    return (log2(vertical) + log2(horizontal)) / 2


TIMES = "\N{MULTIPLICATION SIGN}"

KINDS = {
    "Conv2d": "convolution", "Linear": "convolution", "ConvTranspose2d": "up",
    "MaxPool2d": "down", "AvgPool2d": "down",
    "MaxUnpool2d": "up", "NearestUnpool2d": "up", "BedOfNails2d": "up", "UpsampleBilinear2d": "up",
    "BilinearConvTranspose2d": "up", "ZeroConv2d": "convolution", "GlobalAvgPool2d": "down",
    "Concat": "join", "Add": "join",
    "CenterCrop": "frame", "Crop": "frame", "Flatten": "frame", "PadToMultiple": "frame", "ReflectionPad2d": "frame",
    "CrossEntropyLoss": "loss", "BCEWithLogitsLoss": "loss", "SmoothL1Loss": "loss", "DiceLoss": "loss",
}  # fmt: skip

WORDS = {
    "Conv2d": "conv", "ConvTranspose2d": "transposed conv", "Linear": "linear",
    "MaxPool2d": "max pool", "AvgPool2d": "average pool", "MaxUnpool2d": "max unpool",
    "NearestUnpool2d": "nearest unpool", "BedOfNails2d": "bed of nails", "UpsampleBilinear2d": "bilinear",
    "BatchNorm2d": "batch norm", "Dropout": "dropout", "Sigmoid": "sigmoid", "Softmax": "softmax",
    "BilinearConvTranspose2d": "transposed conv", "ZeroConv2d": "conv", "GlobalAvgPool2d": "global average",
    "Add": "add", "Concat": "concat", "Flatten": "flatten",
    "CenterCrop": "crop", "Crop": "crop", "PadToMultiple": "pad to", "ReflectionPad2d": "mirror pad",
}  # fmt: skip


def kind_of(layer: Any) -> str:
    """The family of a layer, "pointwise" for all that is in none."""
    return KINDS.get(type(layer).__name__, "pointwise")


def words_for(layer: Any) -> str:
    """A layer in a few words: "conv" with its kernel, "dropout 0.5"; the class's name for one unknown."""
    return " ".join([WORDS.get(type(layer).__name__, type(layer).__name__), *_options(layer)])


def _options(layer: Any) -> Iterator[str]:
    if isinstance(layer, layers.Conv2d | layers.ConvTranspose2d | layers.MaxPool2d | layers.AvgPool2d):
        yield TIMES.join(str(size) for size in shapes.pair(layer.kernel_size))
    if isinstance(layer, layers.Conv2d):
        if shapes.pair(layer.stride) != (1, 1):
            yield f"stride {_told(layer.stride)}"
        if shapes.pair(layer.dilation) != (1, 1):
            yield f"dilated {_told(layer.dilation)}"
    if isinstance(layer, layers.NearestUnpool2d | layers.UpsampleBilinear2d):
        yield f"{TIMES}{_told(layer.scale_factor)}"
    if isinstance(layer, layers.BedOfNails2d):
        yield f"{TIMES}{_told(layer.stride)}"
    if isinstance(layer, layers.PadToMultiple):
        yield f"{TIMES}{_told(layer.multiple)}"
    if isinstance(layer, layers.Dropout):
        yield f"{layer.p:g}"


def _told(factor: Any) -> str:
    vertical, horizontal = shapes.pair(factor)
    return str(vertical) if vertical == horizontal else f"{vertical}{TIMES}{horizontal}"
