# SPDX-License-Identifier: LGPL-2.1-or-later
"""seccomp and BPF: programs are loaded and do what they say."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools.linux import bpf, seccomp

from .forked import in_child


def program(*rules: tuple[int, str, list[tuple[int, int, int, int]]]) -> bytes:
    library = seccomp.Library()
    context = library.filter(seccomp.ACT_ALLOW, library.native())
    try:
        for action, name, arguments in rules:
            library.add(context, action, library.resolve(library.native(), name), arguments)
        return library.export(context)
    finally:
        library.release(context)


def test_names() -> None:
    library = seccomp.Library()
    assert library.resolve(library.native(), "no_such_call") == seccomp.NR_ERROR
    assert library.resolve(library.arch("x86_64"), "mkdir") == 83
    assert library.resolve(library.arch("x86"), "mkdir") == 39
    assert library.arch("pdp11") == 0


def test_a_rule_with_an_argument() -> None:
    code = program((seccomp.act_errno(errno.EXDEV), "getpriority", [(0, seccomp.CMP_EQ, 2, 0)]))
    assert len(code) % 8 == 0

    def body() -> list[object]:
        assert seccomp.load_program(code, notify=False, no_new_privs=True) == -1
        os.getpriority(os.PRIO_PROCESS, 0)
        with pytest.raises(OSError, match=r".") as caught:
            os.getpriority(os.PRIO_USER, 0)
        status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
        return [caught.value.errno, status["Seccomp"], status["NoNewPrivs"]]

    assert in_child(body) == [errno.EXDEV, "2", "1"]


def test_a_rule_that_the_library_refuses() -> None:
    with pytest.raises(OSError, match=r".") as caught:
        program((seccomp.ACT_KILL, "mkdir", [(7, seccomp.CMP_EQ, 0, 0)]))
    assert (caught.value.errno, caught.value.__notes__) == (errno.EINVAL, ["seccomp_rule_add_exact_array"])
    with pytest.raises(OSError, match=r".") as caught:
        program((seccomp.ACT_KILL, "mkdir", [(0, seccomp.CMP_EQ, 1 << 64, 0)]))
    assert caught.value.errno == errno.ERANGE


def test_sizes() -> None:
    assert seccomp.notify_sizes() == (80, 24, 64)


@pytest.mark.root
def test_notifications() -> None:
    """A process that asks for its priority is answered by us: once with an error, once with a value of ours."""
    code = program((seccomp.ACT_NOTIFY, "getpriority", []))
    import _socket

    ours, theirs = _socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            listener = seccomp.load_program(code, notify=True)
            assert not os.get_inheritable(listener)
            theirs.send(struct.pack("i", listener))
            theirs.recv(1)
            try:
                os.getpriority(os.PRIO_USER, 42)
                answers = "no error"
            except OSError as error:
                answers = str(error.errno)
            # The kernel gives 20 - nice.
            theirs.send(f"{answers} {os.getpriority(os.PRIO_PROCESS, 0)}".encode())
        finally:
            os._exit(0)
    theirs.close()
    from lxctools.linux import pidfd

    process = os.pidfd_open(pid)
    try:
        listener = pidfd.pidfd_getfd(process, struct.unpack("i", ours.recv(4))[0])
        ours.send(b".")
        first = seccomp.notify_receive(listener)
        assert (first.pid, first.arguments[:2]) == (pid, [os.PRIO_USER, 42])
        assert seccomp.notify_id_valid(listener, first.ident)
        seccomp.notify_respond(listener, first.ident, error=errno.EXDEV)
        assert not seccomp.notify_id_valid(listener, first.ident)
        with pytest.raises(OSError, match=r".") as caught:
            seccomp.notify_respond(listener, first.ident)
        # Answered: gone, or still on its way to the process that asked.
        assert caught.value.errno in (errno.ENOENT, errno.EINPROGRESS)
        second = seccomp.notify_receive(listener)
        seccomp.notify_respond(listener, second.ident, value=3)
        assert ours.recv(100) == f"{errno.EXDEV} 17".encode()
        os.close(listener)
    finally:
        os.close(process)
        ours.close()
        os.kill(pid, 9)  # it may wait for an answer that no one will give
        os.waitpid(pid, 0)


# -- device programs

ALLOW = struct.pack("BBhi", 0xB7, 0, 0, 1) + struct.pack("BBhi", 0x95, 0, 0, 0)  # r0 = 1; exit
DENY = struct.pack("BBhi", 0xB7, 0, 0, 0) + struct.pack("BBhi", 0x95, 0, 0, 0)


@pytest.fixture
def cgroup() -> Iterator[str]:
    roots = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"]
    if not roots:
        pytest.skip("no unified hierarchy is mounted")
    folder = tempfile.mkdtemp(prefix="lxct.", dir=roots[0])
    yield folder
    os.rmdir(folder)


@pytest.mark.root
def test_device_programs(cgroup: str) -> None:
    folder = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    allow, deny = bpf.load_device_program(ALLOW), bpf.load_device_program(DENY)
    try:
        assert not os.get_inheritable(allow)

        def opened() -> bool:
            def body() -> bool:
                Path(cgroup, "cgroup.procs").write_text("0")
                try:
                    os.close(os.open("/dev/null", os.O_RDWR))
                except PermissionError:
                    return False
                return True

            result = in_child(body)
            assert isinstance(result, bool)
            return result

        assert bpf.attached_device_programs(folder) == []
        bpf.attach_device_program(folder, allow)
        assert opened()
        bpf.attach_device_program(folder, deny, replaces=allow)
        assert not opened()
        (ident,) = bpf.attached_device_programs(folder)
        again = bpf.device_program_by_id(ident)
        bpf.detach_device_program(folder, again)
        os.close(again)
        assert bpf.attached_device_programs(folder) == []
        assert opened()
        with pytest.raises(FileNotFoundError) as caught:
            bpf.detach_device_program(folder, deny)
        assert caught.value.__notes__ == ["bpf(BPF_PROG_DETACH)"]
    finally:
        for fd in (folder, allow, deny):
            os.close(fd)


@pytest.mark.root
def test_the_verifier_refuses() -> None:
    with pytest.raises(OSError, match=r".") as caught:
        bpf.load_device_program(ALLOW[:8])  # does not end
    assert caught.value.errno in (errno.EINVAL, errno.EACCES)
