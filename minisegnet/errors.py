"""The exceptions of minisegnet: each message says what was given, what was wanted and what to do."""


class MinisegnetError(Exception):
    """Base of every error that minisegnet raises on purpose."""


class ShapeError(MinisegnetError, ValueError):
    """Arrays whose shapes, or sizes whose values, do not fit the operation."""


class DtypeError(MinisegnetError, TypeError):
    """An array of a type that the operation or backend does not compute with."""


class OptionError(MinisegnetError, ValueError):
    """An option outside the values it may take."""


class LabelError(MinisegnetError, ValueError):
    """Labels outside the classes."""


class IndicesError(MinisegnetError, IndexError):
    """Pooling indices outside their plane, or twice in it."""


class BoxError(MinisegnetError, ValueError):
    """Boxes that are not finite, lack an area where one is needed, or are of an image that is not there."""


class BackendError(MinisegnetError, RuntimeError):
    """A backend that is unknown or lacks the operation, or a replacement that breaks the contract."""


class GraphError(MinisegnetError, ValueError):
    """A network put together or called in a way that it cannot run."""


class DataError(MinisegnetError, ValueError):
    """A file or folder of data that cannot be read as asked, or an image that holds NaN or no pixels."""


class CheckpointError(MinisegnetError, ValueError):
    """A checkpoint that is cut short, holds a pickle, or belongs to another model."""


class WorkerError(MinisegnetError, RuntimeError):
    """A worker process that died or raised, or workers that cannot go on together."""


class KernelError(MinisegnetError, RuntimeError):
    """A CUDA kernel that does not compile, is launched with arguments that do not fit it, or fails while it runs."""
