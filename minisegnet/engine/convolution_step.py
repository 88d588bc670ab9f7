"""What every step that is a convolution has: its layer, what it makes, and what finishes the rows it makes."""

from __future__ import annotations

from minisegnet.engine.finish import Finish
from minisegnet.engine.step import Step
from minisegnet.engine.value import Reader, Value
from minisegnet.engine.worker import Worker
from minisegnet.layers import BatchNorm2d, Conv2d, ConvTranspose2d
from minisegnet.layers.base import Parameter


class ConvolutionStep(Step):
    """A convolution of the readers' values, joined along the channels.

    layer        whose weight and bias it is
    norm, relu   what follows in its blocks: batch normalisation or None, and whether ReLU
    """

    def __init__(
        self,
        worker: Worker,
        name: str,
        readers: list[Reader],
        output: Value,
        layer: Conv2d | ConvTranspose2d,
        norm: BatchNorm2d | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__(worker, name, readers)
        self.output, self.layer, self.weight = output, layer, layer.weight
        self.in_channels = sum(reader.value.channels for reader in readers)
        self.transposed = isinstance(layer, ConvTranspose2d)
        self.finish = Finish(worker, output, layer.bias, norm, relu)
        self.prepare()

    def prepare(self) -> None:
        """What a subclass lays out once, from what it was given."""

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    @property
    def reads_back(self) -> list[Value]:
        return [*self.inputs, *self.kept]

    @property
    def gives_whole(self) -> Parameter | None:
        return self.weight

    @property
    def kept(self) -> list[Value]:
        return [] if self.finish.before is self.output else [self.finish.before]
