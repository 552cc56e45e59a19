# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of real containers share: running commands, small root file systems, and what is on the host."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import time
from pathlib import Path

from lxctools import files

CHECKOUT = Path(__file__).resolve().parent.parent
OURS = CHECKOUT / "bin"
THEIRS = Path("/usr/bin")
BUSYBOX = Path("/bin/busybox")
# A guest without KVM is ten times as slow as its host, which may be busy: every patience of the tests is multiplied.
SLOWNESS = 4 if os.environ.get("LXCTOOLS_GUEST") else 1
RUN = "/run/lxc"
_LOCKS = Path(f"{RUN}/lock/var/tmp")  # of the lxcpaths that tests make there, lxct*

_APPLETS = (
    "sh cat echo ls ps sleep true false env id hostname mount umount mkdir touch kill ip ifconfig grep tail head "
    "stty tty dd wc chmod rm ln test setsid readlink uname sed cut tr seq printf udhcpc ping nslookup reboot poweroff halt init"
).split()


def run(
    *argv: object,
    check: bool = False,
    timeout: float = 60,
    input: bytes | None = None,
    env: dict[str, str] | None = None,
    cwd: str | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end with both streams captured; standard input is empty unless given."""
    return subprocess.run(
        [os.fspath(word) if isinstance(word, os.PathLike) else word if isinstance(word, bytes) else str(word) for word in argv],
        input=input if input is not None else b"",
        capture_output=True,
        check=check,
        timeout=timeout * SLOWNESS,
        env=env,
        cwd=cwd,
    )


def wait_until(condition: object, seconds: float = 10.0, every: float = 0.02) -> bool:
    """Poll a callable until it is true; False when the time is over."""
    assert callable(condition)
    deadline = time.monotonic() + seconds * SLOWNESS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(every)
    return bool(condition())


def make_rootfs(path: Path) -> Path:
    """A root file system with nothing but a static busybox, in some milliseconds."""
    for folder in ("bin", "sbin", "dev", "proc", "sys", "etc", "tmp", "root", "run", "usr/bin"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, path / "bin" / "busybox")
    for applet in _APPLETS:
        (path / "bin" / applet).symlink_to("/bin/busybox")
    # An init that answers the signals of a shutdown and reaps.
    init = path / "sbin" / "init"
    init.write_text(
        "#!/bin/sh\n"
        "trap 'exit 0' TERM PWR\n"
        "trap 'kill -HUP 1' USR1\n"
        "while :; do sleep 1000 & wait $!; done\n"
    )
    init.chmod(0o755)
    (path / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
    (path / "etc" / "group").write_text("root:x:0:\nuser:x:1000:\n")
    return path


def unmount_below(folder: Path) -> None:
    """Unmount everything in folder and folder itself. A file system is busy for a moment after a loop device of its was let go."""
    for point in reversed(files.mounts_in(str(folder))):
        wait_until(lambda point=point: _unmounted(point), 10)


def _unmounted(point: str) -> bool:
    return run("umount", point).returncode == 0 or point not in files.mounts_in(point)


def make_container(lxcpath: Path, name: str, config: str = "") -> Path:
    """A container of make_rootfs() with this additional configuration; returns its folder."""
    folder = lxcpath / name
    make_rootfs(folder / "rootfs")
    (folder / "config").write_text(
        f"lxc.rootfs.path = dir:{folder}/rootfs\n"
        f"lxc.uts.name = {name}\n"
        "lxc.pty.max = 1024\n"
        "lxc.tty.max = 2\n"
        "lxc.net.0.type = empty\n"
        "lxc.net.0.flags = up\n"
        "lxc.mount.auto = proc:mixed sys:mixed\n" + config
    )
    return folder


def forget(lxcpath: Path) -> None:
    """Stop everything in lxcpath by either implementation, and remove the folder."""
    if lxcpath.is_dir():
        for folder in lxcpath.iterdir():
            if running(lxcpath, folder.name):
                for tools in (OURS, THEIRS):
                    run(tools / "lxc-stop", "-P", lxcpath, "-n", folder.name, "-k", timeout=20)
        run("rm", "-rf", "--one-file-system", lxcpath)
    if lxcpath.parent == Path("/var/tmp"):
        shutil.rmtree(_LOCKS / lxcpath.name, ignore_errors=True)


def running(lxcpath: Path, name: str) -> bool:
    """Whether a monitor listens, by the kernel's table of sockets and no tool of either side."""
    wanted = f"@{lxcpath}/{name}/command"
    return any(line.endswith(wanted) for line in Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines())


def remove_empty_cgroups(name: str) -> None:
    """Remove what a monitor of this container left in the cgroup hierarchies and nobody lives in."""
    for pattern in (f"lxc.monitor.{name}*", f"lxc.payload.{name}*"):
        # Not Path.glob(), which fails on a folder that goes meanwhile.
        for path in map(Path, [*glob.glob(f"/sys/fs/cgroup/{pattern}"), *glob.glob(f"/sys/fs/cgroup/*/{pattern}")]):
            try:
                for folder in [*sorted(path.rglob("*/"), reverse=True), path]:
                    folder.rmdir()
            except OSError:
                pass  # in use, or just going


class Host:
    """What a test may have left on the host, to be compared before and after."""

    def __init__(self) -> None:
        self.mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()}
        self.links = set(os.listdir("/sys/class/net"))
        self.cgroups = _cgroups()
        self.loops = {line.split(":")[0] for line in run("losetup", "-a").stdout.decode().splitlines()}
        self.monitors = _monitors()
        self.sockets = {
            name
            for name in (line.split()[-1] for line in Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines())
            if name.endswith("/command") and "/lxct" in name
        }
        self.locks = {str(path) for path in _LOCKS.glob("lxct*")}

    def added_since(self, before: Host) -> dict[str, set[str]]:
        """What is there now and was not before, by kind; empty when nothing."""
        found = {
            kind: getattr(self, kind) - getattr(before, kind)
            for kind in ("mounts", "links", "cgroups", "loops", "monitors", "sockets", "locks")
        }
        return {kind: names for kind, names in found.items() if names}


def _cgroups() -> set[str]:
    found = set()
    for folder in ("/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in os.listdir("/sys/fs/cgroup"))):
        try:
            names = os.listdir(folder)
        except OSError:
            continue  # a file, or a group that has just gone
        found |= {f"{folder}/{name}" for name in names if name.startswith("lxc.") and name != "lxc.pivot"}
    return found


def _monitors() -> set[str]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if (title.startswith(b"[lxc monitor]") or b"lxc-monitord" in title) and b"/lxct" in title:
                found.add(f"{entry.name} {title.decode('utf-8', 'replace')}")
    return found


def monitor_of(lxcpath: Path, name: str) -> int:
    """The pid of a container's monitor, by its title."""
    wanted = f"[lxc monitor] {lxcpath} {name}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().rstrip(b"\0") == wanted:
                    return int(entry.name)
            except OSError:
                continue
    raise AssertionError(f"{name} has no monitor")


def leftovers(before: Host, seconds: float = 3.0) -> dict[str, set[str]]:
    """What was added since; what is about to vanish (a dying network namespace) gets this much time."""
    wait_until(lambda: not Host().added_since(before), seconds, 0.1)
    return Host().added_since(before)
