# SPDX-License-Identifier: LGPL-2.1-or-later
"""Config: the configuration of one container, read from files, changed by commands, asked by key, and saved.

    conf = Config.read(path)            conf["lxc.tty.max"] -> 4          the value, or the key's default
    conf.set("lxc.tty.max", "4")        conf.text("lxc.tty.max") -> "4"   what liblxc's get_config_item returns
    conf.clear("lxc.tty.max")           conf.where("lxc.tty.max") -> "/var/lib/lxc/c1/config:7"
    conf.save(path)                     conf.nets -> the networks

What a key is stands in keys.py and net.py; this module knows only the handful of keys that do something: lxc.include,
lxc.net*, lxc.hook, and the families with a free part in their name.
"""

from __future__ import annotations

from .. import log
from ..errors import ConfigError
from . import grammar, keys, legacy, writer
from . import net as network
from .kernel import check_namespace
from .mount import RootfsPath
from .values import BadValue, Members, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .net import Net

_TABLE = keys.TABLE
_FAMILIES = keys.FAMILIES
_SHARE = "lxc.namespace.share"


class Config:
    """A container's configuration. An empty one has every key at its default."""

    __slots__ = (
        "_backend",
        "_files",
        "_foreign",
        "_nets",
        "_old_networks",
        "_raw",
        "_size",
        "_source",
        "_values",
        "_where",
        "path",
    )

    def __init__(self) -> None:
        self.path = ""  # of the first file read, which hooks get as LXC_CONFIG_FILE
        self._values: dict[str, Any] = {}  # of set keys; a family's under its name without ".*"
        self._nets: dict[int, Net] = {}
        self._where: dict[str, tuple[str, int]] = {}
        self._raw = writer.RawText()
        self._source: grammar.Source | None = None  # what is being read now
        self._files = 0
        self._size = 0  # characters read
        self._old_networks = legacy.Networks()  # what lxc.network.* lines speak of
        self._backend = ""  # lxc.rootfs.backend
        self._foreign: dict[str, list[str]] = {}

    @classmethod
    def read(cls, path: str, foreign: dict[str, list[str]] | None = None) -> Config:
        """The configuration in a file. Raises ConfigError naming file and line.

        foreign: keys that are none of a container, as lxc.hook.create for lxc-create: their values are added to these lists,
        and their lines do not become part of what save() writes.
        """
        conf = cls()
        conf._foreign = foreign or {}
        conf.load(path)
        return conf

    # -- reading files -------------------------------------------------------------------------------------------------

    def load(self, path: str, problems: list[ConfigError] | None = None) -> None:
        """Read a file on top of what is there; its lines become part of the text that save() writes.

        problems: collects the errors, as far as there are not too many, instead of the first one being raised. Raises
        ConfigError.
        """
        self.path = self.path or path
        self._read(path, problems, own=True)

    def load_text(self, text: str, path: str, problems: list[ConfigError] | None = None) -> None:
        """As load(), of text that was read already; path is for messages."""
        self.path = self.path or path
        self._lines(grammar.without_nul(text, path), grammar.Source(path, None), problems, own=True)

    def load_line(self, line: str) -> None:
        """One line as in a file, comment or setting; it becomes part of the text. Raises ConfigError."""
        self.load_text(line, "")

    def _read(self, path: str, problems: list[ConfigError] | None, *, own: bool) -> None:
        source = grammar.Source(path, self._source)
        if problems is not None and (self._files > grammar.MOST_FILES or self._size > grammar.LARGEST_TREE):
            return  # which was told already
        self._files += 1
        if self._files > grammar.MOST_FILES:
            raise ConfigError(f"the configuration includes more than {grammar.MOST_FILES} files")
        self._lines(grammar.read(source), source, problems, own=own)

    def _lines(self, text: str, source: grammar.Source, problems: list[ConfigError] | None, *, own: bool) -> None:
        self._size += len(text)
        if self._size > grammar.LARGEST_TREE:
            raise ConfigError(f"the configuration and what it includes are larger than {grammar.LARGEST_TREE >> 20} MB")
        lines = grammar.split_lines(text)
        if legacy.NETWORK in text:
            self._old_networks.reserve(lines)
        too_long = grammar.LONGEST_LINE if len(text) > grammar.LONGEST_LINE else 0
        before, self._source = self._source, source
        parse, assign, where, path = grammar.parse_line, self._assign, self._where, source.path
        foreign = self._foreign
        try:
            for number, line in enumerate(lines, 1):
                source.number = number
                key = ""
                try:
                    if too_long and len(line) > too_long:
                        raise BadValue(f"the line has {len(line)} characters: at most {too_long}", "is the file a configuration?")
                    found = parse(line)
                    if found is not None:
                        key, value = found
                        if key[-7:] == ".hwaddr" and value:
                            expanded = network.expand_hwaddr(value)
                            if expanded != value:
                                line, value = writer.substitute_value(line, expanded), expanded
                        if key in foreign:
                            foreign[key].append(value)
                            continue
                        name = assign(key, value, problems)
                        where[name] = (path, number)
                        key = name
                except ValueError as error:
                    problem = self._bad_line(error, line, key)
                    if problems is None or len(problems) >= grammar.MOST_PROBLEMS:
                        raise problem from None
                    problems.append(problem)
                if own:
                    self._raw.add(line, key)
        finally:
            self._source = before

    def _bad_line(self, error: ValueError, line: str, key: str) -> grammar.BadLine:
        source = self._source
        remedy = getattr(error, "remedy", "")
        reason = getattr(error, "reason", str(error))
        chain = source.chain() if source else ""
        if chain:
            reason += f" (included at {chain})"
        return grammar.BadLine(
            reason,
            path=source.path if source else "",
            number=source.number if source else 0,
            text=line.rstrip("\r\n")[: grammar.LONGEST_LINE],
            key=key,
            word=getattr(error, "word", ""),
            remedy=remedy,
        )

    # -- one assignment ------------------------------------------------------------------------------------------------

    def _assign(self, key: str, text: str, problems: list[ConfigError] | None = None) -> str:
        """Take a value, "" for none; returns the key's present name. Raises BadValue."""
        row = _TABLE.get(key)
        if row is not None:
            if key == "lxc.include":
                if text:
                    self._include(text, problems)
            elif text:
                self._store(row, text)
            elif row.empty is keys.UNSET:
                self._unset(key)
            elif row.empty is keys.REFUSED:
                raise BadValue("an empty value is not accepted", "remove the line", key)
            else:
                self._values[key] = row.empty
            return key
        if key.startswith("lxc.net."):
            return self._assign_net(key, text)
        family, member = _family(key)
        if family:
            if family == _SHARE:
                check_namespace(member)
            if text:
                self._store_member(family, member, text)
            else:
                self._unset_member(family, member)
            return key
        if not text and key[-1] == "." and key[:-1] in _FAMILIES:
            return key  # clears the member without a name, of which there is none
        if legacy.is_legacy(key):
            return self._assign_legacy(key, text)
        raise _unknown(key)

    def _store(self, row: keys.Key, text: str) -> None:
        kind = row.type
        value = kind.parse(text)
        values = self._values
        if row.excludes and row.excludes in values:
            raise BadValue(f"{row.name} and {row.excludes} exclude each other", f"remove {self._place(row.excludes)}", row.name)
        if kind.join is not None:
            old = values.get(row.name)
            value = kind.join([] if old is None and kind.default == () else old, value)
        values[row.name] = value

    def _unset(self, key: str) -> None:
        values = self._values
        if key == "lxc.net":
            self._nets.clear()
            self._old_networks.emptied()
        elif key == "lxc.hook":
            for name in keys.HOOKS:
                values.pop(name, None)
        else:
            values.pop(key, None)
            if key in ("lxc.cap.drop", "lxc.cap.keep"):  # clearing one list clears both
                values.pop(_TABLE[key].excludes, None)

    def _assign_net(self, key: str, text: str) -> str:
        index, subkey = network.split_key(key)
        net = self._nets.get(index)
        if not subkey:
            if text:
                raise BadValue(f"{key} must not have a value", "an empty one removes the network", text)
            self._nets.pop(index, None)
            return f"lxc.net.{index}"
        if net is None:
            if not text:
                raise BadValue(f"{key} cannot be cleared: there is no network {index}", "remove the line", key)
            net = network.Net(index)
            net.set(subkey, text, key)
            self._nets[index] = net
            self._old_networks.there(index)
        else:
            net.set(subkey, text, key)
        if subkey == "type" and text:
            self._old_networks.began(index)
        return f"lxc.net.{index}.{subkey}"

    def _store_member(self, family: str, member: str, text: str) -> None:
        row = _FAMILIES[family]
        value = row.type.parse(text)
        members = self._values.get(family)
        if members is None:
            members = self._values[family] = Members(row.repeat)
        members.put(member, value)

    def _unset_member(self, family: str, member: str) -> None:
        members = self._values.get(family)
        if members is not None:
            members.drop(member)
            if not members:
                del self._values[family]

    def _assign_legacy(self, key: str, text: str) -> str:
        if key == legacy.BACKEND:
            self._backend = text
            return key
        name = self._old_networks.modern(key)
        if not name:
            log.warn(f"{key} has no meaning since LXC 1.1")
            return key
        log.warn(f"{key} is an old name of {name}; lxc-update-config renames it")
        return self._assign(name, text)

    def _include(self, text: str, problems: list[ConfigError] | None) -> None:
        source = self._source
        try:
            files = grammar.included_files(text)
            for path in files:
                self._read(path, problems, own=False)
        except grammar.BadLine:
            raise
        except ConfigError as error:
            self._source = source
            raise BadValue(error.message, error.remedy, text) from None

    # -- asking --------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        """The value of a key, or its default when unset. KeyError for no key, as that is the program's mistake.

        A family without ".*" gives all of it: lxc.cgroup, lxc.cgroup2, lxc.proc and lxc.sysctl a list of (name, value);
        lxc.prlimit one of (name, soft, hard) with -1 for unlimited; lxc.namespace.share a dict.
        """
        value = self._values.get(key)
        if key in _FAMILIES:
            pairs = value.pairs() if value else []
            if key == _SHARE:
                return dict(pairs)
            return [(name, *limits) for name, limits in pairs] if key == "lxc.prlimit" else pairs
        if value is not None:
            return value
        default = _TABLE[key].default
        return [] if default.__class__ is tuple else default

    @property
    def nets(self) -> list[Net]:
        """The networks by number."""
        return [self._nets[index] for index in sorted(self._nets)]

    @property
    def rootfs_type(self) -> str:
        """The storage type before lxc.rootfs.path, such as "dir"; "" when it is to be detected."""
        path: RootfsPath = self["lxc.rootfs.path"]
        return path.type or (self._backend if path else "")

    def is_set(self, key: str) -> bool:
        """Whether the key was given a value that still holds. Raises ConfigError for no key."""
        key = self._current(key)
        if key in _TABLE:
            if key == "lxc.net":
                return bool(self._nets)
            return key in self._values
        if key.startswith("lxc.net."):
            index, subkey = self._split_net(key)
            net = self._nets.get(index)
            return net is not None and (not subkey or subkey == "type" or subkey in net.values)
        family, member = _family(key)
        if not family:
            raise _as_error(_unknown(key))
        members = self._values.get(family)
        return members is not None and bool(members.of(member))

    def text(self, key: str) -> str:
        """The value as liblxc's get_config_item returns it, "" when unset. Raises ConfigError for what has no value.

        Where liblxc would print "(null)" for an unset value, this is "".
        """
        key = self._current(key)
        row = _TABLE.get(key)
        if row is not None:
            if not row.readable:
                raise ConfigError(f"{key} cannot be read")
            if key == "lxc.net":
                return "".join([f"{net.type or '(invalid)'}\n" for net in self.nets])
            if key in _FAMILIES:
                shown = _FAMILIES[key].type.format
                members = self._values.get(key)
                pairs = members.pairs() if members else ()
                return "".join([f"{key}.{name} = {shown(value)}\n" for name, value in pairs])
            value = self._values.get(key)
            return row.type.format(row.default if value is None else value)
        if key.startswith("lxc.net."):
            return self._net_text(key)
        family, member = _family(key)
        if not family:
            raise _as_error(_unknown(key))
        try:
            if family == _SHARE:
                check_namespace(member)
        except BadValue as error:
            raise _as_error(error, key) from None
        return self._member_text(family, member)

    def _net_text(self, key: str) -> str:
        index, subkey = self._split_net(key)
        net = self._nets.get(index)
        if net is None:
            raise ConfigError(f"{key} cannot be read: there is no network {index}")
        if not subkey:
            raise ConfigError(f"{key} cannot be read", remedy=f"read {key}.type")
        try:
            return net.text(subkey, key)
        except BadValue as error:
            raise _as_error(error, key) from None

    def _member_text(self, family: str, member: str) -> str:
        row = _FAMILIES[family]
        members = self._values.get(family)
        texts = [row.type.format(value) for value in members.of(member)] if members else []
        if row.repeat and family != "lxc.proc":
            return "".join([f"{text}\n" for text in texts])
        return "\n".join(texts)

    def keys(self, prefix: str = "") -> list[str]:
        """What get_keys of liblxc lists: all keys, or the parts that may follow a prefix. Raises ConfigError for others."""
        if not prefix:
            return [row.name for row in keys.KEYS if row.name[-1] != "*"]
        if prefix.startswith("lxc.net."):
            index, _ = self._split_net(prefix)
            if index in self._nets:
                return self._nets[index].subkeys()
        elif prefix in keys.SUBKEYS:
            return keys.SUBKEYS[prefix].split()
        raise ConfigError(f'"{prefix}" has no keys below it')

    def where(self, key: str) -> str:
        """FILE:LINE of the line that set the key last; "" when no file did."""
        path, number = self._where.get(self._current(key), ("", 0))
        return f"{path}:{number}" if path else ""

    def _place(self, key: str) -> str:
        place = self.where(key)
        return f"{key} ({place})" if place else key

    def _current(self, key: str) -> str:
        """The present name of a key in either spelling."""
        if key in _TABLE or not legacy.is_legacy(key):
            return key
        try:
            if key in legacy.IGNORED or key == legacy.BACKEND:
                raise _unknown(key)
            last = max(self._old_networks.last, 0)
            return legacy.modern(key, last, last)
        except BadValue as error:
            raise _as_error(error) from None

    @staticmethod
    def _split_net(key: str) -> tuple[int, str]:
        try:
            return network.split_key(key)
        except BadValue as error:
            raise _as_error(error) from None

    # -- changing ------------------------------------------------------------------------------------------------------

    def set(self, key: str, text: str) -> None:
        """Give a key a value as if "KEY = TEXT" stood at the end of the file; "" is an empty value.

        A list gets one more entry. The text that save() writes follows. Raises ConfigError; then nothing has changed.
        """
        if "\n" in text or "\r" in text or "\0" in text:
            raise ConfigError(f"{key}: a value cannot hold a line end or a NUL byte")
        if key.endswith(".hwaddr"):
            text = network.expand_hwaddr(text)
        before = self._snapshot() if key == "lxc.include" else None
        try:
            name = self._assign(key, text)
        except BadValue as error:
            self._restore(before)
            raise _as_error(error, key, f"{key} = {text}") from None
        except ConfigError:
            self._restore(before)
            raise
        self._where.pop(name, None)
        if not text:
            self._forget_lines(name)
            row = _TABLE.get(name)
            if "lxc.include" in self._raw.keys or (row is not None and row.empty is not keys.UNSET):
                self._raw.append_empty(name)  # or an included file, or the default, would give it another value
        elif name.startswith("lxc.net.") and name.endswith(".type"):
            self._forget_lines(name)
            self._raw.append(name, text)
        elif _repeats(name):
            self._raw.append(name, text)
        else:
            self._raw.put(name, text)
        if name == "lxc.rootfs.path" and self._backend:  # which spoke of the old path
            self._backend = ""
            self._forget_lines(legacy.BACKEND)

    def replace(self, key: str, texts: Sequence[str]) -> None:
        """Give a key these values in place of what it has. Raises ConfigError; then nothing has changed."""
        before = self._snapshot()
        try:
            name = self._current(key)
            if len(texts) != 1 or _repeats(name):
                self.clear(key)
            for text in texts:
                self.set(key, text)
        except ConfigError:
            self._restore(before)
            raise

    def _snapshot(self) -> Config:
        """A copy that changes to this one do not reach."""
        copy = Config()
        for name in self.__slots__:
            setattr(copy, name, getattr(self, name))
        copy._values = {key: _copied(value) for key, value in self._values.items()}
        copy._nets = {index: net.copy() for index, net in self._nets.items()}
        copy._where = dict(self._where)
        copy._raw = self._raw.copy()
        copy._old_networks = self._old_networks.copy()
        return copy

    def _restore(self, copy: Config | None) -> None:
        if copy is not None:
            for name in self.__slots__:
                setattr(self, name, getattr(copy, name))

    def define(self, definition: str) -> None:
        """Take a -s argument, KEY=VALUE with a line's rules for blanks and quotes. Raises ConfigError."""
        try:
            key, value = grammar.parse_definition(definition)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self.set(key, value)

    def clear(self, key: str) -> None:
        """Unset a key, a whole family, a network or all of them, and remove its lines. Raises ConfigError for no key."""
        key = self._current(key)
        if key in _TABLE:
            self._unset(key)
        elif key.startswith("lxc.net."):
            try:
                key = self._assign_net(key, "")
            except BadValue as error:
                raise _as_error(error, key) from None
        else:
            family, member = _family(key)
            if not family:
                raise _as_error(_unknown(key))
            self._unset_member(family, member)
        self._where.pop(key, None)
        if key != "lxc.include":
            self._forget_lines(key)

    def _forget_lines(self, key: str) -> None:
        """Remove the lines of a key, those below it where it stands for them all."""
        if key in ("lxc.cap.drop", "lxc.cap.keep"):
            self._raw.remove(lambda name: name in ("lxc.cap.drop", "lxc.cap.keep"))
        elif key == "lxc.hook":
            self._raw.remove(lambda name: name == key or name in keys.HOOKS)
        elif key in _FAMILIES:
            self._raw.remove(lambda name: name == key or (name not in _TABLE and _family(name)[0] == key))
        elif key == "lxc.net":
            self._raw.remove(lambda name: name == key or name.startswith("lxc.net."))
        elif key.startswith("lxc.net.") and (key.count(".") == 2 or key.endswith(".type")):
            number = ".".join(key.split(".")[:3])
            self._raw.rename(legacy.NETWORK)  # without a number, lines of other networks would get this one
            self._raw.remove(lambda name: name == number or name.startswith(number + "."))
        else:
            self._raw.remove(lambda name: name == key)

    # -- saving --------------------------------------------------------------------------------------------------------

    @property
    def raw(self) -> writer.RawText:
        """The lines that save() writes, for edits that no key expresses (copies of a container)."""
        return self._raw

    def write_text(self) -> str:
        """What save() writes: the container's own lines as they were read, and the changes made since."""
        return self._raw.text()

    def save(self, path: str) -> None:
        """Write the file in one step, keeping its owner and mode. Raises ConfigError."""
        text = self._raw.text()
        writer.save(path, text + "\n" if text and text[-1] not in "\r\n" else text)


def _copied(value: Any) -> Any:
    """Lists and families are changed in place, all other values replaced."""
    return value.copy() if value.__class__ in (list, Members) else value


def _family(key: str) -> tuple[str, str]:
    """The family and the free part of a key; ("", "") when it belongs to none."""
    if key.startswith("lxc.namespace.share."):
        return _SHARE, key[20:]
    dot = key.find(".", 4)
    family = key[:dot]
    if dot < 0 or family not in _FAMILIES or dot + 1 == len(key):
        return "", ""
    return family, key[dot + 1 :]


def _repeats(name: str) -> bool:
    """Whether lines of this key add up."""
    if name in _TABLE:
        return _TABLE[name].repeat
    if name.startswith("lxc.net."):
        row = network.TABLE.get(name[8:].partition(".")[2])
        return row is not None and row.repeat
    family, _ = _family(name)
    return not family or _FAMILIES[family].repeat


def _unknown(key: str) -> BadValue:
    if key in legacy.IGNORED or key == legacy.BACKEND:
        remedy = "lxc.rootfs.path = TYPE:PATH has the type" if key == legacy.BACKEND else "it has no meaning since LXC 2.1"
        return BadValue(f'Unsupported config key "{key}"', remedy, key)
    hint = nearest(key, [*_TABLE, *legacy.NAMES])
    hint = legacy.NAMES.get(hint, hint) or _nearest_family(key)
    remedy = f"did you mean {hint}?" if hint else f"LXC up to {keys.NEWEST} has no such key; lxc.container.conf(5) lists them"
    return BadValue(f'Unsupported config key "{key}"', remedy, key)


def _nearest_family(key: str) -> str:
    """lxc.cgroup2.memory.max for lxc.cgrop2.memory.max; "" where nothing is near."""
    words = key.split(".")
    for dots in (2, 3):
        head, rest = ".".join(words[:dots]), words[dots:]
        found = nearest(head, [name for name in (*_FAMILIES, "lxc.net") if name.count(".") == dots - 1]) if rest and all(rest) else ""
        if found and found != head:
            return ".".join([found, *rest])
    return ""


def _as_error(error: BadValue, key: str = "", line: str = "") -> ConfigError:
    return grammar.BadLine(error.reason, text=line, key=key, word=error.word, remedy=error.remedy)
