"""Makes kernels tell the values of their local variables: what a trace adds to the text of a .cu file.

Behind each statement that gives a number to a variable stands, on the same line, a call that shows it; the condition of
an `if`, and what a function returns, go through calls that tell them.
"""

from __future__ import annotations

import re

from minisegnet.emulator.source import closing, code_alone, split

CONTROL = re.compile(r"\s*(?:else\b|do\b|(?:if|for|while|switch)\b\s*(?:constexpr\s*)?(?=\())")
DECLARED = re.compile(r"\s*(?:const\s+)?(?:(?:unsigned|long|short)\s+)*[A-Za-z_]\w*\s+(?=\w+\s*=[^=])")
NAMED = re.compile(r"\s*(\w+)\s*=[^=]")
ASSIGNED = re.compile(r"\s*(\w+)\s*(?:[-+*/%&|^]|<<|>>)?=(?!=)")
COUNTED = re.compile(r"\(\s*(?:const\s+)?(?:(?:unsigned|long|short)\s+)*[A-Za-z_]\w*\s+(\w+)\s*=[^=;]*;")
NO_TYPE = {"return", "else", "goto", "case", "using", "typedef", "new", "delete", "static", "constexpr", "extern"}


def following(text: str) -> str:
    """The text with the calls put in. Line numbers stay."""
    code = code_alone(text)
    edits: list[tuple[int, str]] = []
    for start, end in _bodies(code):
        edits += [*_edits(code, start, end), *_decisions(code, start, end), *_returns(code, start, end)]
    for place, addition in sorted(edits, reverse=True):
        text = text[:place] + addition + text[place:]
    return text


def _bodies(code: str) -> list[tuple[int, int]]:
    """From brace to brace, the functions that stand in no other braces."""
    found, place = [], 0
    while (place := code.find("{", place)) >= 0:
        end = closing(code, place)
        if re.search(r"\)\s*(?:const\s*)?$", code[:place]):
            found.append((place, end))
        place = end
    return found


def _edits(code: str, start: int, end: int) -> list[tuple[int, str]]:
    edits: list[tuple[int, str]] = []
    begin, place = start + 1, start + 1
    while place < end:
        character = code[place]
        if character in "([":
            place = closing(code, place)
        elif character in "{}":
            counter = COUNTED.search(code[begin:place]) if character == "{" else None
            if counter and re.match(r"\s*for\b", code[begin:place]):
                edits.append((place + 1, _shown([counter[1]], _line(code, place)) + ";"))
            if character == "{" and re.search(r"=\s*$", code[begin:place]):
                place = closing(code, place)  # values in braces, not statements
            else:
                begin = place + 1
        elif character == ";":
            edits += _edit(code, begin, place)
            begin = place + 1
        place += 1
    return edits


def _edit(code: str, begin: int, semicolon: int) -> list[tuple[int, str]]:
    """What to put before or behind the semicolon of one statement."""
    counters = []
    while control := CONTROL.match(code, begin, semicolon):
        begin = control.end()
        if code[begin : begin + 1] == "(":
            bracket_end = closing(code, begin)
            counter = COUNTED.match(code[begin:bracket_end])
            counters += [counter[1]] if counter and control[0].strip().startswith("for") else []
            begin = bracket_end + 1
    statement, line = code[begin:semicolon], _line(code, semicolon)
    declared = DECLARED.match(statement)
    if declared and declared[0].split()[0] not in NO_TYPE:
        names = [name[1] for part in split(statement[declared.end() :]) if (name := NAMED.match(part))]
        return [(semicolon + 1, " " + _shown(names, line) + ";")]
    assigned = ASSIGNED.match(statement)
    if assigned:
        return [(semicolon, ", " + _shown([*counters, assigned[1]], line))]
    return []


def _decisions(code: str, start: int, end: int) -> list[tuple[int, str]]:
    """Conditions of `if`, each put into a call that tells whether it holds."""
    edits = []
    for match in re.finditer(r"\bif\s*\(", code[start:end]):
        opening = start + match.end() - 1
        condition_end = closing(code, opening)
        condition = code[opening + 1 : condition_end]
        if ";" not in condition and not DECLARED.match(condition):
            place = f"{{__FILE__, {_line(code, opening)}}}"
            edits += [(opening + 1, "emulator::decided(bool("), (condition_end, f"), {place})")]
    return edits


def _returns(code: str, start: int, end: int) -> list[tuple[int, str]]:
    """What a function returns, put into a call that tells it."""
    head = code[max(code.rfind(mark, 0, start) for mark in ";}") + 1 : start]
    if re.search(r"\b(?:void|constexpr)\b", head):
        return []
    edits = []
    for match in re.finditer(r"\breturn\b(?=\s*[^;{\s])", code[start:end]):
        semicolon = code.find(";", start + match.end())
        place = f"{{__FILE__, {_line(code, start + match.start())}}}"
        edits += [(start + match.end(), " emulator::returned("), (semicolon, f", {place})")]
    return edits


def _shown(names: list[str], line: int) -> str:
    return ", ".join(f'emulator::show("{name}", {name}, {{__FILE__, {line}}})' for name in names)


def _line(code: str, place: int) -> int:
    return code.count("\n", 0, place) + 1
