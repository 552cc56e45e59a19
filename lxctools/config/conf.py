# SPDX-License-Identifier: LGPL-2.1-or-later
"""Config: a container's configuration in memory, and the text it is written back from.

liblxc never writes a configuration from its values: it keeps the text of the container's own file, appends what is set
and removes the lines of what is cleared. So do we; includes stay one line.
"""

from __future__ import annotations

import os

from ..errors import ConfigError, describe
from . import grammar, keys, legacy, net, values
from .keys import Key
from .net import Net
from .values import REFUSED, MountAuto

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST = 64
_INDEX_LIMIT = 2147483647


class Config:
    """conf[key] is the parsed value or the key's default; conf.text(key) is what liblxc prints."""

    __slots__ = ("_foreign", "_nets", "_places", "_reading", "_text", "_values", "path", "rootfs_type")

    def __init__(self) -> None:
        self._values: dict[str, object] = {}
        self._nets: dict[int, Net] = {}
        self._places: dict[str, str] = {}
        self._text: list[str] = []
        self._reading: list[tuple[str, int]] = []  # files being read: (path, line)
        self._foreign: dict[str, list[str]] = {}
        self.path = ""  # the first file that was read
        self.rootfs_type = ""  # of lxc.rootfs.path: dir, overlay, ... or "" for "detect it"

    # -- reading

    @classmethod
    def read(cls, path: str, foreign: dict[str, list[str]] | None = None) -> Config:
        """The configuration in a file. Raises ConfigError naming file, line, key and reason.

        foreign: keys that are no keys of a container; their values are put there, and their lines are not kept.
        """
        conf = cls()
        conf._foreign = {} if foreign is None else foreign
        conf.load(path)
        return conf

    def load(self, path: str) -> None:
        """Add a file to this configuration, text included. Raises ConfigError."""
        if not self.path:
            self.path = path
        self._read_file(path, own=True)

    def _read_file(self, path: str, *, own: bool) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
            with open(fd, "rb", buffering=0) as file:
                data = file.readall()
        except OSError as error:
            raise self._error(f'Failed to open file "{path}": {describe(error)}') from error
        if any(os.path.realpath(path) == os.path.realpath(other) for other, _line in self._reading):
            raise self._error(f'"{path}" includes itself', "remove one of the lxc.include lines")
        if len(self._reading) >= _DEEPEST:
            raise self._error(f'"{path}": more than {_DEEPEST} nested lxc.include files')
        self._reading.append((path, 0))
        for number, text in grammar.lines(data):
            self._reading[-1] = (path, number)
            line = grammar.assignment(number, text)
            if line is not None:
                if line.key is None:
                    raise self._error(f"Invalid configuration line: {text.strip()}", "a line is KEY = VALUE")
                if line.key in self._foreign:
                    self._foreign[line.key].append(line.value)
                    continue
                if line.key.endswith(".hwaddr"):
                    expanded = net.expand_hwaddr(line.value)
                    text = text.replace(line.value, expanded) if line.value else text
                    line.value = expanded
                self._assign(line.key, line.value)
            if own:
                self._text.append(text)
        self._reading.pop()
        if own and self._text and self._text[-1] == "":
            self._text.pop()  # what follows the last newline

    def load_line(self, text: str) -> None:
        """Apply `KEY = VALUE` as a line of a file would (-s KEY=VAL); not remembered in the text. Raises ConfigError."""
        line = grammar.assignment(1, text)
        if line is None or line.key is None:
            raise ConfigError(f'"{text}" is not lxc.KEY=VALUE')
        self._assign(line.key, line.value)

    # -- setting

    def set(self, key: str, text: str) -> None:
        """Set a key; "" clears it. The text that save() writes follows. Raises ConfigError."""
        if "\n" in text:
            raise ConfigError(f"{key}: a value cannot hold a newline")
        if key.endswith(".hwaddr"):
            text = net.expand_hwaddr(text)
        self._assign(key, text)
        if text:
            self._text.append(f"{key} = {text}")
        else:
            self._forget_lines(key)

    def clear(self, key: str) -> None:
        """Give a key its default back. Raises ConfigError for an unknown key."""
        if key == "lxc.net" or key.startswith("lxc.net."):
            self._assign(key, "")
        elif key == "lxc.hook":
            self._clear_hooks()
        else:
            row, rest = self._row(key)
            self._unset(row, rest)
        self._forget_lines(key)

    def _forget_lines(self, key: str) -> None:
        """Remove the lines of a key, and of everything below a key that stands for a group."""
        group = key in ("lxc.net", "lxc.hook") or (keys.find(key) or (None, "x"))[0] in keys.FAMILIES
        group = group or (key.startswith("lxc.net.") and key[8:].isdecimal())

        def mine(text: str) -> bool:
            line = grammar.assignment(0, text)
            if line is None or line.key is None:
                return False
            return line.key == key or (group and line.key.startswith(key + "."))

        self._text = [text for text in self._text if not mine(text)]

    def _assign(self, key: str, text: str) -> None:
        key = legacy.modern(self, key, text)
        try:
            if key == "lxc.include":
                self._include(text)
            elif key == "lxc.net" or key.startswith("lxc.net."):
                self._assign_net(key, text)
            elif key == "lxc.hook":
                if text:
                    raise ValueError("lxc.hook must not have a value")
                self._clear_hooks()
            else:
                self._assign_plain(key, text)
        except ValueError as error:
            raise self._error(f"{key}: {error}", key=key) from None
        if self._reading:
            path, number = self._reading[-1]
            self._places[key] = f"{path}:{number}"

    def _assign_plain(self, key: str, text: str) -> None:
        row, rest = self._row(key)
        if not text:
            if row.kind.empty is REFUSED:
                raise ValueError("needs a value")
            self._unset(row, rest)
            if row.kind.empty != row.kind.unset:
                self._values[row.name] = row.kind.empty
            return
        if row.family:
            self._assign_family(row, rest, text)
            return
        value = row.kind.parse(text)
        if row.name in ("lxc.cap.drop", "lxc.cap.keep"):
            self._check_capabilities(row.name, value)
        elif row.name in ("lxc.namespace.clone", "lxc.namespace.keep"):
            other = "lxc.namespace.keep" if row.name.endswith("clone") else "lxc.namespace.clone"
            if self._values.get(other):
                raise ValueError('Cannot set both "lxc.namespace.clone" and "lxc.namespace.keep"')
        if row.kind.many:
            kept = self._values.setdefault(row.name, [])
            assert isinstance(kept, list)
            assert isinstance(value, list)
            if row.name == "lxc.cap.keep" and "none" in value:
                kept.clear()
            kept.extend(value)
        elif row.kind is values.ROOTFS:
            assert isinstance(value, tuple)
            self.rootfs_type = value[0]
            self._values[row.name] = value
        else:
            self._values[row.name] = value

    def _check_capabilities(self, name: str, value: object) -> None:
        assert isinstance(value, list)
        if name == "lxc.cap.drop" and "none" in value:
            raise ValueError('The "none" keyword is only valid when keeping caps')
        if self._values.get("lxc.cap.keep" if name == "lxc.cap.drop" else "lxc.cap.drop"):
            raise ValueError("Keeping and dropping capabilities are mutually exclusive")

    def _assign_family(self, row: Key, rest: str, text: str) -> None:
        if not rest:
            raise ValueError("needs a name after it, or an empty value")
        value: object = text
        if row.name == "lxc.prlimit":
            value = values.rlimit(text)
        elif row.name == "lxc.namespace.share":
            from_names = [name.name for name in values.NAMESPACES]
            if rest not in from_names:
                raise ValueError(f'Invalid namespace name "{rest}": one of {" ".join(from_names)}')
        pairs = self._pairs(row.name)
        if row.name in ("lxc.prlimit", "lxc.sysctl", "lxc.namespace.share"):
            pairs[:] = [pair for pair in pairs if pair[0] != rest]
        pairs.append((rest, value))

    def _pairs(self, name: str) -> list[tuple[str, object]]:
        kept = self._values.setdefault(name, [])
        assert isinstance(kept, list)
        return kept

    def _unset(self, row: Key, rest: str) -> None:
        if row.name in ("lxc.cap.drop", "lxc.cap.keep"):
            self._values.pop("lxc.cap.drop", None)
            self._values.pop("lxc.cap.keep", None)
        elif row.family and rest:
            pairs = self._pairs(row.name)
            pairs[:] = [pair for pair in pairs if pair[0] != rest]
        else:
            self._values.pop(row.name, None)

    def _clear_hooks(self) -> None:
        for name in keys.HOOKS:
            self._values.pop(f"lxc.hook.{name}", None)

    def _include(self, text: str) -> None:
        if not text:
            return
        if text.endswith("/") or os.path.isdir(text):
            try:
                names = sorted(os.listdir(text))
            except FileNotFoundError:
                return
            for name in names:
                path = f"{text.rstrip('/')}/{name}"
                if name.endswith(".conf") and len(name) > len(".conf") and not os.path.isdir(path):
                    self._read_file(path, own=False)
        else:
            self._read_file(text, own=False)

    def _assign_net(self, key: str, text: str) -> None:
        if key == "lxc.net":
            if text:
                raise ValueError("lxc.net must not have a value")
            self._nets.clear()
            return
        index, subkey = self._net_key(key)
        if not subkey:
            if text:
                raise ValueError("needs a subkey, as lxc.net.0.type, or an empty value")
            self._nets.pop(index, None)
            return
        if not text:
            if index not in self._nets:
                raise ValueError(f"there is no network {index} to clear it in")
            self._nets[index].set(subkey, "")
            return
        device = self._nets.setdefault(index, Net(index))
        device.set(subkey, text)

    def _net_key(self, key: str) -> tuple[int, str]:
        digits, dot, subkey = key[len("lxc.net.") :].partition(".")
        if not digits.isdecimal() or not digits.isascii():
            raise ValueError(f'Invalid network index "{digits}": a number, as in lxc.net.0.type')
        if int(digits) >= _INDEX_LIMIT:
            raise ValueError("Number of configured networks would overflow the counter")
        if dot and subkey not in net.BY_NAME:
            raise ValueError(f'Unknown network configuration key "{subkey}"{_nearest(subkey, net.BY_NAME)}')
        return int(digits), subkey

    # -- asking

    def _row(self, key: str) -> tuple[Key, str]:
        found = keys.find(key)
        if found is None:
            raise self._error(f'Unsupported config key "{key}"', _nearest(key, keys.BY_NAME).strip("; ") or "see lxc.container.conf(5)")
        return found

    def __getitem__(self, key: str):  # type: ignore[no-untyped-def]  # its type is the row's
        if key == "lxc.mount.auto":
            return self.mount_auto
        found = keys.find(key)
        if found is None:
            raise KeyError(key)
        row, rest = found
        if row.family:
            pairs = self._values.get(row.name, [])
            assert isinstance(pairs, list)
            if rest:
                return [value for name, value in pairs if name == rest]
            if row.name == "lxc.prlimit":
                return [(name, *limits) for name, limits in pairs]
            return dict(pairs) if row.name == "lxc.namespace.share" else list(pairs)
        value = self._values.get(row.name, row.unset)
        if row.kind is values.ROOTFS:
            return value[1]  # type: ignore[index]
        return list(value) if row.kind.many else value  # type: ignore[call-overload]

    @property
    def mount_auto(self) -> MountAuto:
        """lxc.mount.auto as a record."""
        return values.mount_auto(self._values.get("lxc.mount.auto", []))

    @property
    def nets(self) -> list[Net]:
        """The network devices in numeric order."""
        return [self._nets[index] for index in sorted(self._nets)]

    def is_set(self, key: str) -> bool:
        """Whether the configuration gives the key a value."""
        found = keys.find(key)
        if found is None:
            return False
        row, rest = found
        return bool(self[key]) if row.family and rest else row.name in self._values

    def where(self, key: str) -> str:
        """FILE:LINE where the key was set last, or ""."""
        return self._places.get(key, "")

    def text(self, key: str) -> str:
        """The value as liblxc's get_config_item prints it; "" when unset. Raises ConfigError for what cannot be read."""
        if key == "lxc.net":
            return "".join(f"{device.type}\n" for device in self.nets)
        if key.startswith("lxc.net."):
            return self._net_text(key)
        if key in ("lxc.include", "lxc.hook"):
            raise ConfigError(f"{key} cannot be read back")
        row, rest = self._row(key)
        if row.family:
            return self._family_text(row, rest)
        value = self._values.get(row.name)
        if value is None:
            return row.kind.show(row.unset) if not row.kind.many else row.kind.show([])
        return row.kind.show(value)

    def _net_text(self, key: str) -> str:
        try:
            index, subkey = self._net_key(key)
            if not subkey or index not in self._nets:
                raise ConfigError(f"{key} cannot be read: there is no such value")
            return self._nets[index].text(subkey)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from None

    def _family_text(self, row: Key, rest: str) -> str:
        pairs = self._pairs(row.name) if row.name in self._values else []

        def show(value: object) -> str:
            return values.show_rlimit(value) if isinstance(value, tuple) else str(value)

        if not rest:
            if row.name == "lxc.namespace.share":
                raise ConfigError("lxc.namespace.share needs the name of a namespace")
            return "".join(f"{row.name}.{name} = {show(value)}\n" for name, value in pairs)
        mine = [show(value) for name, value in pairs if name == rest]
        if row.name in ("lxc.cgroup", "lxc.cgroup2"):
            return "".join(f"{value}\n" for value in mine)
        return mine[-1] if mine else ""

    def keys(self) -> Iterator[str]:
        """The names of the keys that are set, in the table's order."""
        for row in keys.ROWS:
            if row.name in self._values:
                yield row.name

    # -- writing

    def write_text(self) -> str:
        """The file that this configuration is written as: its own lines, as they were read and set."""
        return "".join(f"{line}\n" for line in self._text)

    def add_text(self, line: str) -> None:
        """Append a line (a comment) to the text without interpreting it."""
        self._text.append(line)

    def save(self, path: str) -> None:
        """Write the file so that it is there whole, or as it was before. Raises OSError."""
        from_mode = 0o660
        try:
            status = os.stat(path)
        except FileNotFoundError:
            status = None
        temporary = f"{path}.{os.getpid()}.new"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, from_mode)
        try:
            with open(fd, "wb") as file:
                file.write(os.fsencode(self.write_text()))
                file.flush()
                if status is not None:
                    os.fchmod(fd, status.st_mode & 0o7777)
                    os.fchown(fd, status.st_uid, status.st_gid)
                os.fsync(fd)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    # -- errors

    def _error(self, text: str, remedy: str = "", key: str = "") -> ConfigError:
        if self._reading:
            path, number = self._reading[-1]
            return ConfigError(f"{path}:{number}: {text}", remedy=remedy)
        return ConfigError(text, remedy=remedy)


def _nearest(name: str, known: object) -> str:
    """`; did you mean X?` for the known name that differs in the fewest letters, or ""."""
    best, score = "", len(name) // 4 + 2
    for other in known:  # type: ignore[attr-defined]
        distance = _distance(name, other, score)
        if distance < score:
            best, score = other, distance
    return f"; did you mean {best}?" if best else ""


def _distance(a: str, b: str, most: int) -> int:
    """Levenshtein's distance, not computed further than most."""
    if abs(len(a) - len(b)) >= most:
        return most
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
    return row[-1]
