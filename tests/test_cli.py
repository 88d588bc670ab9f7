"""The command line itself: help, errors in one line, exit codes. Each command has a file of its own beside this one."""

import subprocess
import sys

import pytest

from minisegnet import __version__, commands, doctor
from minisegnet.cli import COMMANDS, main
from minisegnet.commands.options import limited_threads
from minisegnet.errors import MinisegnetError


def test_help_is_light_and_shows_every_command():
    script = "import sys, minisegnet.cli\ntry: minisegnet.cli.main(['--help'])\nfinally: print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    usage, modules = done.stdout.rsplit("\n", 2)[:2]
    for name in COMMANDS:
        assert f"\n    {name} " in usage or f"\n    {name}\n" in usage
    assert not {"PIL", "cupy", "matplotlib", "scipy", "torch", "tqdm", "minisegnet.graph"} & set(modules.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_helps_with_examples(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert f"examples:\n  minisegnet {name}" in told
    assert "--debug" in told


def test_module_and_version():
    done = subprocess.run([sys.executable, "-m", "minisegnet", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"minisegnet {__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["segment"], ["doctor", "--jsn"], ["summary", "unet", "--input", "3x0x8"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: minisegnet" in capsys.readouterr().err


def failing(error):
    def examine():
        raise error

    return examine


@pytest.mark.parametrize(
    "error, line",
    [
        (MinisegnetError("a bad image\n  in two lines"), "minisegnet: a bad image in two lines\n"),
        (
            FileNotFoundError(2, "No such file or directory", "photos"),
            "minisegnet: photos: No such file or directory\n",
        ),
        (OSError("no space"), "minisegnet: no space\n"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(error, line, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", failing(error))
    assert main(["doctor"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", line)
    with pytest.raises(type(error)):
        main(["doctor", "--debug"])


def test_interrupt_exits_with_130(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", failing(KeyboardInterrupt()))
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "minisegnet: interrupted\n"


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(doctor, "examine", failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_a_reader_that_stops_reading_is_no_error():
    script = "from minisegnet import cli, doctor; doctor.report = lambda found: 'x' * 10**6; cli.main(['doctor'])"
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    writer.stdout.read(10)
    writer.stdout.close()
    assert writer.stderr.read() == b""
    assert writer.wait() == 0


def test_summary_of_a_network_with_options(capsys):
    assert (
        main(["summary", "unet", "--input", "1x32x48", "--classes", "5", "--option", "width=4", "--option", "depth=2"])
        == 0
    )
    told = capsys.readouterr().out
    assert "U-Net" in told
    assert "[1, 5, 32, 48]" in told


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nonet"], ["nonet", "unet"]),
        (["unet", "--option", "widht=4"], ["widht"]),
        (["unet", "--option", "upsampling=nearest"], ["upsampling", "nearest", "transposed"]),
        (["unet", "--option", "pad=None", "--input", "3x250x256"], ["divisible by 16", "250 x 256"]),
    ],
)
def test_summary_says_what_is_wrong(arguments, words, capsys):
    assert main(["summary", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("minisegnet: ") and told.count("\n") == 1
    for word in words:
        assert word in told


def test_threads_are_limited_inside_the_block_alone():
    before = doctor.blas()["threads"]
    with limited_threads(1):
        assert doctor.blas()["threads"] in (1, None)
    assert doctor.blas()["threads"] == before


def test_commands_listed_are_those_that_exist():
    from importlib import resources

    modules = {
        path.name.removesuffix(".py") for path in resources.files(commands).iterdir() if path.name.endswith(".py")
    }
    assert modules - {"__init__", "options", "trainers"} == {name.replace("-", "_") for name in COMMANDS}
