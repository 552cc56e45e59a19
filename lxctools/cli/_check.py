# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-config check, and how the problems of a configuration are shown, also by lxc-start."""

from __future__ import annotations

import os

from .. import log
from ..config.check import Misconfigured
from ..container import Container, as_json, check_config, list_containers
from ..errors import ConfigError, LxcError, describe, os_path
from ..paths import printable
from . import _main, _out
from ._options import NONE, Command, Option, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..config.check import Problem, Reading

CLEAN, PROBLEMS, UNREADABLE = 0, 1, 2

COMMAND = Command(
    "config check",
    "[NAME | FILE]...",
    "Say all that is wrong with these containers' or files' configurations, or everybody's, and what this host lacks.",
    (Option("", "json", NONE, "json", "print what is found as JSON"),),
    named=False,
    rcfile=False,
)


def shown(problem: Problem) -> str:
    """A problem as text: the place and what is wrong, the line with a caret, what is legal, what to do."""
    place = f"{problem.where()}: " if problem.path else ""
    lines = [f"{place}{problem.severity}: {printable(problem.message)}"]
    lines += [f"    {line}" for line in problem.excerpt().splitlines()]
    if problem.legal:
        lines.append(f"    {printable(problem.key)} takes {problem.legal}")
    if problem.remedy:
        lines.append(f"    {printable(problem.remedy)}")
    if problem.included:
        lines.append(f"    included at {printable(problem.included)}")
    return "".join(f"{line}\n" for line in lines)


def refuse(path: str, error: ConfigError, lxcpath: str, name: str) -> None:
    """After a ConfigError of a start: show everything that stands in its way, where that is more than the error says."""
    problems: list[Problem] = []
    if isinstance(error, Misconfigured):
        problems = list(error.problems)
    elif os.path.isfile(path):  # a pipe can be read once
        try:
            problems = [one for one in check_config(path, lxcpath, name).problems if one.severity == "error"]
        except LxcError:
            return  # the error says why it cannot be read
    if len(problems) > 1:
        _out.complain("".join(map(shown, problems)))


def run(argv: list[str], called: str) -> int:
    """0: nothing is wrong; 1: something is; 2: a file cannot be read, or there is no such container."""
    values = _main.read_common(COMMAND, argv, f"{called} check")
    lxcpath = values.lxcpath
    log.to_stderr(False)  # what the reading records is among the problems
    try:
        words = ([values.name] if values.name_given else []) + values.words or _all(lxcpath)
        targets = [_target(word, lxcpath) for word in words]
    except LxcError as error:
        _tell(values, str(error))
        return UNREADABLE
    code = CLEAN
    rows: list[dict[str, Any]] = []
    for name, path in targets:
        row: dict[str, Any] = {"name": name or None, "file": path, "error": None, "problems": []}
        rows.append(row)
        try:
            reading = check_config(path, lxcpath if name else "", name)
        except ConfigError as error:
            row["error"] = str(error)
            code = UNREADABLE
            if not values.json:
                hint = f" (there is no container {printable(name)} in {printable(lxcpath)}, nor a file of that name here)"
                _tell(values, f"{error}{'' if not name or os.path.lexists(path) else hint}")
            continue
        row["problems"] = [_fields(one) for one in reading.problems]
        if reading.problems:
            code = max(code, PROBLEMS)
        if not values.json:
            _print(reading)
    if values.json:
        _out.line(as_json(rows, indent=2))
    log.to_stderr(not values.quiet)  # for a standard output that cannot be written
    return code


def _tell(values: Values, text: str) -> None:
    log.to_stderr(not values.quiet)
    log.error(text)
    log.to_stderr(False)


def _print(reading: Reading) -> None:
    for problem in reading.problems:
        _out.text(shown(problem))


def _fields(problem: Problem) -> dict[str, Any]:
    names = ("severity", "path", "line", "column", "width", "text", "key", "message", "legal", "remedy", "included")
    return {name: os_path(value) if isinstance(value, str) else value for name, value in ((n, getattr(problem, n)) for n in names)}


def _all(lxcpath: str) -> list[str]:
    try:
        os.listdir(lxcpath)  # the list is empty for a folder that is not there
        return list(list_containers(active=False, config_path=lxcpath))
    except OSError as error:
        if isinstance(error, FileNotFoundError) and lxcpath == Container("").lxcpath:
            return []  # nobody made a container yet
        raise LxcError(f"cannot list the containers: {describe(error)}", remedy="name the folder that holds them") from error


def _target(word: str, lxcpath: str) -> tuple[str, str]:
    """(name, file) of an argument: a container where there is one, else a file; a file of a container is the container's."""
    if not word:
        raise LxcError("an argument is empty", remedy="name a container or a file")
    if "/" not in word:
        path = f"{lxcpath}/{word}/config"
        if os.path.exists(path) or not os.path.exists(word):
            return word, path
    path = os.path.abspath(word)
    folder, base = os.path.split(path)
    above, name = os.path.split(folder)
    return (name, path) if base == "config" and above == lxcpath else ("", path)
