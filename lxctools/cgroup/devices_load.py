# SPDX-License-Identifier: LGPL-2.1-or-later
"""Device rules of the unified hierarchy put into force: the program in the kernel that belongs to one cgroup.

It lives as long as the cgroup; a monitor that dies does not lift the restriction.
"""

from __future__ import annotations

import os

from .. import log
from ..errors import LxcError, describe
from ..linux import bpf, proc
from . import devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .devices import RuleList

_WHOLE_MAP = ["0", "0", "4294967295"]


class DeviceProgram:
    """The rules of one cgroup and the program that enforces them; folder: the descriptor of the cgroup, not owned."""

    __slots__ = ("_folder", "_program", "rules")

    def __init__(self, folder: int, rules: RuleList) -> None:
        self._folder = folder
        self._program = -1
        self.rules = rules

    def enforce(self) -> None:
        """Let the rules take the place of those before; where they forbid nothing there is no program. Raises LxcError.

        Inside a user namespace the kernel does not let us, and restricts devices by itself: then it is only logged.
        """
        if not self.rules.restricts and self._program < 0:
            return
        try:
            folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder)
            try:
                if self.rules.restricts:
                    self._attach(folder, bpf.load_device_program(devices.compile_program(self.rules)))
                else:
                    bpf.detach_device_program(folder, self._program)
                    self.close()
            finally:
                os.close(folder)
        except PermissionError as error:
            if may_restrict():
                raise LxcError(f"cannot restrict the container's devices: {describe(error)}") from error
            log.warn("lxc.cgroup2.devices is passed over: a user namespace may not load the program, and has no devices")
        except OSError as error:
            raise LxcError(
                f"cannot restrict the container's devices: {describe(error)}",
                remedy="the kernel needs CONFIG_CGROUP_BPF; without lxc.cgroup2.devices keys nothing is restricted",
            ) from error

    def _attach(self, folder: int, program: int) -> None:
        try:
            try:
                bpf.attach_device_program(folder, program, self._program)
            except OSError:
                if self._program < 0:
                    raise
                # BPF_F_REPLACE is Linux 5.6; before, the new program is added and then the old one taken away, so that
                # there is no moment without one.
                bpf.attach_device_program(folder, program)
                bpf.detach_device_program(folder, self._program)
        except OSError:
            os.close(program)
            raise
        self.close()
        self._program = program

    def change(self, kind: str, major: int, minor: int, access: str, allow: bool) -> None:
        """Add a rule while the container runs (-1: any; type a without access: everything).

        A container without rules was allowed everything, and still is but for this rule; LXC would turn that round.
        Raises LxcError; then the rules are as before.
        """
        before = self.rules.copy()
        if not self.rules.restricts:
            self.rules.allow_by_default = True
        try:
            self.rules.add(devices.rule(kind, major, minor, access, allow))
            self.enforce()
        except (ValueError, LxcError) as error:
            self.rules = before
            raise error if isinstance(error, LxcError) else LxcError(f"{kind} {major}:{minor} {access}: {error}") from None

    def close(self) -> None:
        """Close our descriptor of the program; what is attached stays attached."""
        program, self._program = self._program, -1
        if program >= 0:
            os.close(program)


def may_restrict(proc_root: str = "/proc") -> bool:
    """Whether bpf(2) lets us: as root of the first user namespace."""
    try:
        return os.geteuid() == 0 and proc.read(f"{proc_root}/self/uid_map").decode().split() == _WHOLE_MAP
    except OSError:
        return False
