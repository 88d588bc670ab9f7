"""What a .cu file says of its kernels: names, parameters, limits and needs, read from its text without compiling it.

A kernel is written as `extern "C" __global__ void name(parameters) { ... }`. Two comments count besides:

    const float* bias /* or null */    this pointer may be null: the launcher takes None for it
    // needs: sm_80, 16-byte arrays    the lowest architecture that runs it, and the boundary that its arrays start on;
                                       in the file's opening comment for every kernel, elsewhere for the next one
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from minisegnet.errors import KernelError

LOWEST_ARCHITECTURE = 75  # Turing, the oldest that CUDA 13 compiles for

# What a parameter may be or point to. `long` has 64 bits on the systems that this runs on.
TYPES = {
    name: np.dtype(dtype)
    for name, dtype in {
        "bool": "?", "char": "i1", "unsigned char": "u1", "short": "i2", "unsigned short": "u2",
        "int": "i4", "unsigned int": "u4", "long": "i8", "unsigned long": "u8", "size_t": "u8",
        "long long": "i8", "unsigned long long": "u8", "float": "f4", "double": "f8",
    }.items()
}  # fmt: skip

# Several numbers read or written at once: what they are made of, and the boundary in bytes that they lie on.
VECTORS = {
    f"{short}{count}": (TYPES[name], min(16, count * TYPES[name].itemsize))
    for short, name in {
        "char": "char", "uchar": "unsigned char", "short": "short", "ushort": "unsigned short",
        "int": "int", "uint": "unsigned int", "float": "float", "double": "double",
    }.items()
    for count in (2, 4)
}  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: a number, or a pointer to an array's first element."""

    name: str
    text: str  # as declared
    dtype: np.dtype  # of the number, or of the array's elements
    pointer: bool = False
    const: bool = False  # the kernel does not write through this pointer
    restrict: bool = False  # what lies behind it overlaps nothing that the kernel writes through another
    nullable: bool = False
    boundary: int = 1  # the array starts on a multiple of so many bytes

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Kernel:
    """A kernel's signature, and what its text says of how it is launched."""

    name: str
    parameters: tuple[Parameter, ...]
    architecture: int  # the lowest that runs it: 80 for sm_80
    most_threads: int | None  # in a block, where __launch_bounds__ tells it as a number
    dynamic_shared: bool  # has `extern __shared__` memory, which the launch gives its size
    start: int  # of the definition in the text
    end: int

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))})"


@dataclass(frozen=True)
class Unreadable:
    """A kernel that cannot be launched by its name."""

    reason: str


def kernel_named(text: str, name: str, file: str) -> Kernel:
    """The kernel of that name in the text of a file.

    Raises KernelError for a name that is not there, telling those that are, and for a kernel that cannot be read.
    """
    found = kernels(text)
    kernel = found.get(name)
    if isinstance(kernel, Kernel):
        return kernel
    if kernel is not None:
        raise KernelError(f"{name} in {file}: {kernel.reason}")
    if not found:
        raise KernelError(
            f'{file} has no kernel {name}, nor any other; write it out, without a macro, as extern "C" __global__ '
            f"void {name}(...) {{ ... }}"
        )
    near = difflib.get_close_matches(name, found, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise KernelError(f"{file} has no kernel {name}{meant}; it has {', '.join(found)}")


def runs_on(text: str, architecture: int) -> str:
    """The text without the kernels that need a higher architecture; what is left keeps its line numbers."""
    for kernel in kernels(text).values():
        if isinstance(kernel, Kernel) and kernel.architecture > architecture:
            text = text[: kernel.start] + _blank(text[kernel.start : kernel.end]) + text[kernel.end :]
    return text


@lru_cache(maxsize=256)
def kernels(text: str) -> dict[str, Kernel | Unreadable]:
    """Every kernel that a text defines, by name, in the text's order."""
    code = _code(text)
    plain = _without_attributes(code)
    blocks = [(block.start(), _closing(plain, block.end() - 1)) for block in re.finditer(r'\bextern "C"\s*\{', plain)]
    found: dict[str, Kernel | Unreadable] = {}
    after = 0  # where the kernel before ended
    for keyword in re.finditer(r"\b__global__\b", plain):
        before = max(plain.rfind(sign, 0, keyword.start()) for sign in ";{}") + 1
        start = before + len(code[before:]) - len(code[before:].lstrip())
        head = re.compile(r"[^;{}()]*?(\w+)\s*\(").match(plain, keyword.end())
        if not head:
            continue
        name, opening = head.group(1), head.end() - 1
        closing = _closing(plain, opening)
        body = re.compile(r"\s*\{").match(plain, closing)
        if not body:  # a declaration, defined elsewhere
            continue
        end = _closing(plain, body.end() - 1)
        try:
            _check_declared(plain[start : head.start(1)], any(first < start < last for first, last in blocks))
            architecture, boundary = _needs(text, after, start)
            kernel = Kernel(
                name,
                tuple(_parameters(plain[opening + 1 : closing - 1], plain[closing:end], boundary)),
                architecture,
                _launch_bounds(code[start:closing]),
                re.search(r"\bextern\s+__shared__\b", plain[closing:end]) is not None,
                start,
                end,
            )
        except KernelError as problem:
            found[name] = Unreadable(str(problem))
        else:
            earlier = found.setdefault(name, kernel)
            if isinstance(earlier, Kernel) and earlier.parameters != kernel.parameters:  # by #if and #else
                found[name] = Unreadable(f"it is defined twice, as {earlier} and as {kernel}; keep one")
        after = end
    return found


# ---------------------------------------------------------------------------------------- what is code, and what is not

_OR_NULL = " __null__ "
_NO_CODE = re.compile(
    r"(?P<null>/\*\s*or\s+null\s*\*/)"
    r"|//(?:\\\n|[^\n])*|/\*.*?\*/"  # comments
    r"|(?P<c>\bextern\s*\"C\")"
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"  # strings and characters
    r"|^[ \t]*\#(?:\\\n|[^\n])*",  # lines of the preprocessor
    re.DOTALL | re.MULTILINE,
)


def _code(text: str) -> str:
    """The text with comments, strings and preprocessor lines blanked; what is left stays in its place."""

    def kept(match: re.Match) -> str:
        found = match.group()
        if match.group("null"):
            return _OR_NULL.ljust(len(found))
        return 'extern "C"'.ljust(len(found)) if match.group("c") and "\n" not in found else _blank(found)

    return _NO_CODE.sub(kept, text)


def _without_attributes(code: str) -> str:
    """The code with __launch_bounds__(...) and its like blanked as well."""
    code = re.sub(r"\[\[[^\]]*\]\]", lambda match: _blank(match.group()), code)
    attribute = re.compile(r"\b__(?:launch_bounds|attribute|align|maxnreg|cluster_dims|block_size)__\s*(?=\()")
    while match := attribute.search(code):
        end = _closing(code, match.end())
        code = code[: match.start()] + _blank(code[match.start() : end]) + code[end:]
    return code


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def _closing(code: str, opening: int) -> int:
    """Just behind what closes the bracket at `opening`; the code's end where nothing does."""
    left = code[opening]
    right = {"(": ")", "{": "}"}[left]
    depth = 0
    for match in re.compile(f"[{re.escape(left + right)}]").finditer(code, opening):
        depth += 1 if match.group() == left else -1
        if depth == 0:
            return match.end()
    return len(code)


# ------------------------------------------------------------------------------------------------------ one signature


def _check_declared(declared: str, in_block: bool) -> None:
    """What stands before the kernel's name."""
    if re.search(r"\btemplate\b", declared):
        raise KernelError(
            'it is a template, which no name can launch; make it a __device__ function that an extern "C" kernel calls'
        )
    if not in_block and 'extern "C"' not in declared:
        raise KernelError('it is compiled under a C++ name; write extern "C" before __global__')
    if not re.search(r"\bvoid\s*$", declared):
        raise KernelError("a kernel returns nothing; write void before its name")


def _launch_bounds(declaration: str) -> int | None:
    bounds = re.search(r"__launch_bounds__\s*\(\s*(\d+)\s*[,)]", declaration)
    return int(bounds.group(1)) if bounds else None


def _needs(text: str, after: int, start: int) -> tuple[int, int]:
    """(architecture, boundary) by `// needs:` lines, for the kernel at `start`; the one before it ended at `after`."""
    opening = re.compile(r"\s*(?://[^\n]*\n|/\*.*?\*/[^\n]*\n)*", re.DOTALL).match(text)
    first = opening.end() if opening else 0
    architecture, boundary = LOWEST_ARCHITECTURE, 1
    for line in re.findall(r"^[ \t]*//[ \t]*needs:(.*)$", text[:first] + text[max(first, after) : start], re.MULTILINE):
        for need in map(str.strip, line.split(",")):
            if match := re.fullmatch(r"sm_(\d+)", need):
                architecture = max(architecture, int(match.group(1)))
            elif match := re.fullmatch(r"(\d+)-byte arrays", need):
                boundary = max(boundary, int(match.group(1)))
            else:
                raise KernelError(f"`// needs:{line}` cannot be read; write, say, `// needs: sm_80, 16-byte arrays`")
    return architecture, boundary


_PARAMETER = re.compile(r"\s*(?P<type>\w+(?:\s+\w+)*?)\s*(?P<star>\*?)\s*(?P<name>\w+)\s*(?P<array>\[\w*\])?\s*")
_QUALIFIER = re.compile(rf"\b(?:const|volatile|__restrict__|__restrict|__grid_constant__|{_OR_NULL.strip()})\b")


def _parameters(declared: str, body: str, boundary: int) -> list[Parameter]:
    if declared.strip() in ("", "void"):
        return []
    return [_parameter(one, body, boundary) for one in declared.split(",")]


def _parameter(declared: str, body: str, boundary: int) -> Parameter:
    text = " ".join(declared.replace(_OR_NULL, " ").split())
    text = re.sub(r"([*&])(?=\w)", r"\1 ", re.sub(r"\s+(?=[*&])", "", text))
    match = _PARAMETER.fullmatch(_QUALIFIER.sub(" ", declared))
    type_name = _one_spelling(match["type"]) if match else ""
    if not match or (match["star"] and match["array"]) or _one_spelling(match["name"]) in TYPES:
        raise KernelError(
            f"its parameter `{text}` cannot be read; a kernel takes named numbers, `int n`, and pointers to them, "
            "`const float* x`"
        )
    pointer = bool(match["star"] or match["array"])
    if type_name in VECTORS and pointer:
        dtype, own_boundary = VECTORS[type_name]
    elif type_name in TYPES:
        dtype = TYPES[type_name]
        own_boundary = dtype.itemsize
    else:
        raise KernelError(f"its parameter `{text}` is of no type that is known here: {', '.join(TYPES)}")
    if not pointer:
        return Parameter(match["name"], text, dtype)
    return Parameter(
        match["name"],
        text,
        dtype,
        pointer=True,
        const="const" in declared.partition("*")[0].split(),
        restrict="__restrict" in declared,
        nullable=_OR_NULL in declared,
        boundary=max(own_boundary, boundary, _widest_access(match["name"], body)),
    )


def _one_spelling(type_name: str) -> str:
    """`unsigned`, `unsigned int` and `int unsigned` are one type."""
    words = type_name.split()
    if not set(words) <= {"signed", "unsigned", "char", "short", "int", "long"}:
        return " ".join(words)
    size = [word for word in words if word in ("char", "short", "long")] or ["int"]
    return " ".join([*(["unsigned"] if "unsigned" in words else []), *size])


def _widest_access(name: str, body: str) -> int:
    """The boundary, in bytes, of the widest vector that a kernel reads or writes by casting the pointer `name`."""
    cast = r"(?:reinterpret_cast\s*<\s*(?:const\s+)?(\w+)\s*\*\s*>|\(\s*(?:const\s+)?(\w+)\s*\*\s*\))"
    casts = re.findall(rf"{cast}\s*\(?\s*&?\s*{name}\b", body)
    return max((VECTORS[kind][1] for pair in casts for kind in pair if kind in VECTORS), default=1)
