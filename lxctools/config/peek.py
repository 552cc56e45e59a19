# SPDX-License-Identifier: LGPL-2.1-or-later
"""A few values of very many configurations: what lxc-ls shows of a thousand containers.

Only the lines of the keys asked for are looked at, nothing is checked, and a file that many containers include is read
once. Whoever starts a container uses Config.
"""

from __future__ import annotations

import os

from . import grammar

_DEEPEST = 64
_INCLUDE = "lxc.include"


class Peek:
    """Reads some keys; remembers included files as long as it lives."""

    __slots__ = ("_included", "_keys")

    def __init__(self, keys: frozenset[str]) -> None:
        self._keys = keys
        self._included: dict[str, list[tuple[str, str]]] = {}

    def read(self, path: str) -> dict[str, list[str]]:
        """The values of each key, in order; an empty value drops those before it. Raises OSError."""
        found: dict[str, list[str]] = {}
        for key, value in self._assignments(path, 0):
            if value:
                found.setdefault(key, []).append(value)
            else:
                found.pop(key, None)
        return found

    def _assignments(self, path: str, depth: int) -> list[tuple[str, str]]:
        with open(path, "rb", buffering=0) as file:
            data = file.readall()
        result = []
        for number, text in grammar.lines(data):
            if "lxc." in text:
                line = grammar.assignment(number, text)
                if line is not None and line.key == _INCLUDE:
                    result += self._include(line.value, depth + 1)
                elif line is not None and line.key in self._keys:
                    result.append((line.key, line.value))
        return result

    def _include(self, path: str, depth: int) -> list[tuple[str, str]]:
        """What an included file or folder contributes; [] for what cannot be read, and for a file that includes itself."""
        known = self._included.get(path)
        if known is None:
            known = self._included[path] = []
            try:
                for part in _files(path) if depth <= _DEEPEST else ():
                    known += self._assignments(part, depth)
            except OSError:
                pass
        return known


def _files(path: str) -> list[str]:
    """The file, or the *.conf files of the folder."""
    if not os.path.isdir(path):
        return [path] if path else []
    names = sorted(name for name in os.listdir(path) if name.endswith(".conf") and name != ".conf")
    return [part for part in (f"{path.rstrip('/')}/{name}" for name in names) if not os.path.isdir(part)]
