"""docs/cuda.md: every piece of code in it runs, in its order, as a reader would try it."""

import re
from pathlib import Path

import pytest
from conftest import skip_without_compiler

from minisegnet.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "cuda.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_s_code_runs(tmp_path, monkeypatch, capsys):
    skip_without_compiler("emulator")
    monkeypatch.chdir(tmp_path)
    names, told = {}, []
    for kind, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "cuda":
            name = re.match(r"// (\w+\.cu)\n", code).group(1)
            Path(name).write_text(code, encoding="utf-8")
        elif kind == "python":
            exec(compile(code, str(PAGE), "exec"), names)
            told.append(capsys.readouterr().out)
    before, after = map(float, told[0].split())
    assert after < before
    assert told[2] == "[0. 2. 0. 4. 0. 6.]\n"
    assert "no rule broken" in told[3]
    assert re.search(r"x\[6\].*wrong\.cu:5|wrong\.cu:5.*x\[6\]", told[4], re.DOTALL), told[4]
    assert "16" in told[5] and "relu_forward_4" in told[6]


def test_the_page_s_command_trains(tmp_path, monkeypatch, capsys):
    skip_without_compiler("emulator")
    monkeypatch.chdir(tmp_path)
    command = BLOCK.search(PAGE.read_text(encoding="utf-8")).group(2).split()
    assert command[:2] == ["minisegnet", "train"]
    if "--size" not in command:  # whole validation images of the built-in set take their time: fewer pixels here
        command += ["--data-option", "size=32", "--val-split", "none", "--batch-size", "2"]
    assert main(command[1:]) == 0
    assert "Trained for 5 steps" in capsys.readouterr().out


@pytest.mark.parametrize("link", re.findall(r"\]\((\.\./[^)]+)\)", PAGE.read_text(encoding="utf-8")))
def test_the_page_s_links_lead_somewhere(link):
    assert (PAGE.parent / link).exists()
