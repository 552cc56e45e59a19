# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starting, entering and ending real containers: what the oracle cannot show because we do it better, and the whole life."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import host


def ours(tool: str, lxcpath: Path, *words: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    return host.run(host.OURS / f"lxc-{tool}", "-P", lxcpath, "-n", "c1", *words, **options)  # type: ignore[arg-type]


def start(lxcpath: Path, config: str = "", *words: object) -> Path:
    folder = host.make_container(lxcpath, "c1", config)
    ours("start", lxcpath, *words, check=True)
    return folder


def test_hooks_in_order(unchanged_host: None, lxcpath: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = tmp_path / "hook"
    script.write_text(f'#!/bin/sh\necho "$@ name=$LXC_NAME target=$LXC_TARGET pid=${{LXC_PID:+yes}}" >>{log}\n')
    script.chmod(0o755)
    hooks = ("pre-start", "pre-mount", "mount", "autodev", "start-host", "stop", "post-stop")
    config = "".join(f"lxc.hook.{hook} = {script} own\n" for hook in hooks)
    config += f"lxc.net.1.type = veth\nlxc.net.1.flags = up\nlxc.net.1.script.up = {script}\nlxc.net.1.script.down = {script}\n"
    start(lxcpath, config)
    ours("stop", lxcpath, "-k", check=True)
    lines = log.read_text().splitlines()
    seen = [line.split(" name=")[0] for line in lines]
    order = [line.split()[3] if line.startswith("own") else line.split()[2] for line in seen]
    assert order == ["pre-start", "up", "pre-mount", "mount", "autodev", "start-host", "down", "stop", "post-stop"]
    assert seen[0] == "own c1 lxc pre-start"
    assert seen[1].startswith("c1 net up veth veth")
    assert "pid=yes" in lines[1] and "pid=yes" not in lines[0]
    assert "mnt:/proc/" in seen[7] and "target=stop" in lines[7]


@pytest.mark.parametrize("hook", ["pre-start", "pre-mount", "mount", "autodev", "start-host"])
def test_failing_hook_says_which(unchanged_host: None, lxcpath: Path, hook: str) -> None:
    host.make_container(lxcpath, "c1", f"lxc.hook.{hook} = /bin/sh -c 'echo the disk is on fire; exit 3'\n")
    done = ours("start", lxcpath)
    assert done.returncode == 1
    for word in (f"lxc.hook.{hook}".encode(), b"status 3", b"the disk is on fire"):
        assert word in done.stderr, done.stderr
    assert ours("info", lxcpath, "-sH").stdout == b"STOPPED\n"


@pytest.mark.parametrize(
    ("config", "words", "says"),
    [
        ("lxc.net.1.type = veth\nlxc.net.1.link = lxcnosuch0\n", (), b"lxc.net.1.link"),
        ("lxc.net.1.type = veth\nlxc.net.1.mtu = huge\n", (), b"lxc.net.1.mtu"),
        ("lxc.rootfs.path = dir:/var/tmp/no/such/root\n", (), b"/var/tmp/no/such/root"),
        ("", ("--", "/no/such/init"), b"/no/such/init"),
        ("", ("--", "/etc/passwd"), b"/etc/passwd"),
        ("lxc.cgroup.memory.limit_in_bytes = lots\nlxc.cgroup2.memory.max = lots\n", (), b"memory."),
        ("lxc.prlimit.nosuch = 3\n", (), b"lxc.prlimit.nosuch"),
        ("lxc.seccomp.profile = /no/such/policy\n", (), b"/no/such/policy"),
        ("lxc.mount.entry = /no/such/source mnt none bind,create=dir 0 0\n", (), b"/no/such/source"),
        ("lxc.sysctl.kernel.nosuch = 1\n", (), b"lxc.sysctl.kernel.nosuch"),
        ("lxc.autodev = 7\n", (), b"lxc.autodev"),
        ("lxc.nosuch = 7\n", (), b"lxc.nosuch"),
    ],
)
def test_errors_name_their_cause(unchanged_host: None, lxcpath: Path, config: str, words: tuple[str, ...], says: bytes) -> None:
    host.make_container(lxcpath, "c1", config)
    done = ours("start", lxcpath, *words)
    assert done.returncode == 1
    assert says in done.stderr, done.stderr
    assert b"Traceback" not in done.stderr and b"internal error" not in done.stderr, done.stderr


def test_reboot_from_inside(unchanged_host: None, lxcpath: Path) -> None:
    start(lxcpath)
    before = ours("info", lxcpath, "-pH").stdout
    ours("attach", lxcpath, "--", "reboot", "-f")
    assert host.wait_until(lambda: ours("info", lxcpath, "-pH").stdout not in (before, b""), 10)
    assert ours("attach", lxcpath, "--", "hostname").stdout == b"c1\n"
    ours("stop", lxcpath, "-k", check=True)


def test_init_environment_and_signals(unchanged_host: None, lxcpath: Path) -> None:
    folder = start(lxcpath, "lxc.environment = A=b\n", "--", "/bin/sh", "-c", "env >/tmp/env; cat /proc/self/status >/tmp/status; exec sleep 100")
    status = folder / "rootfs/tmp/status"
    assert host.wait_until(lambda: status.exists() and "SigIgn" in status.read_text())
    variables = set((folder / "rootfs/tmp/env").read_text().splitlines()) - {"PWD=/", "SHLVL=1", "PATH=/sbin:/usr/sbin:/bin:/usr/bin"}  # the shell's own
    assert variables == {"A=b", "container=lxc", "container_ttys=pts/1 pts/2"}
    masks = dict(line.split(":\t") for line in status.read_text().splitlines() if line.startswith("Sig") and "SigQ" not in line)
    assert {int(masks[name], 16) for name in ("SigBlk", "SigIgn")} == {0}
    ours("stop", lxcpath, "-k", check=True)


@pytest.mark.parametrize("console", ["lxc.pty.max = 1024\n", "lxc.pty.max = 0\n"], ids=["own console", "the host's devpts"])
def test_id_map(unchanged_host: None, lxcpath: Path, console: str) -> None:
    config = f"lxc.idmap = u 0 200000 65536\nlxc.idmap = g 0 200000 65536\n{console}"
    folder = host.make_container(lxcpath, "c1", config)
    for path in [lxcpath, folder]:
        path.chmod(0o755)
    for path in [folder / "rootfs", *(folder / "rootfs").rglob("*")]:
        os.lchown(path, 200000, 200000)
    ours("start", lxcpath, check=True)
    init = int(ours("info", lxcpath, "-pH").stdout)
    assert os.stat(f"/proc/{init}").st_uid == 200000
    inside = ours("attach", lxcpath, "--", "sh", "-c", "id -u; echo x >/dev/null; cat /proc/self/uid_map; touch /tmp/made; ls -ln /dev/console").stdout.split()
    assert inside[:4] == [b"0", b"0", b"200000", b"65536"]
    assert inside[6] == b"0", "the console is its root's"
    assert (folder / "rootfs/tmp/made").stat().st_uid == 200000
    ours("stop", lxcpath, "-k", check=True)


def test_attach_streams(unchanged_host: None, lxcpath: Path) -> None:
    start(lxcpath)
    blob = os.urandom(3 << 20)
    done = ours("attach", lxcpath, "--", "sh", "-c", "cat; echo end >&2", input=blob)
    assert done.stdout == blob and done.stderr == b"end\n"
    # A closed end: the writer gets SIGPIPE, as outside.
    pipe = subprocess.Popen(
        [host.OURS / "lxc-attach", "-P", lxcpath, "-n", "c1", "--", "sh", "-c", "cat /dev/zero"], stdout=subprocess.PIPE
    )
    assert pipe.stdout is not None
    pipe.stdout.read(10)
    pipe.stdout.close()
    assert pipe.wait(10) == 128 + signal.SIGPIPE
    closed = subprocess.run(
        f"{host.OURS}/lxc-attach -P {lxcpath} -n c1 -- sh -c 'echo out' <&-", shell=True, capture_output=True, check=False
    )
    assert closed.stdout == b"out\n"
    ours("stop", lxcpath, "-k", check=True)


def test_execute(unchanged_host: None, lxcpath: Path) -> None:
    host.make_container(lxcpath, "c1")
    done = ours("execute", lxcpath, "--", "/bin/sh", "-c", "echo $$; cat; exit 9", input=b"in")
    assert (done.returncode, done.stdout) == (9, b"2\nin")
    assert ours("execute", lxcpath, "--", "/bin/sh", "-c", "kill -TERM $$").returncode == 143
    missing = ours("execute", lxcpath, "--", "/nosuch")
    assert missing.returncode == 255 and b"/nosuch" in missing.stderr


def test_pid_file_and_foreground(unchanged_host: None, lxcpath: Path, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    start(lxcpath, "", "-p", pidfile)
    monitor = int(pidfile.read_text())
    assert Path(f"/proc/{monitor}/cmdline").read_bytes() == f"[lxc monitor] {lxcpath} c1".encode() + b"\0"
    ours("stop", lxcpath, "-k", check=True)
    assert host.wait_until(lambda: not pidfile.exists(), 3)
    foreground = subprocess.Popen([host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1", "-F"], stdin=subprocess.DEVNULL)
    assert host.wait_until(lambda: ours("info", lxcpath, "-sH").stdout == b"RUNNING\n", 5)
    foreground.send_signal(signal.SIGTERM)  # handed to init, which ends at it
    assert foreground.wait(10) == 0


def test_console_log(unchanged_host: None, lxcpath: Path, tmp_path: Path) -> None:
    log = tmp_path / "console"
    start(lxcpath, "", "-L", log)
    ours("attach", lxcpath, "--", "sh", "-c", "echo to the console >/dev/console", check=True)
    assert host.wait_until(lambda: log.exists() and b"to the console" in log.read_bytes(), 3)
    ours("stop", lxcpath, "-k", check=True)


def test_mount_entries(unchanged_host: None, lxcpath: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("shared\n")
    config = (
        f"lxc.mount.entry = {tmp_path} mnt/shared none bind,ro,create=dir 0 0\n"
        "lxc.mount.entry = tmpfs tmp tmpfs size=1m 0 0\n"
        "lxc.mount.entry = /no/such mnt/no none bind,optional,create=dir 0 0\n"
    )
    start(lxcpath, config)
    done = ours("attach", lxcpath, "--", "sh", "-c", "cat /mnt/shared/file; touch /mnt/shared/new || echo read-only; grep -c ' /tmp ' /proc/mounts")
    assert done.stdout == b"shared\nread-only\n1\n", done
    ours("stop", lxcpath, "-k", check=True)


def test_cgroup_limits(unchanged_host: None, lxcpath: Path) -> None:
    start(lxcpath, "lxc.cgroup.pids.max = 77\nlxc.cgroup2.pids.max = 77\n")
    found = [
        path.read_text().strip()
        for pattern in ("lxc.payload.c1/pids.max", "*/lxc.payload.c1/pids.max")
        for path in Path("/sys/fs/cgroup").glob(pattern)
    ]
    assert found == ["77"]
    ours("stop", lxcpath, "-k", check=True)


def test_no_rootfs_never_boots_the_host(lxcpath: Path) -> None:
    folder = lxcpath / "c1"
    folder.mkdir()
    (folder / "config").write_text("lxc.uts.name = c1\n")
    for words in ((), ("-s", "lxc.autodev = 0"), ("-s", "lxc.autodev = 0", "--", "/sbin/../sbin/init"), ("--", "/bin/true")):
        done = ours("start", lxcpath, *words)
        assert done.returncode == 1 and b"no root file system" in done.stderr, words
        assert ours("info", lxcpath, "-sH").stdout == b"STOPPED\n"


def test_stop_clean_and_time_limit(unchanged_host: None, lxcpath: Path) -> None:
    start(lxcpath)
    ours("stop", lxcpath, check=True)
    (lxcpath / "c1/rootfs/sbin/init").write_text("#!/bin/sh\ntrap '' TERM PWR\nwhile :; do sleep 1; done\n")
    ours("start", lxcpath, check=True)
    began = time.monotonic()
    assert ours("stop", lxcpath, "-t", "1", "--nokill").returncode == 1
    assert ours("stop", lxcpath, "-t", "1").returncode == 0
    assert time.monotonic() - began < 6
