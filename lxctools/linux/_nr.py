# SPDX-License-Identifier: LGPL-2.1-or-later
"""System call numbers of the calls that the C library may lack.

Since Linux 5.1 new calls have one number on every architecture except alpha (arch/*/entry/syscalls); older ones are listed
for the machines that Debian's lxc supports.
"""

from __future__ import annotations

import os

OPEN_TREE = 428
MOVE_MOUNT = 429
FSOPEN = 430
FSCONFIG = 431
FSMOUNT = 432
PIDFD_OPEN = 434
CLONE3 = 435
OPENAT2 = 437
PIDFD_GETFD = 438
MOUNT_SETATTR = 442

_OLDER = {
    # machine: (bpf, seccomp, keyctl, pivot_root)
    "x86_64": (321, 317, 250, 155),
    "aarch64": (280, 277, 219, 41),
    "riscv64": (280, 277, 219, 41),
    "loongarch64": (280, 277, 219, 41),
    "ppc64le": (361, 358, 271, 203),
    "s390x": (351, 348, 280, 217),
    "armv7l": (386, 383, 311, 218),
    "i686": (357, 354, 288, 217),
}
BPF, SECCOMP, KEYCTL, PIVOT_ROOT = _OLDER.get(os.uname().machine, (-1, -1, -1, -1))

RT_SIGACTION = {
    "x86_64": 13,
    "aarch64": 134,
    "riscv64": 134,
    "loongarch64": 134,
    "ppc64le": 173,
    "s390x": 174,
    "armv7l": 174,
    "i686": 174,
}.get(os.uname().machine, -1)
