# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the tests of real containers, and the check that nothing is left on the host."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from lxctools.linux import mount, proc, propagation, sched

from . import host, volumes

_STORAGE = {"needs_dm": volumes.why_no_device_mapper, "needs_zfs": volumes.why_no_zfs, "needs_ceph": volumes.why_no_ceph}
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("lxctools", deadline=None)
hypothesis.settings.load_profile("lxctools")

_REAL = ("containers", "oracle", "faults", "vm/guest")


def pytest_configure() -> None:
    """Mount in a namespace of our own: what somebody else mounts meanwhile is not taken for a test's, and a run that is
    killed leaves none. Its mounts are shared where the host's are, as containers find them.
    Signals are as a terminal has them: what a shell starts in the background, or nohup, ignores some for good.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
    if os.geteuid() != 0:
        return
    shared = any(row.point == "/" and any(field.startswith("shared:") for field in row.optional) for row in proc.mountinfo())
    sched.unshare(sched.CLONE_NEWNS)
    try:
        mount.mount("none", "/", None, mount.MS_REC | mount.MS_PRIVATE)
    except OSError:
        propagation.slave_all()  # our root folder is no mount point: a chroot
    if shared:
        mount.mount("none", "/", None, mount.MS_REC | mount.MS_SHARED)
    if os.environ.get("LXCTOOLS_GUEST"):
        return  # whose services the tests share /run with, and which is thrown away
    # Locks are never removed, by either implementation: those of the tests end with this namespace.
    os.makedirs(host.RUN, exist_ok=True)
    mount.mount("none", host.RUN, "tmpfs", mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC, "mode=755")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name what is missing instead of failing on it."""
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root") or any(f"tests/{part}/" in str(item.path) for part in _REAL):
                item.add_marker(pytest.mark.skip(reason="needs root"))
    if not shutil.which("lxc-info", path="/usr/bin"):
        for item in items:
            if "tests/oracle/" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="needs Debian's lxc as the oracle"))
    for marker, why_not in _STORAGE.items():
        wanted = [item for item in items if item.get_closest_marker(marker)]
        reason = why_not() if wanted else ""
        for item in wanted if reason else ():
            item.add_marker(pytest.mark.skip(reason=reason))


_LONGEST_TEST = 240


@pytest.hookimpl(hookwrapper=True)  # the old style: Debian 12 has pytest 7.2
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that waits for ever fails, and the others run."""

    def over(_number: int, _frame: object) -> None:
        raise TimeoutError(f"{item.nodeid} took more than {longest} s")

    longest = _LONGEST_TEST * host.SLOWNESS

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(longest)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_at_the_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """A run with real containers leaves the host as it was."""
    real = any(f"tests/{part}/" in str(item.path) for item in request.session.items for part in _REAL)
    if os.geteuid() != 0 or not real:
        yield
        return
    before = host.Host()
    yield
    left = host.leftovers(before, 35.0)  # a lxc-monitord ends by itself after 30 s without clients
    assert not left, f"left on the host by this test run: {left}"


@pytest.fixture
def lxcpath() -> Iterator[Path]:
    """A folder for containers, emptied and removed afterwards whatever runs in it."""
    folder = Path(tempfile.mkdtemp(prefix="lxct.", dir="/var/tmp"))
    yield folder
    host.forget(folder)


@pytest.fixture
def unchanged_host() -> Iterator[None]:
    """Fails the test that leaves a mount, a link, a cgroup, a loop device, a socket or a monitor."""
    before = host.Host()
    yield
    left = host.leftovers(before)
    assert not left, f"left on the host: {left}"


@pytest.fixture
def vg() -> Iterator[str]:
    """The name of a volume group with a thin pool `lxc`; for tests that are marked needs_dm."""
    with volumes.volume_group() as name:
        yield name
