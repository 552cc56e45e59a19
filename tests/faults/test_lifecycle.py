# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each operation on a container on disk, cut off at each of its steps by an error, a full disk, and SIGKILL.

Afterwards, when the next command on the name has looked at it, there is the old or the new state, whole, and nothing else;
what is copied is as it was. The operations run in a throw-away root, each in a child with the hook of lifecycle.steps set.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lxctools import locks, log
from lxctools.config.conf import Config
from lxctools.container import Container
from lxctools.lifecycle import ephemeral, recover, snapshot, steps
from lxctools.lifecycle import export as exporting
from lxctools.lifecycle.copy import Source
from lxctools.lifecycle.create import create
from lxctools.lifecycle.export import export
from lxctools.lifecycle.folder import remove_if_empty
from lxctools.lifecycle.import_ import import_container
from lxctools.storage import backend as storage
from lxctools.storage import place
from tests import host, throwaway

P = Path("/var/lib/lxct")
KINDS = ("error", "full", "kill")
_CUT_OFF, _ABSORBED = 77, 78  # exit statuses: the fault ended the operation; it came to its end all the same
_MOST_STEPS = 200
ARCHIVE = Path("/tmp/archive")
CONF = Path("/tmp/conf")
TEMPLATE = Path("/tmp/template")

State = dict[str, tuple[object, ...]]


class Operation:
    """One operation: what is there before, what is done, and the names that the next command looks at. kind: c1's storage."""

    def __init__(
        self, run: Callable[[], object], names: tuple[str, ...], prepare: Callable[[], object] = lambda: None, kind: str = "dir"
    ) -> None:
        self.run = run
        self.names = names
        self.prepare = prepare
        self.kind = kind


def _c1() -> Container:
    return Container("c1", str(P))


def _with_snapshot() -> None:
    _c1().snapshot()
    conf = Config.read(str(P / "c1/config"))
    with place.opened(storage.for_config(conf), str.__str__(conf["lxc.rootfs.path"])) as root:
        Path(f"{root.path}/etc/changed").write_text("since the snapshot")
        os.unlink(f"{root.path}/etc/passwd")


def _with_clone() -> None:
    _c1().clone("c2", snapshot=True)


def _create() -> None:
    create("c2", str(P), config_file=str(CONF), template=str(TEMPLATE), progress=False)


def _export() -> None:
    export(Source("c1", str(P)), str(P / "archive"), exporting.Wishes(quiet=True))


def _archived() -> None:
    ARCHIVE.unlink(missing_ok=True)
    export(Source("c1", str(P)), str(ARCHIVE), exporting.Wishes(quiet=True))


def _once() -> None:
    """An ephemeral copy; its random names are the same each time."""
    ephemeral.free_name = lambda prefix, folder, length=6: f"{prefix}{'x' * length}"
    _c1().clone_once(lambda _made: 0, "e1", mounts=[("overlay", "/usr", "usr"), ("bind", "/srv", "srv", "ro")], tmpfs=True)


OPERATIONS = {
    "copy": Operation(lambda: _c1().clone("c2"), ("c1", "c2")),
    "ephemeral": Operation(_once, ("c1", "e1")),
    "snapshot": Operation(lambda: _c1().snapshot(), ("c1",)),
    "restore": Operation(lambda: _c1().snapshot_restore("snap0"), ("c1",), _with_snapshot),
    "restore-new": Operation(lambda: _c1().snapshot_restore("snap0", "c2"), ("c1", "c2"), _with_snapshot),
    "rename": Operation(lambda: _c1().rename("c2"), ("c1", "c2")),
    "destroy": Operation(lambda: _c1().destroy(), ("c1",)),
    "destroy-snapshots": Operation(lambda: _c1().snapshot_destroy_all(), ("c1",), _with_snapshot),
    "create": Operation(_create, ("c1", "c2")),
    "export": Operation(_export, ("c1",)),
    "import": Operation(lambda: import_container(str(ARCHIVE), "c2", str(P), quiet=True), ("c1", "c2"), _archived),
    "import-overlay": Operation(lambda: import_container(str(ARCHIVE), "c2", str(P), backend="overlay", quiet=True), ("c1", "c2"), _archived),
    "copy-s": Operation(_with_clone, ("c1", "c2")),
    "rename-clone": Operation(lambda: Container("c2", str(P)).rename("c3"), ("c1", "c2", "c3"), _with_clone),
    "destroy-clone": Operation(lambda: Container("c2", str(P)).destroy(), ("c1", "c2"), _with_clone),
}
for _kind in ("overlay", "btrfs", "loop"):
    OPERATIONS |= {
        f"copy-{_kind}": Operation(lambda: _c1().clone("c2"), ("c1", "c2"), kind=_kind),
        f"snapshot-{_kind}": Operation(lambda: _c1().snapshot(), ("c1",), kind=_kind),
        f"restore-{_kind}": Operation(lambda: _c1().snapshot_restore("snap0"), ("c1",), _with_snapshot, kind=_kind),
        f"rename-{_kind}": Operation(lambda: _c1().rename("c2"), ("c1", "c2"), kind=_kind),
        f"destroy-{_kind}": Operation(lambda: _c1().destroy(), ("c1",), kind=_kind),
    }
COPIED = {"copy": "c1/", "ephemeral": "c1/rootfs", "snapshot": "c1/rootfs", "restore": "c1/snaps", "restore-new": "c1/"}


@pytest.mark.parametrize("storage_kind", ["dir", "overlay", "btrfs", "loop"])
def test_cut_off_at_every_step(unchanged_host: None, capsys: pytest.CaptureFixture[str], storage_kind: str) -> None:
    total = 0
    shown = []
    for name in (name for name in OPERATIONS if OPERATIONS[name].kind == storage_kind):
        counts = throwaway.inside(lambda name=name: _all_kinds(name))  # type: ignore[misc]
        assert min(counts) >= 3, f"{name}: {counts}"
        total += sum(counts)
        shown.append(f"{name} {sum(counts)}")
    with capsys.disabled():
        print(f"\n{total} injected faults in {len(shown)} operations: {', '.join(shown)}")


def _all_kinds(name: str) -> list[int]:
    if OPERATIONS[name].kind != "dir":
        throwaway.on_btrfs(P)
    CONF.write_text("lxc.uts.name = c2\n")
    TEMPLATE.write_text('#!/bin/sh\nfor word; do case $word in --rootfs=*) mkdir "${word#--rootfs=}/etc";; esac; done\n')
    TEMPLATE.chmod(0o755)
    return [_all_steps(name, kind) for kind in KINDS]


def _all_steps(name: str, kind: str) -> int:
    """How many faults were injected."""
    operation = OPERATIONS[name]
    log.setup("test", "", to_stderr=False)
    _fresh(operation)
    before = state()
    operation.run()
    after = state()
    assert before != after
    for number in range(_MOST_STEPS):
        _fresh(operation)
        assert state() == before
        if not _cut_off(operation, kind, number):
            return number
        first = state()
        said: list[str] = []
        _next_command(operation, said)
        found = state()
        where = f"{name}, {kind} at step {number}"
        assert found in (before, after), f"{where}: {_difference(before, found)} or {_difference(after, found)}"
        assert said or first == found, f"{where}: repaired without a word: {_difference(first, found)}"
        if kind != "kill":
            # What cannot be removed is left to the next command; everything else is undone at once.
            late = name.startswith(("restore", "rename")) and found == after
            assert first == found or name.startswith("destroy") or late, f"{where}: an error has left {_difference(first, found)}"
        part = COPIED.get(name.removesuffix(f"-{operation.kind}"))
        if part:
            kept = {path: value for path, value in found.items() if path.startswith(part)}
            expected = {path: value for path, value in before.items() if path.startswith(part)}
            assert expected.items() <= kept.items(), f"{where}: the source has changed"
    raise AssertionError(f"{name} has more than {_MOST_STEPS} steps")


def _fresh(operation: Operation) -> None:
    for entry in P.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    folder = P / "c1"
    if operation.kind == "dir":
        host.make_container(P, "c1")
        (folder / "rootfs/etc/hostname").write_text("c1\n")
    else:
        module = storage.load(operation.kind)
        folder.mkdir()
        value, _made = module.create(storage.Spec(str(folder), "c1", {"fssize": str(16 << 20)}))
        (folder / "config").write_text(f"lxc.rootfs.path = {value}\nlxc.uts.name = c1\nlxc.rootfs.mount = /mnt\n")
        with place.opened_to_fill(module, value.partition(":")[2]) as root:
            os.mkdir(f"{root.path}/etc")
            for name in ("hostname", "passwd"):
                Path(f"{root.path}/etc/{name}").write_text("c1\n")
    operation.prepare()


def _cut_off(operation: Operation, kind: str, number: int) -> bool:
    """Run it in a child that fails at this step; False when it has fewer steps and came to its end."""
    pid = os.fork()
    if pid == 0:
        seen = 0

        def hook(_name: str) -> None:
            nonlocal seen
            seen += 1
            if seen != number + 1:
                return
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.EIO if kind == "error" else errno.ENOSPC, os.strerror(errno.EIO if kind == "error" else errno.ENOSPC))

        steps.hook = hook
        try:
            operation.run()
            os._exit(0 if seen <= number else _ABSORBED)
        except BaseException:
            os._exit(_CUT_OFF)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    # The helpers of a copy die with it, but not at the same moment, and the lock of its mark is theirs too.
    assert host.wait_until(lambda: not any(_is_held(mark) for mark in P.rglob("partial")), 10)
    assert status in (0, _CUT_OFF, _ABSORBED, -signal.SIGKILL)
    return status != 0


def _is_held(mark: Path) -> bool:
    return locks.partial_state(str(mark.parent.parent), mark.parent.name) == locks.ONGOING


def _next_command(operation: Operation, said: list[str]) -> None:
    tell, log.tell = log.tell, said.append
    try:
        for name in operation.names:
            recover.settle(name, str(P))
            folder = snapshot.place(name, str(P))
            snapshot.settle_all(folder)
            remove_if_empty(folder)
    finally:
        log.tell = tell


def state() -> State:
    """Everything below P, but for times of what the operation itself writes."""
    found: State = {}
    for folder, folders, names in os.walk(P):
        for name in [*folders, *names]:
            path = f"{folder}/{name}"
            status = os.lstat(path)
            key = os.path.relpath(path, P)
            if "/overlay/work/" in key:
                continue  # the kernel's
            content: object = None
            if stat.S_ISREG(status.st_mode) and name in ("rootdev", "archive"):
                content = status.st_size > 0  # with times and a number of its own in it
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            if name in ("ts", "config"):
                content = None if name == "ts" else content
            found[key] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
    if not any(key.startswith("c1/snaps/") for key in found):
        found.pop("c1/snaps", None)  # an empty one is none
    return found


def _difference(one: State, other: State) -> dict[str, object]:
    return {key: (one.get(key), other.get(key)) for key in {*one, *other} if one.get(key) != other.get(key)}
