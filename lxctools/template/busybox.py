# SPDX-License-Identifier: LGPL-2.1-or-later
"""The busybox template: a system of one program, in a fraction of a second."""

from __future__ import annotations

import os
import shutil
import subprocess

from .. import process
from ..errors import LxcError
from . import contract

_FOLDERS = (
    "selinux dev dev/pts home root etc etc/init.d etc/udhcpc bin usr usr/bin sbin usr/sbin proc sys mnt tmp run var var/log "
    "lib usr/lib lib64 usr/lib64"
)

_RCS = """\
#!/bin/sh
# The host name is the one that the container was started with.
hostname >/etc/hostname
/bin/syslogd
/bin/mount -a
if [ -e /sys/class/net/eth0 ] || /bin/ip link show eth0 >/dev/null 2>&1; then
    # In the background: a bridge without a DHCP server must not delay the start.
    /bin/udhcpc -b -S -i eth0 -x "hostname:$(hostname)" -s /etc/udhcpc/default.script -p /run/udhcpc.eth0.pid >/dev/null 2>&1 &
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
    ip addr flush dev "$interface"
    ip link set "$interface" up
    ;;
bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" ${broadcast:+broadcast "$broadcast"} dev "$interface"
    for gateway in $router; do
        ip route replace default via "$gateway" dev "$interface"
        break
    done
    {
        [ -z "$domain" ] || echo "search $domain"
        for server in $dns; do echo "nameserver $server"; done
    } >/etc/resolv.conf.new
    mv /etc/resolv.conf.new /etc/resolv.conf
    ;;
esac
"""


def run(arguments: list[str]) -> None:
    """Fill a container with busybox. Raises LxcError."""
    parser = contract.parser("busybox", "Fill a container with a static busybox.")
    parser.add_argument("--busybox-path", default="", help="the busybox to install; default: the host's")
    options = parser.parse_args(arguments)
    target = contract.Target(options)
    busybox = options.busybox_path or process.find("busybox") or ""
    if not busybox or not os.access(busybox, os.X_OK):
        raise LxcError(f"no busybox to install ({busybox or 'none in PATH'})", remedy="apt-get install busybox-static")
    root = target.rootfs
    for folder in _FOLDERS.split():
        os.makedirs(f"{root}/{folder}", 0o755, exist_ok=True)
    os.chmod(f"{root}/tmp", 0o1777)
    target.link("var/run", "/run")
    _install(target, busybox)
    target.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    target.write("etc/shadow", "root::19000:0:99999:7:::\n", 0o600)
    target.write("etc/group", "root:x:0:root\n")
    target.write("etc/fstab", "")
    target.write("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {target.name}\n")
    target.write("etc/init.d/rcS", _RCS, 0o744)
    target.write("etc/inittab", _INITTAB)
    target.write("etc/udhcpc/default.script", _UDHCPC, 0o755)
    target.configure(_config(target, busybox))


def _install(target: contract.Target, busybox: str) -> None:
    place = f"{target.rootfs}/bin/busybox"
    shutil.copyfile(busybox, place)
    os.chmod(place, 0o755)
    # Asked of the copy on the host: one link for each applet, without running anything of the container.
    listed = subprocess.run([busybox, "--list"], capture_output=True, check=False)
    if listed.returncode:
        raise LxcError(f"{busybox} --list ended with status {listed.returncode}")
    folder = os.open(f"{target.rootfs}/bin", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for applet in listed.stdout.decode().split():
            if applet != "busybox":
                os.symlink("busybox", applet, dir_fd=folder)
    finally:
        os.close(folder)
    target.link("sbin/init", "/bin/busybox")


def _config(target: contract.Target, busybox: str) -> list[str]:
    lines = [
        "",
        contract.fragment("common.conf"),
        "",
        "# busybox's init halts at SIGUSR1 and reboots at SIGTERM.",
        "lxc.signal.halt = SIGUSR1",
        "lxc.signal.reboot = SIGTERM",
        f"lxc.uts.name = {target.name}",
        "lxc.tty.dir =",
        "lxc.tty.max = 5",
        "lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed",
        "lxc.mount.entry = shm dev/shm tmpfs defaults,create=dir 0 0",
        "lxc.mount.entry = mqueue dev/mqueue mqueue defaults,optional,create=dir 0 0",
    ]
    if _is_dynamic(busybox):
        lines.append("# This busybox needs the host's libraries; busybox-static does not.")
        lines += [
            f"lxc.mount.entry = /{folder} {folder} none ro,bind 0 0"
            for folder in ("lib", "usr/lib", "lib64", "usr/lib64")
            if os.path.isdir(f"/{folder}")
        ]
    if target.mapped:
        lines.append(contract.fragment("userns.conf"))
    return lines


def _is_dynamic(path: str) -> bool:
    """Whether an ELF program names an interpreter (a program header of type PT_INTERP)."""
    with open(path, "rb") as file:
        head = file.read(4096)
    if head[:4] != b"\x7fELF" or head[4] != 2:
        return True
    offset = int.from_bytes(head[32:40], "little")
    size = int.from_bytes(head[54:56], "little")
    count = int.from_bytes(head[56:58], "little")
    return any(
        int.from_bytes(head[offset + n * size : offset + n * size + 4], "little") == 3 for n in range(count)
    )


def main() -> None:
    """The template's program."""
    contract.main(run, "lxc-busybox")


