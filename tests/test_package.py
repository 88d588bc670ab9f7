"""Wheel, source archive and editable install: each goes into its own environment and is used from outside the source.

Nothing is downloaded: the environments borrow NumPy, pip and setuptools from the one that runs the tests.
"""

import json
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LOOK = """
import importlib.metadata, importlib.resources, json, minisegnet
kernels = importlib.resources.files("minisegnet.kernels")
print(json.dumps({
    "at": minisegnet.__file__,
    "versions": [minisegnet.__version__, importlib.metadata.version("minisegnet")],
    "kernels": {path.name: path.read_text() for path in kernels.iterdir() if path.name.endswith(".cu")},
}))
"""


def run(*command, **options):
    """Standard output of a command; its error output becomes the message when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def borrowed(tmp_path_factory):
    """A folder for PYTHONPATH with links to NumPy and the installer, so that no other minisegnet comes along."""
    folder = tmp_path_factory.mktemp("borrowed")
    for name in ("numpy", "pip", "setuptools"):
        distribution = metadata.distribution(name)
        for top in {path.parts[0] for path in distribution.files} - {".."}:
            (folder / top).symlink_to(distribution.locate_file(top))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what a build reads, so that no build folder is left in the checkout."""
    tree = tmp_path_factory.mktemp("source") / "minisegnet"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("minisegnet", "kernels"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignore)
    for file in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / file, tree)
    return tree


@pytest.fixture(scope="module")
def archive(source, tmp_path_factory):
    """The source archive."""
    folder = tmp_path_factory.mktemp("sdist")
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    run(sys.executable, "-c", build, cwd=source)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """The wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    run(sys.executable, "-c", build, cwd=source)
    return next(folder.glob("*.whl"))


@pytest.mark.parametrize("way", ["wheel", "archive", "editable"])
def test_install_finds_package_and_kernels(way, request, source, borrowed, tmp_path):
    what = ["--editable", source] if way == "editable" else [request.getfixturevalue(way)]
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {"PYTHONPATH": str(borrowed), "PATH": str(python.parent)}
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    run(python, "-m", "pip", "install", *options, *what, env=environment, cwd=tmp_path)

    seen = json.loads(run(python, "-c", LOOK, env=environment, cwd=tmp_path))
    home = source if way == "editable" else tmp_path / "venv"
    assert Path(seen["at"]).is_relative_to(home)
    assert seen["versions"][0] == seen["versions"][1]
    assert seen["kernels"] == {path.name: path.read_text() for path in (ROOT / "kernels").glob("*.cu")}
    assert "max_unpool2d.cu" in seen["kernels"]
    assert "usage: minisegnet" in run(python.parent / "minisegnet", "--help", env=environment, cwd=tmp_path)


def test_wheel_is_pure_python_with_the_licence_and_every_package(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "minisegnet").rglob("*.py")}
    assert sources <= names  # a folder without __init__.py would be left out
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "kernels"))]


def test_archive_holds_what_a_build_needs(archive):
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    kernels = {f"kernels/{path.name}" for path in (ROOT / "kernels").glob("*.cu")}
    assert {"setup.py", "pyproject.toml", "Makefile", "README.md", "LICENSE", "kernels/__init__.py"} | kernels <= names
