# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-checkconfig: what the kernel's configuration offers to containers. Scripts read the lines on stdout; they are LXC's."""

from __future__ import annotations

import os
import sys
import zlib

from .. import LXC_VERSION, __version__, process
from ..container import as_json
from ..errors import LxcError, describe
from ..linux import proc
from . import _options, _out
from ._options import NONE, Command, Option, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ENABLED, REQUIRED, MISSING = "enabled", "required", "missing"
_COLOURS = {ENABLED: "1;32", REQUIRED: "1;31", MISSING: "1;33"}
_NEWEST = (100, 0)

COMMAND = Command(
    "checkconfig",
    "[--json]",
    "Print what the running kernel's configuration, or that of the file in the variable CONFIG, offers to containers.",
    (
        Option("", "json", NONE, "json", "print it as JSON"),
        _options.HELP,
    ),
    named=False,
    rcfile=False,
    common=False,
    most_words=0,
)

# Label, key, name of the module; a star marks what containers cannot do without.
_NAMESPACES = (
    ("Namespaces", "*NAMESPACES", ""),
    ("Utsname namespace", "UTS_NS", ""),
    ("Ipc namespace", "*IPC_NS", ""),
    ("Pid namespace", "*PID_NS", ""),
    ("User namespace", "USER_NS", ""),
    ("Network namespace", "NET_NS", ""),
)
_CONTROLLERS = (
    ("Cgroup device", "CGROUP_DEVICE", ""),
    ("Cgroup sched", "CGROUP_SCHED", ""),
    ("Cgroup cpu account", "CGROUP_CPUACCT", ""),
    ("Cgroup memory controller", "MEMCG", ""),
)
_MISC = (
    ("Veth pair device", "VETH", "veth"),
    ("Macvlan", "MACVLAN", "macvlan"),
    ("Vlan", "VLAN_8021Q", "8021q"),
    ("Bridges", "BRIDGE", "bridge"),
    ("Advanced netfilter", "NETFILTER_ADVANCED", "nf_tables"),
    ("CONFIG_NF_NAT_IPV4", "NF_NAT_IPV4", "nf_nat_ipv4"),
    ("CONFIG_NF_NAT_IPV6", "NF_NAT_IPV6", "nf_nat_ipv6"),
    ("CONFIG_IP_NF_TARGET_MASQUERADE", "IP_NF_TARGET_MASQUERADE", "nf_nat_masquerade_ipv4"),
    ("CONFIG_IP6_NF_TARGET_MASQUERADE", "IP6_NF_TARGET_MASQUERADE", "nf_nat_masquerade_ipv6"),
    ("CONFIG_NETFILTER_XT_TARGET_CHECKSUM", "NETFILTER_XT_TARGET_CHECKSUM", "xt_CHECKSUM"),
    ("CONFIG_NETFILTER_XT_MATCH_COMMENT", "NETFILTER_XT_MATCH_COMMENT", "xt_comment"),
    ("FUSE (for use with lxcfs)", "FUSE_FS", "fuse"),
)
_CHECKPOINT = (
    ("checkpoint restore", "CHECKPOINT_RESTORE", ""),
    *((f"CONFIG_{key}", key, "") for key in ("FHANDLE", "EVENTFD", "EPOLL", "UNIX_DIAG", "INET_DIAG", "PACKET_DIAG", "NETLINK_DIAG")),
)


class Row:
    """A line of the report; word "": only the label."""

    def __init__(self, label: str, word: str = "", state: str = "") -> None:
        self.label = label
        self.word = word
        self.state = state


class Kernel:
    """A kernel's configuration: its settings, its version as (major, minor)."""

    def __init__(self, text: str) -> None:
        pairs = (line.split("=", 1) for line in text.splitlines() if line.startswith("CONFIG_") and "=" in line)
        self.set = {name.removeprefix("CONFIG_") for name, value in pairs if value.strip() in ("y", "m")}
        self.version = _version(text)
        self.modules = _loaded()

    def row(self, label: str, key: str, module: str) -> Row:
        """Whether the key is set, and whether its module is loaded."""
        present = key.removeprefix("*") in self.set
        state = ""
        if present and module and self.modules is not None:
            state = "loaded" if module in self.modules else "not loaded"
        return Row(label, ENABLED if present else REQUIRED if key.startswith("*") else MISSING, state)


def _version(text: str) -> tuple[int, int] | None:
    for line in text.splitlines():
        if line.startswith("# Linux") and "Kernel Configuration" in line:
            for word in line.split():
                parts = word.split(".")
                if len(parts) > 1 and parts[0].isdecimal() and parts[1].isdecimal():
                    return int(parts[0]), int(parts[1])
    return None


def _loaded() -> set[str] | None:
    try:
        with open("/proc/modules") as file:
            return {line.split(" ", 1)[0] for line in file}
    except OSError:
        return None


def parse(argv: list[str], called: str) -> Values:
    """The reader of this command, in place of the common one: LXC's script takes no options."""
    return _options.read_own(COMMAND, argv, called)


def run(values: Values) -> int:
    """0, whatever is missing; 1 when there is no configuration to be read."""
    where, found = _find(told=not values.json)
    notes = [] if not found or values.json else [*found]
    text = _read(where)
    kernel = Kernel(text)
    if kernel.version is None:
        notes += ["WARNING: Unable to detect version from configuration, assuming latest", ""]
    sections = dict(_sections(kernel))
    if values.json:
        data = {"lxc_version": LXC_VERSION, "lxctools_version": __version__, "config": where, "sections": _as_data(sections)}
        _out.line(as_json(data, indent=2))
        return 0
    _versions()
    for note in notes:
        _out.line(note)
    coloured = os.isatty(1)
    for title, rows in sections.items():
        _out.line(f"\n--- {title} ---")
        for row in rows:
            _out.line(_line(row, coloured))
    _out.line("\nNote : Before booting a new kernel, you can check its configuration")
    _out.line(f"usage : CONFIG=/path/to/config {sys.argv[0]}\n")
    return 0


def _versions() -> None:
    """That of the LXC whose interface this is, where LXC tells its own, and ours."""
    _out.line(f"LXC version {LXC_VERSION}")
    _out.line(f"lxctools version {__version__}")


def _as_data(sections: dict[str, list[Row]]) -> dict[str, list[dict[str, str]]]:
    return {
        title: [{"name": row.label.strip(" -:"), "status": row.word} | ({"module": row.state} if row.state else {}) for row in rows]
        for title, rows in sections.items()
    }


def _line(row: Row, coloured: bool) -> str:
    if not row.word:
        return row.label
    colour = _COLOURS["required"] if row.word == MISSING and row.label.startswith("Cgroup v1") else _COLOURS[row.word]
    word = f"\033[{colour}m{row.word}\033[0;39m" if coloured else row.word
    return f"{row.label}: {word}" + (f", {row.state}" if row.state else "")


def _find(*, told: bool) -> tuple[str, list[str]]:
    """The configuration's file, and what is told of the search for it. told: tell it before a failure, too. Raises LxcError."""
    wanted = os.environ.get("CONFIG") or "/proc/config.gz"
    if os.path.isfile(wanted):
        return wanted, []
    release = os.uname().release
    for path in (f"/boot/config-{release}", f"/lib/modules/{release}/build/.config"):
        if os.path.isfile(path):
            return path, [
                f"Kernel configuration not found at {wanted}; searching...",
                f"Kernel configuration found at {path}",
            ]
    if told:
        _versions()
        _out.line(f"Kernel configuration not found at {wanted}; searching...")
        _out.flush()
    raise LxcError(
        f"unable to retrieve kernel configuration: none at {wanted}, nor in /boot or /lib/modules/{release}",
        remedy="name the file in CONFIG=<path>, load the module configs, or build the kernel with IKCONFIG_PROC",
    )


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read()
        if data[:2] == b"\x1f\x8b":
            data = zlib.decompress(data, 31)
    except (OSError, zlib.error) as error:
        raise LxcError(f"unable to retrieve kernel configuration: cannot read {path}: {describe(error)}") from error
    return data.decode("ascii", "replace")


def _sections(kernel: Kernel) -> Iterator[tuple[str, list[Row]]]:
    version = kernel.version or _NEWEST
    rows = []
    for label, key, module in _NAMESPACES:
        rows.append(kernel.row(label, key, module))
        if key == "USER_NS" and rows[-1].word == ENABLED:
            rows += [Row(text) for text in map(_helper, ("newuidmap", "newgidmap")) if text]
    if version < (4, 7):
        rows.append(kernel.row("Multiple /dev/pts instances", "DEVPTS_MULTIPLE_INSTANCES", ""))
    yield "Namespaces", rows
    controllers = [kernel.row(*row) for row in _CONTROLLERS]
    if "SMP" in kernel.set:
        controllers.append(kernel.row("Cgroup cpuset", "CPUSETS", ""))
    yield "Control groups", [kernel.row("Cgroups", "CGROUPS", ""), *_mounts(), *controllers]
    old_nat = version[0] > 3 and version[0] < 5 and version[1] > 6
    yield "Misc", [kernel.row(*row) for row in _MISC if old_nat or not row[1].startswith("NF_NAT_IPV")]
    yield "Checkpoint/Restore", [*(kernel.row(*row) for row in _CHECKPOINT), Row("File capabilities", ENABLED)]


def _helper(name: str) -> str:
    path = process.find(name)
    if path is None:
        return f"{name} is not installed"
    try:
        status = os.stat(path)
    except OSError:
        return f"{name} is not installed"
    return "" if status.st_mode & 0o4000 and status.st_uid == 0 else f"Warning: {name} is not setuid-root"


def _mounts() -> list[Row]:
    """What is mounted of either version, and what of version 1 is missed where version 2 is not alone."""
    mounts = proc.mountinfo()
    old, new = ([row.point for row in mounts if row.fstype == kind] for kind in ("cgroup", "cgroup2"))
    rows = [Row("Cgroup namespace", ENABLED)] if os.path.exists("/proc/self/ns/cgroup") else []
    rows.append(Row("Cgroup v1 mount points: "))
    rows += [Row(f" - {point}") for point in old]
    rows.append(Row("Cgroup v2 mount points: "))
    rows += [Row(f" - {point}") for point in new]
    if new[:1] != ["/sys/fs/cgroup"]:
        for name in ("systemd", "freezer"):
            if not any(f"/{name}" in point for point in old):
                rows.append(Row(f"Cgroup v1 {name} controller", MISSING))
        if old and os.path.exists(f"{old[0]}/cgroup.clone_children"):
            rows.append(Row("Cgroup v1 clone_children flag", ENABLED))
    return rows
