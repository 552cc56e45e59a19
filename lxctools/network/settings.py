# SPDX-License-Identifier: LGPL-2.1-or-later
"""The settings of lxc-net: /etc/default/lxc and /etc/default/lxc-net, shell files that are read without a shell.

What is understood:

    file     = { command ( newline | ";" ) }
    command  = [ "export" ] NAME=WORD { NAME=WORD }
             | ( "." | "source" ) WORD
             | test ( "&&" | "||" ) ( "." | "source" ) WORD
    test     = "[" [ "!" ] ( -f | -e | -r ) WORD "]"          or the same after the word "test"

with both kinds of quotes, backslashes, comments, $NAME, ${NAME} and ${NAME:-WORD}. A file that holds anything else is a
program, and /bin/sh is asked what the variables are after it.
"""

from __future__ import annotations

import ipaddress
import os

from .. import process
from ..errors import LxcError, describe
from ..linux import rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULTS_FILE = "/etc/default/lxc"
NET_DEFAULTS_FILE = "/etc/default/lxc-net"

DEFAULTS = {
    "USE_LXC_BRIDGE": "true",
    "LXC_BRIDGE": "lxcbr0",
    "LXC_BRIDGE_MAC": "00:16:3e:00:00:00",
    "LXC_ADDR": "10.0.3.1",
    "LXC_NETMASK": "255.255.255.0",
    "LXC_NETWORK": "10.0.3.0/24",
    "LXC_DHCP_RANGE": "10.0.3.2,10.0.3.254",
    "LXC_DHCP_MAX": "253",
    "LXC_DHCP_CONFILE": "",
    "LXC_DHCP_PING": "true",
    "LXC_DOMAIN": "",
    "LXC_USE_NFT": "true",
    "LXC_IPV6_ENABLE": "true",
    "LXC_IPV6_ADDR": "",
    "LXC_IPV6_MASK": "",
    "LXC_IPV6_NETWORK": "",
    "LXC_IPV6_NAT": "false",
}
_DEPTH = 10  # of files that read files
_SHELL = '. "$1" >/dev/null 2>&1; shift; for name; do eval "value=\\$$name"; printf "%s=%s\\000" "$name" "$value"; done'


class _Program(Exception):
    """The file is more than assignments."""


def read(path: str = DEFAULTS_FILE, net_path: str = NET_DEFAULTS_FILE, defaults: dict[str, str] = DEFAULTS) -> dict[str, str]:
    """The variables: defaults, changed by path, and by net_path unless path reads it itself. Raises LxcError.

    The environment has no say, as in LXC, except where a file refers to it.
    """
    values = dict(defaults)
    text = _text(path)
    if text is not None:
        values = _evaluated(path, text, values)
    if text is None or "lxc-net" not in text:
        text = _text(net_path)
        if text is not None:
            values = _evaluated(net_path, text, values)
    return values


def update(values: dict[str, str], text: str) -> None:
    """Take over the assignments in text, as record() wrote them; anything else in it is passed over."""
    try:
        for command in _commands(text, {}):
            for word in command:
                name, equals, value = word.partition("=")
                if equals and name in values:
                    values[name] = value
    except _Program:
        pass


def record(values: dict[str, str]) -> str:
    """The variables as assignments that a shell, and update(), read back to the same values."""
    return "".join("{}='{}'\n".format(name, value.replace("'", "'\\''")) for name, value in values.items())


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LxcError(f"cannot read the settings of lxc-net: {describe(error)}") from error


def _evaluated(path: str, text: str, values: dict[str, str]) -> dict[str, str]:
    scope = dict(values)
    try:
        _execute(text, scope, 0)
    except _Program:
        return values | _ask_shell(path, values)
    return {name: scope[name] for name in values}


def _ask_shell(path: str, values: dict[str, str]) -> dict[str, str]:
    result = process.run(["/bin/sh", "-c", _SHELL, "lxc-net", path, *values], env=dict(os.environ) | values, timeout=30)
    found = dict(entry.partition("=")[::2] for entry in os.fsdecode(result.output).split("\0") if "=" in entry)
    if result.status != 0 or set(found) != set(values):
        raise LxcError(f"cannot read the settings of lxc-net: {path}: the shell {result.why()}", remedy=f"try: sh -n {path}")
    return found


def _execute(text: str, scope: dict[str, str], depth: int) -> None:
    """Carry out a file's commands on the variables. Raises _Program."""
    for command in _commands(text, scope):
        operator = next((word for word in command if word in ("\0&&", "\0||")), "")
        if operator:
            place = command.index(operator)
            if _test(command[:place]) == (operator == "\0&&"):
                _source(command[place + 1 :], scope, depth)
        elif command[0] in (".", "source"):
            _source(command, scope, depth)
        else:
            _assign(command[1:] if command[0] == "export" else command, scope)


def _assign(words: list[str], scope: dict[str, str]) -> None:
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier() or not name.isascii():
            raise _Program
        scope[name] = value


def _source(words: list[str], scope: dict[str, str], depth: int) -> None:
    if len(words) != 2 or words[0] not in (".", "source") or "/" not in words[1] or depth >= _DEPTH:
        raise _Program
    text = _text(words[1])
    if text is None:
        raise _Program  # the shell ends here, with its own message
    _execute(text, scope, depth + 1)


def _test(words: list[str]) -> bool:
    if words[:1] == ["["] and words[-1:] == ["]"]:
        words = words[1:-1]
    elif words[:1] == ["test"]:
        words = words[1:]
    else:
        raise _Program
    negated = words[:1] == ["!"]
    if negated:
        words = words[1:]
    if len(words) != 2 or words[0] not in ("-f", "-e", "-r"):
        raise _Program
    flag, path = words
    found = os.path.isfile(path) if flag == "-f" else os.access(path, os.R_OK) if flag == "-r" else os.path.exists(path)
    return found != negated


def _commands(text: str, scope: dict[str, str]) -> Iterator[list[str]]:
    """The words of each command, quotes and variables replaced; && and || are words with a NUL in front.

    Lazy: an assignment that the caller has made is seen by the commands after it.
    """
    words: list[str] = []
    word: str | None = None
    at = 0
    while at < len(text):
        character = text[at]
        pair = text[at : at + 2]
        if character in " \t\n;" or pair in ("&&", "||"):
            if word is not None:
                words.append(word)
                word = None
            if pair in ("&&", "||"):
                words.append("\0" + pair)
                at += 2
                continue
            if character in "\n;" and words and not words[-1].startswith("\0"):
                yield words
                words = []
            at += 1
        elif character == "#" and word is None:
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif character == "\\":
            if pair != "\\\n":
                word = (word or "") + pair[1:]
            at += 2
        elif character == "'":
            end = text.find("'", at + 1)
            if end < 0:
                raise _Program
            word = (word or "") + text[at + 1 : end]
            at = end + 1
        elif character == '"':
            value, at = _double_quoted(text, at + 1, scope)
            word = (word or "") + value
        elif character == "$":
            value, at = _variable(text, at + 1, scope)
            word = (word or "") + value
        elif character in "`&|()<>{}" or (character == "~" and word is None):
            raise _Program
        else:
            word = (word or "") + character
            at += 1
    if word is not None:
        words.append(word)
    if words:
        yield words


def _double_quoted(text: str, at: int, scope: dict[str, str]) -> tuple[str, int]:
    """What stands between two " from at on, and where the text goes on."""
    result = ""
    while at < len(text):
        character = text[at]
        if character == '"':
            return result, at + 1
        if character == "`":
            raise _Program
        if character == "$":
            value, at = _variable(text, at + 1, scope)
            result += value
        elif character == "\\" and text[at + 1 : at + 2] in ("$", '"', "\\", "`", "\n"):
            result += text[at + 1].replace("\n", "")
            at += 2
        else:
            result += character
            at += 1
    raise _Program


def _variable(text: str, at: int, scope: dict[str, str]) -> tuple[str, int]:
    """The value of $NAME, ${NAME} or ${NAME:-WORD}, at being behind the $, and where the text goes on."""
    if text[at : at + 1] == "{":
        end = text.find("}", at)
        name, dash, other = text[at + 1 : end].partition(":-")
        if end < 0 or not name.isidentifier() or any(character in "$`'\"\\" for character in other):
            raise _Program
        value = scope.get(name, os.environ.get(name, ""))
        return (other if dash and not value else value), end + 1
    end = at
    while end < len(text) and text[end].isascii() and (text[end].isalnum() or text[end] == "_"):
        end += 1
    name = text[at:end]
    if not name.isidentifier():
        raise _Program
    return scope.get(name, os.environ.get(name, "")), end


class Settings:
    """The variables of read(), checked; values keeps them as they were written."""

    __slots__ = ("address", "bridge", "ipv6", "ipv6_nat", "ipv6_network", "mac", "network", "use_nft", "values", "wanted")

    def __init__(self, values: dict[str, str]) -> None:
        """Raises LxcError naming the variable, its value and the file."""
        self.values = values
        self.wanted = values["USE_LXC_BRIDGE"] == "true"
        self.use_nft = values["LXC_USE_NFT"] == "true"
        self.bridge = self._interface("LXC_BRIDGE")
        self.mac = values["LXC_BRIDGE_MAC"]
        try:
            rtnetlink.hardware_address(self.mac)
        except ValueError as error:
            raise _wrong("LXC_BRIDGE_MAC", self.mac, str(error)) from None
        address = f"{values['LXC_ADDR']}/{values['LXC_NETMASK']}"
        try:
            self.address = ipaddress.IPv4Interface(address)
        except ValueError as error:
            raise _wrong("LXC_ADDR/LXC_NETMASK", address, str(error)) from None
        try:
            self.network = ipaddress.IPv4Network(values["LXC_NETWORK"], strict=False)
        except ValueError as error:
            raise _wrong("LXC_NETWORK", values["LXC_NETWORK"], str(error)) from None
        self.ipv6: ipaddress.IPv6Interface | None = None
        self.ipv6_network: ipaddress.IPv6Network | None = None
        if values["LXC_IPV6_ENABLE"] == "true":
            self._read_ipv6()
        self.ipv6_nat = self.ipv6 is not None and values["LXC_IPV6_NAT"] == "true"

    def _interface(self, name: str) -> str:
        value = self.values[name]
        # The name is put between quotes into nftables' language, so no character of it may mean anything there.
        if not all(character.isalnum() or character in "._-@+:" for character in value) or not value.isascii():
            raise _wrong(name, value, "a character that an interface name should not have")
        if not 0 < len(value) < 16 or value in (".", "..", "all", "default", "lo"):
            raise _wrong(name, value, "not a name for an interface (1 to 15 bytes)")
        return value

    def _read_ipv6(self) -> None:
        """An IPv6 network needs all three of its variables, as in LXC."""
        values = self.values
        if not all(values[name] for name in ("LXC_IPV6_ADDR", "LXC_IPV6_MASK", "LXC_IPV6_NETWORK")):
            return
        address = f"{values['LXC_IPV6_ADDR']}/{values['LXC_IPV6_MASK']}"
        try:
            self.ipv6 = ipaddress.IPv6Interface(address)
        except ValueError as error:
            raise _wrong("LXC_IPV6_ADDR/LXC_IPV6_MASK", address, str(error)) from None
        try:
            self.ipv6_network = ipaddress.IPv6Network(values["LXC_IPV6_NETWORK"], strict=False)
        except ValueError as error:
            raise _wrong("LXC_IPV6_NETWORK", values["LXC_IPV6_NETWORK"], str(error)) from None

    def drop_ipv6(self) -> None:
        """Do without IPv6, which the kernel lacks or an administrator has switched off."""
        self.ipv6 = self.ipv6_network = None
        self.ipv6_nat = False

    def doubts(self) -> list[str]:
        """What is allowed but cannot have been meant: variables of which only one was changed."""
        found = []
        inside = self.address.network
        if not self.network.overlaps(inside):
            found.append(f"LXC_NETWORK={self.network} is not the network of LXC_ADDR={self.address}: no way out for containers")
        for part in self.values["LXC_DHCP_RANGE"].split(",")[:2]:
            try:
                if ipaddress.IPv4Address(part) not in inside:
                    found.append(f"LXC_DHCP_RANGE: {part} is not in {inside}: containers will get no address")
            except ValueError:
                pass  # a tag or a mode of dnsmasq's
        return found


def _wrong(name: str, value: str, why: str) -> LxcError:
    return LxcError(f"{name}={value}: {why}", remedy=f"correct it in {NET_DEFAULTS_FILE}")
