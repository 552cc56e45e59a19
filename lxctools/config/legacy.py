# SPDX-License-Identifier: LGPL-2.1-or-later
"""The key names of LXC 1.0 and 2.0, as LXC 2.1 understood them beside the present ones.

LXC 3.0 and later refuse them. Here they are read with their old meaning and a warning, so that no container is lost;
the file stays as it is until convert() has renamed them (lxc-update-config). The names follow from the key tables; what
has no successor is listed below.
"""

from __future__ import annotations

from . import keys, net
from .grammar import parse_line, split_lines
from .mount import STORAGE_TYPES
from .values import BadValue

# Names that LXC 2.0 itself read without effect, or that only described the next one.
IGNORED = ("lxc.pivotdir", "lxc.kmsg")
BACKEND = "lxc.rootfs.backend"

NAMES = {row.legacy: row.name for row in keys.KEYS if row.legacy and row.legacy[-1] != "*"}
_LIMIT = "lxc.limit."
_NETWORK = "lxc.network."
_SUBKEYS = {row.legacy[len(_NETWORK) :]: row.name for row in net.KEYS if row.legacy}


def is_legacy(key: str) -> bool:
    """Whether a key is one of the old names (a value of lxc.network.* may still be wrong)."""
    return key in NAMES or key in IGNORED or key == BACKEND or key.startswith((_LIMIT, _NETWORK))


def modern(key: str, last: int, new: int) -> str:
    """The present name of an old key; "" for one without meaning. Raises BadValue.

    last: the index of the network that lines without a number speak of, -1 when none was begun; new: the index for the
    next one, which lxc.network.type begins.
    """
    if key in NAMES:
        return NAMES[key]
    if key in IGNORED:
        return ""
    if key.startswith(_LIMIT):
        return "lxc.prlimit." + key[len(_LIMIT) :]
    rest = key[len(_NETWORK) :]
    digits, dot, subkey = rest.partition(".")
    if digits.isascii() and digits.isdecimal():
        if not dot:
            return f"lxc.net.{digits}"
        return f"lxc.net.{digits}.{_subkey(subkey, key)}"
    subkey = _subkey(rest, key)
    if subkey == "type":
        return f"lxc.net.{new}.type"
    # Before the first lxc.network.type, LXC 2.0 refused these; the first network is what was meant.
    return f"lxc.net.{max(last, 0)}.{subkey}"


def _subkey(subkey: str, key: str) -> str:
    found = _SUBKEYS.get(subkey) or (subkey if subkey in net.TABLE else "")
    if not found:
        raise BadValue(f'Unknown network configuration key "{key}"', "see lxc.container.conf(5) for lxc.net.N.*", key)
    return found


# -- lxc-update-config -------------------------------------------------------------------------------------------------


def convert(text: str) -> str:
    """A configuration with the present names in place of the old ones, everything else as it stands.

    As LXC's lxc-update-config: an untyped root gets a type, lines without a successor go, networks are numbered in their
    order, names in commented settings are renamed too. Better than it: lxc.rootfs.backend counts wherever it stands, a type
    that is there already stays and none is invented for a device, lxc.limit.* and lxc.network.N.ipv4 are converted,
    networks that have a number keep theirs, comments do not count as networks, values and the last line are left alone.
    """
    lines = split_lines(text)
    backend = ""
    taken = -1
    for line in lines:
        key, value = _setting(line)
        if key == BACKEND:
            backend = value
        elif key.startswith("lxc.net."):
            digits = key.split(".")[2]
            taken = max(taken, int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else -1)
    result = []
    last, new = -1, taken + 1
    for line in lines:
        key, value = _setting(line)
        commented = not key
        if commented:
            key, value = _setting(line.lstrip(" \t").lstrip("#"))
        if key in IGNORED or key == BACKEND:
            continue
        if is_legacy(key):
            try:
                # Without a network before it, what a comment or a stray line speaks of is the first one.
                name = modern(key, last if last >= 0 else taken + 1, new)
            except BadValue:
                result.append(line)  # not a key of any LXC: whoever reads the file is told
                continue
            if key == _NETWORK + "type" and not commented:
                last, new = new, new + 1
            line = line.replace(key, name, 1)
            if name == "lxc.rootfs.path" and value:
                line = _typed(line, value, backend)
        result.append(line)
    return "".join(result)


def _setting(line: str) -> tuple[str, str]:
    """Key and value of a line, ("", "") for one that sets nothing."""
    try:
        return parse_line(line) or ("", "")
    except ValueError:
        return "", ""


def _typed(line: str, path: str, backend: str) -> str:
    """The line of lxc.rootfs.path with a storage type before the path."""
    if path.partition(":")[0] in STORAGE_TYPES or (path.startswith("/dev/") and not backend):
        return line
    head, equals, tail = line.partition("=")
    return head + equals + tail.replace(path, f"{backend or 'dir'}:{path}", 1)
