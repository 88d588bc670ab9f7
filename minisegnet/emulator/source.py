"""The text of a .cu file made ready for a C++ compiler: its includes, its kernels, its __shared__ declarations.

A C++ compiler takes CUDA's words as macros (runtime/cuda.h) but for one: `__shared__ float tile[16][17];` must become a
reference to memory that the threads of a block share. Every rewritten line keeps its number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from minisegnet.errors import KernelError
from minisegnet.kernel_files import kernel_folder

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Kernel:
    """A `__global__` function: its parameters' names in order, and where its body lies in the text."""

    name: str
    parameters: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Source:
    """A .cu file and the files that it includes, each as it was read.

    texts     by file, the .cu file first
    included  for each of these files, which file each of its `#include "..."` names
    """

    path: Path
    texts: dict[Path, str]
    included: dict[Path, dict[str, Path]]

    @property
    def kernels(self) -> dict[str, Kernel]:
        """Every kernel of these files by name."""
        return {name: kernel for text in self.texts.values() for name, kernel in kernels(text).items()}

    def line(self, file: str, number: int) -> str:
        """The text of one line, without the space around it; empty for a file that is not of this source."""
        return _line(self.texts.get(Path(file), ""), number)

    def code(self, file: str, number: int) -> str:
        """The same without comments."""
        return _line(without_comments(self.texts.get(Path(file), "")), number)


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def read(path: Path) -> Source:
    """A file with all that it includes by `#include "..."`: beside the file that names it, or among our kernels.

    Raises KernelError where the file cannot be read.
    """
    path = path.resolve()
    texts: dict[Path, str] = {}
    included: dict[Path, dict[str, Path]] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop(0)
        if file in texts:
            continue
        try:
            texts[file] = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as problem:
            raise KernelError(f"cannot read {file}: {problem}") from problem
        names = INCLUDE.findall(without_comments(texts[file]))
        included[file] = {name: found for name in names if (found := _included(name, file.parent)) is not None}
        waiting += included[file].values()
    return Source(path, texts, included)


def _included(name: str, beside: Path) -> Path | None:
    """The file that an include names; None where there is none, which the compiler then tells."""
    places = (folder / name for folder in (beside, kernel_folder()))
    return next((place.resolve() for place in places if place.is_file()), None)


# ---------------------------------------------------------------------------------------------------- reading a text


def without_comments(text: str) -> str:
    """The text with every comment's characters made spaces: every other character keeps its place."""

    def blank(found: re.Match) -> str:
        return found[0] if found[0][0] in "\"'" else re.sub(r"[^\n]", " ", found[0])

    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blank, text, flags=re.DOTALL)


def code_alone(text: str) -> str:
    """As without comments, and without what stands in strings and in preprocessor lines."""
    text = without_comments(text)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', lambda found: '"' + " " * (len(found[0]) - 2) + '"', text)
    directive = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
    return directive.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def closing(text: str, opening: int) -> int:
    """Where the bracket closes that opens there; the text's end if it does not."""
    pairs = {"(": ")", "{": "}", "[": "]"}
    depth, opens, closes = 0, text[opening], pairs[text[opening]]
    for place in range(opening, len(text)):
        depth += (text[place] == opens) - (text[place] == closes)
        if depth == 0:
            return place
    return len(text)


def split(text: str, separator: str = ",") -> list[str]:
    """The parts of a text between separators that stand in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{<") - (character in ")]}>")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


KERNEL = re.compile(
    r"\b__global__\b(?:\s|\bvoid\b|\bstatic\b|\binline\b|__launch_bounds__\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*"
    r"(\w+)\s*\("
)


def kernels(text: str) -> dict[str, Kernel]:
    """Every kernel that a text defines, by name. Templates have no name to be launched by, and are left out."""
    code, found = code_alone(text), {}
    for match in KERNEL.finditer(code):
        before = code[max(code.rfind(mark, 0, match.start()) for mark in ";}") + 1 : match.start()]
        end = closing(code, match.end() - 1)
        body = end + 1 + len(code[end + 1 :]) - len(code[end + 1 :].lstrip())
        if re.search(r"\btemplate\b", before) or code[body : body + 1] != "{":
            continue
        names = []
        for parameter in split(code[match.end() : end]):
            name = re.search(r"(\w+)\s*(?:\[[^\]]*\]\s*)?$", parameter.split("=")[0])
            if name and parameter.strip() != "void":
                names.append(name[1])
        found[match[1]] = Kernel(match[1], tuple(names), body, closing(code, body))
    return found


# --------------------------------------------------------------------------------------------------------- rewriting

SHARED = re.compile(r"\b__shared__\b")
ALIGNED = re.compile(r"(?:__align__|alignas)\s*\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
DECLARATOR = re.compile(r"^(?P<type>.*?)(?P<name>\w+)\s*(?P<extents>(?:\[.*\]\s*)?)$", re.DOTALL)


def rewritten(text: str, numbers: count) -> str:
    """The text with its __shared__ declarations as C++, and with kernels telling from where a thread leaves them."""
    code = code_alone(text)
    edits = [(start, end, _shared(code, start, end, numbers)) for start, end in _shared_declarations(code)]
    for kernel in kernels(text).values():
        for match in re.finditer(r"\breturn\s*;", code[kernel.start : kernel.end]):
            start = kernel.start + match.start()
            place = f"{{__FILE__, {code.count(chr(10), 0, start) + 1}}}"
            breaks = "\n" * match[0].count("\n")
            edits.append((start, kernel.start + match.end(), f"return emulator::leave({place});{breaks}"))
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def _shared_declarations(code: str) -> list[tuple[int, int]]:
    """From where to where (behind the semicolon) each statement stands that declares shared memory."""
    found: list[tuple[int, int]] = []
    for match in SHARED.finditer(code):
        start = max(code.rfind(mark, 0, match.start()) for mark in ";{}") + 1
        start += len(code[start:]) - len(code[start:].lstrip())
        end = code.find(";", match.end()) + 1
        if end and (not found or found[-1][1] < end):
            found.append((start, end))
    return found


def _shared(code: str, start: int, end: int, numbers: count) -> str:
    """One statement that declares shared memory, as C++: each array a reference into the block's memory."""
    statement = code[start : end - 1]
    line = code.count("\n", 0, start) + 1
    aligned = ALIGNED.search(statement)
    alignment = aligned[1].strip() if aligned else "0"
    dynamic = re.search(r"\bextern\b", statement) is not None
    declared = re.sub(r"\b(?:extern|static|__shared__)\b", " ", ALIGNED.sub(" ", statement))
    first, *others = split(declared)
    match = DECLARATOR.match(first.strip())
    if match is None or not match["type"].strip():
        return code[start:end]  # the compiler will say what is wrong with it
    kind = " ".join(match["type"].split())
    at_file_scope = code[:start].count("{") == code[:start].count("}")
    parts = []
    for declarator in [first.strip()[len(match["type"]) :], *others]:
        name, extents = re.match(r"\s*(\w+)\s*(.*)", declarator, re.DOTALL).groups()  # type: ignore[union-attr]
        number, extents = next(numbers), " ".join(extents.split())
        place = f"{{__FILE__, {line}}}"
        array = f"emulator_array_{number}"
        if dynamic:
            size = f'{{"{name}", {place}, 0, sizeof({kind}), {alignment}, 1, {{}}, emulator::kind<{kind}>()}}'
            parts.append(f"static constexpr emulator::SharedArray {array} = {size};")
            if at_file_scope:
                parts.append(f"static const emulator::DynamicArray<{kind}> {name}{{{array}}};")
            else:
                parts.append(f"{kind}* const {name} = emulator::dynamic_shared<{kind}>({array});")
        else:
            parts.append(f"using emulator_type_{number} = {kind} {extents};")
            described = f'emulator::describe<emulator_type_{number}>("{name}", {place}, {alignment})'
            parts.append(f"static constexpr emulator::SharedArray {array} = {described};")
            parts.append(f"auto& {name} = emulator::shared<emulator_type_{number}>({array});")
    return " ".join(parts) + "\n" * statement.count("\n")


def with_includes(text: str, names: dict[str, str]) -> str:
    """The text with other names in its `#include "..."`, as far as they are given."""
    return INCLUDE.sub(lambda found: found[0].replace(found[1], names.get(found[1], found[1])), text)


def wrappers(source: Source) -> str:
    """C++ functions by which Python calls the kernels and asks for their parameters' types."""
    lines = ['#include "entry.h"']
    for name in source.kernels:
        visible = 'extern "C" __attribute__((visibility("default")))'
        lines += [
            f"{visible} EMULATOR_UNCHECKED void emulator_run_{name}(void** a) {{ emulator::call({name}, a); }}",
            f"{visible} const char* emulator_types_{name}() {{ return emulator::parameter_types({name}); }}",
        ]
    return "\n".join(lines) + "\n"
