"""Where the CUDA sources lie."""

from functools import cache
from pathlib import Path


@cache
def kernel_folder() -> Path:
    """The folder of our .cu files: installed as minisegnet.kernels, in the checkout beside the package."""
    package = Path(__file__).parent
    installed = package / "kernels"
    return installed if installed.is_dir() else package.parent / "kernels"
