# SPDX-License-Identifier: LGPL-2.1-or-later
"""capabilities(7): names and numbers."""

from __future__ import annotations

from .proc import read

NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
    "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
    "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
).split()
NUMBERS = {name: number for number, name in enumerate(NAMES)}


def last_cap() -> int:
    """The highest capability that the running kernel knows."""
    try:
        return int(read("/proc/sys/kernel/cap_last_cap"))
    except (OSError, ValueError):
        return len(NAMES) - 1
