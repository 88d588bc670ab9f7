"""Images and their labels: data sets to open, samples, transforms of both together, batches."""

from minisegnet.data.opening import open_dataset
from minisegnet.data.sample import Batch, Dataset, Sample

__all__ = ["Batch", "Dataset", "Sample", "open_dataset"]
