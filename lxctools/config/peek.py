# SPDX-License-Identifier: LGPL-2.1-or-later
"""A few values of very many configurations: what lxc-ls shows of a thousand containers.

Only the lines of the keys asked for are looked at, nothing is checked, and a file that many containers include is read
once. Whoever starts a container uses Config.
"""

from __future__ import annotations

from ..errors import ConfigError
from . import grammar

_INCLUDE = "lxc.include"
_OLD = {"lxc.id_map": "lxc.idmap"}  # names before LXC 2.1 of keys that are asked for; legacy.py has them all


class Peek:
    """Reads some keys; remembers included files as long as it lives."""

    __slots__ = ("_included", "_keys")

    def __init__(self, keys: frozenset[str]) -> None:
        self._keys = keys
        self._included: dict[str, list[tuple[str, str]]] = {}

    def read(self, path: str) -> dict[str, list[str]]:
        """The values of each key, in order; an empty value drops those before it. Raises ConfigError."""
        found: dict[str, list[str]] = {}
        for key, value in self._assignments(path):
            if value:
                found.setdefault(key, []).append(value)
            else:
                found.pop(key, None)
        return found

    def _assignments(self, path: str) -> list[tuple[str, str]]:
        result = []
        for text in grammar.split_lines(grammar.read(grammar.Source(path, None))):
            if "lxc." not in text or "=" not in text:
                continue
            line = grammar.parse_line(text)
            if line is None:
                continue
            key, value = line
            key = _OLD.get(key, key)
            if key == _INCLUDE:
                result += self._include(value)
            elif key in self._keys:
                result.append((key, value))
        return result

    def _include(self, path: str) -> list[tuple[str, str]]:
        """What an included file or folder contributes; [] for what cannot be read, and for a file that includes itself."""
        known = self._included.get(path)
        if known is None:
            known = self._included[path] = []
            try:
                for part in grammar.included_files(path) if path else ():
                    known += self._assignments(part)
            except ConfigError:
                pass
        return known
