"""How minisegnet installs: a pure Python wheel, with the top folder kernels/ as minisegnet.kernels."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version() -> str:
    """__version__, read without importing, since NumPy may not be installed yet."""
    source = (ROOT / "minisegnet" / "__init__.py").read_text(encoding="utf-8")
    [found] = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    return found


setup(
    name="minisegnet",
    version=version(),
    description="Semantic segmentation from scratch in NumPy: every layer's forward and backward pass to read",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the minisegnet authors",
    license_expression="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Intended Audience :: Education",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    packages=[*find_packages(include=["minisegnet", "minisegnet.*"]), "minisegnet.kernels"],
    package_dir={"minisegnet.kernels": "kernels"},
    package_data={"minisegnet.kernels": ["*.cu", "*.cuh", "registers.txt"], "minisegnet.emulator": ["runtime/*"]},
    python_requires=">=3.10",
    install_requires=[
        "numpy>=1.26",
        "scipy>=1.15",
        "matplotlib>=3.8",
        "Pillow>=10.1",
        "tqdm>=4.66",
        "threadpoolctl>=3.2",
    ],
    extras_require={
        # By the driver: nvidia-smi tells the version of CUDA. [ctk] brings NVRTC and the libraries along.
        "cuda12": ["cupy-cuda12x[ctk]>=14.0"],
        "cuda13": ["cupy-cuda13x[ctk]>=14.0"],
        "test": [
            "pytest>=8.0",
            "pytest-xdist>=3.6",
            "onnx>=1.23",
            "pycocotools>=2.0.8",
            "nbformat>=5.10",
            "nbclient>=0.10",
            "ipykernel>=6.29",
            "jupytext>=1.16",
            "pip>=23.0",
            "setuptools>=77",
        ],
        "torch": ["torch==2.13.0", "torchvision==0.28.0"],
        # The table of registers (make kernels): its numbers belong to one version of the compiler.
        "kernels": [
            "nvidia-cuda-nvrtc==13.5.*; sys_platform == 'linux'",
            "cuda-bindings>=13,<14; sys_platform == 'linux'",
        ],
        "lint": ["ruff>=0.9", "mypy>=1.14"],
    },
    entry_points={"console_scripts": ["minisegnet = minisegnet.cli:main"]},
)
