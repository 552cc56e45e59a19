# SPDX-License-Identifier: LGPL-2.1-or-later
"""The busybox template: a system of one program, in a fraction of a second.

The host's busybox is copied; one that is not static brings its libraries along, so the container needs nothing of the host.
"""

from __future__ import annotations

import os
import struct

from .. import process
from ..errors import LxcError
from . import contract

_FOLDERS = (
    "selinux dev dev/pts dev/shm home etc etc/init.d bin usr usr/bin sbin usr/sbin proc sys mnt run var var/log "
    "lib usr/lib lib64 usr/lib64"
)
_SCRIPT = "etc/udhcpc/default.script"
_HEADERS = 1 << 16  # bytes at a program's beginning: its headers and the loader's name
_PT_INTERP = 3
_FOREVER = 30.0  # seconds for busybox to list its applets

_RCS = """\
#!/bin/sh
/bin/syslogd
/bin/mount -a
/bin/hostname >/etc/hostname
/bin/ip link set lo up
# By DHCP, unless LXC has given the interface an address, and in the background: a bridge without a server must not delay
# the start. The name that is sent lets the server answer for it in DNS.
if [ -e /sys/class/net/eth0 ] && ! /bin/ip -4 addr show dev eth0 | /bin/grep -q 'inet '; then
    /bin/udhcpc -b -S -i eth0 -x "hostname:$(/bin/hostname)" -s /{script} -p /run/udhcpc.eth0.pid >/dev/null 2>&1 &
fi
"""

_INITTAB = """\
::sysinit:/etc/init.d/rcS
tty1::respawn:/bin/getty -L tty1 115200 vt100
console::askfirst:/bin/sh
"""

_UDHCPC = """\
#!/bin/sh
# Called by udhcpc with what the server said in variables.
case "$1" in
deconfig)
    ip -4 addr flush dev "$interface"
    ip link set dev "$interface" up
    ;;
bound | renew)
    if ! ip -4 addr show dev "$interface" | grep -q " $ip/"; then
        ip -4 addr flush dev "$interface"
    fi
    ip -4 addr replace "$ip/${mask:-24}" ${broadcast:+broadcast "$broadcast"} dev "$interface"
    for gateway in $router; do
        ip -4 route replace default via "$gateway" dev "$interface"
        break
    done
    {
        [ -z "$domain" ] || echo "search $domain"
        for server in $dns; do echo "nameserver $server"; done
    } >/etc/resolv.conf.new
    mv /etc/resolv.conf.new /etc/resolv.conf
    ;;
esac
exit 0
"""


def run(arguments: list[str]) -> None:
    """Fill a container with busybox. Raises LxcError, OSError."""
    parser = contract.parser("busybox", "Fill a container with busybox, from this machine.")
    parser.add_argument("--busybox-path", default="", metavar="FILE", help="the busybox to install; default: the one in PATH")
    options = parser.parse_args(arguments)
    busybox = options.busybox_path or process.find("busybox") or ""
    if not busybox or not os.path.isfile(busybox) or not os.access(busybox, os.X_OK):
        raise LxcError(f"there is no busybox to install ({busybox or 'none in PATH'})", remedy="apt-get install busybox-static")
    target = contract.Target(options)
    with target.rootfs as root:
        for folder in _FOLDERS.split():
            root.folder(folder)
        root.folder("tmp", 0o1777)
        root.folder("root", 0o700)
        root.link("var/run", "/run")
        script = _install(target, busybox)
        root.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        root.write("etc/shadow", "root::19000:0:99999:7:::\n", 0o600)  # the only way to log in is on a tty, by lxc-console
        root.write("etc/group", "root:x:0:root\n")
        root.write("etc/fstab", "")
        root.write("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {target.name}\n::1 localhost ip6-localhost ip6-loopback\n")
        root.write("etc/hostname", f"{target.name}\n")
        root.write("etc/init.d/rcS", _RCS.replace("{script}", script), 0o755)
        root.write("etc/inittab", _INITTAB)
        root.write(script, _UDHCPC, 0o755)
    target.configure(_distribution(target), _container(target))


def _install(target: contract.Target, busybox: str) -> str:
    """Put busybox and a link for each applet in place; the path of udhcpc's script, which is fixed when busybox is built."""
    root = target.rootfs
    root.copy_in(busybox, "bin/busybox", 0o755)
    interpreter = elf_interpreter(busybox)
    if interpreter:
        _copy_libraries(target, busybox, interpreter)
    # The host's busybox is asked, nothing of the container is run.
    listed = process.run([busybox, "--list-full"], timeout=_FOREVER)
    if listed.status:
        raise LxcError(f"{busybox} --list-full {listed.why()}", remedy="name another one with --busybox-path")
    applets = listed.text().split()
    names = [os.path.basename(path) for path in applets]
    root.links("bin", (name for name in names if name != "busybox"), "busybox")
    # Scripts begin with #!/usr/bin/env, and know /sbin/ip.
    for folder in ("sbin", "usr/bin", "usr/sbin"):
        root.links(folder, (os.path.basename(p) for p in applets if os.path.dirname(p) == folder), "/bin/busybox")
    root.link("sbin/init", "/bin/busybox")
    if "udhcpc" not in names:
        return _SCRIPT
    words = process.run([busybox, "udhcpc", "--help"], timeout=_FOREVER).text().split()
    scripts = [word.rstrip(")") for word in words if word.startswith("/") and word.rstrip(")").endswith(".script")]
    return scripts[0].lstrip("/") if scripts else _SCRIPT


def _copy_libraries(target: contract.Target, busybox: str, interpreter: str) -> None:
    """The libraries of a dynamic busybox, as the dynamic loader finds them, and the loader itself."""
    listed = process.run([interpreter, "--list", busybox], timeout=_FOREVER)
    if listed.status:
        raise LxcError(f"{busybox} is not static, and {interpreter} --list {listed.why()}", remedy="apt-get install busybox-static")
    paths = {interpreter}
    for line in listed.text().splitlines():
        paths.update(word for word in line.split() if word.startswith("/"))
    for path in sorted(paths):
        target.rootfs.copy_in(path, path, 0o755)


def elf_interpreter(path: str) -> str:
    """The loader that an ELF program names (PT_INTERP of elf(5)); "" for a static one. Raises LxcError for no ELF program."""
    with open(path, "rb") as file:
        data = file.read(_HEADERS)
    try:
        if data[:4] != b"\x7fELF":
            raise ValueError("no magic")
        order = "<" if data[5] == 1 else ">"
        wide = data[4] == 2
        (offset,) = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)
        size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
        for at in range(offset, offset + size * count, size or 1):
            if struct.unpack_from(order + "I", data, at)[0] == _PT_INTERP:
                (start,) = struct.unpack_from(order + ("Q" if wide else "I"), data, at + (8 if wide else 4))
                return os.fsdecode(data[start:].partition(b"\0")[0])
    except (struct.error, IndexError, ValueError) as error:
        raise LxcError(f"{path} is not a program in ELF format", remedy="name busybox itself, not a script that calls it") from error
    return ""


def _distribution(target: contract.Target) -> list[str]:
    lines = [contract.fragment("common.conf")]
    if target.mapped:
        lines.append(contract.fragment("userns.conf"))
    return [*lines, "lxc.tty.dir =", "lxc.tty.max = 5"]


def _container(target: contract.Target) -> list[str]:
    return [
        "# busybox's init halts at SIGUSR1 and reboots at SIGTERM.",
        "lxc.signal.halt = SIGUSR1",
        "lxc.signal.reboot = SIGTERM",
        f"lxc.uts.name = {target.name}",
        "lxc.mount.entry = shm dev/shm tmpfs defaults,create=dir 0 0",
        "lxc.mount.entry = mqueue dev/mqueue mqueue defaults,optional,create=dir 0 0",
    ]


def main() -> None:
    """The template's program."""
    contract.main(run, "lxc-busybox")
