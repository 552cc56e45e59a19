# SPDX-License-Identifier: LGPL-2.1-or-later
"""The containers that our templates make, started by both implementations on a bridge with DHCP and DNS."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host

BRIDGE = "lxct-tpl0"
ADDRESS = "10.77.6.1"
NETWORK = f"lxc.net.0.type = veth\nlxc.net.0.link = {BRIDGE}\nlxc.net.0.flags = up\n"
MAPPED = "lxc.idmap = u 0 200000 65536\nlxc.idmap = g 0 200000 65536\n"
BOOT = 30.0

needs_dnsmasq = pytest.mark.skipif(not shutil.which("dnsmasq", path="/usr/sbin:/usr/bin"), reason="needs dnsmasq")
needs_bootstrap = pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="needs mmdebstrap")
pytestmark = [needs_dnsmasq]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("dnsmasq")
    for words in (f"link add {BRIDGE} type bridge", f"addr add {ADDRESS}/24 dev {BRIDGE}", f"link set {BRIDGE} up"):
        subprocess.run(["ip", *words.split()], check=True)
    server = subprocess.Popen(
        [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", f"--interface={BRIDGE}", "--except-interface=lo",
            "--bind-interfaces", f"--listen-address={ADDRESS}", "--dhcp-range=10.77.6.50,10.77.6.99,1h", "--no-ping",
            f"--dhcp-leasefile={folder}/leases", "--dhcp-authoritative", "--no-resolv", "--no-hosts", "--pid-file",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield BRIDGE
    server.terminate()
    server.wait()
    subprocess.run(["ip", "link", "del", BRIDGE], check=True)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cache of this run's own, shared by its tests."""
    folder = tmp_path_factory.mktemp("cache")
    for parent in (folder, *folder.parents[:3]):
        if str(parent).startswith(("/tmp/", "/var/tmp/")):
            parent.chmod(0o755)
    yield str(folder)
    shutil.rmtree(folder)


class Lxc:
    """The commands of one implementation on one lxcpath."""

    def __init__(self, tools: Path, lxcpath: Path) -> None:
        self.tools = tools
        self.lxcpath = lxcpath

    def __call__(self, tool: str, name: str, *words: object, **options: object) -> subprocess.CompletedProcess[bytes]:
        return host.run(self.tools / f"lxc-{tool}", "-P", self.lxcpath, "-n", name, *words, **options)  # type: ignore[arg-type]

    def inside(self, name: str, command: str) -> str:
        return self("attach", name, "--", "sh", "-c", command).stdout.decode()

    def address(self, name: str) -> str:
        lines = self("info", name, "-iH").stdout.decode().split()
        return next((line for line in lines if line.startswith("10.77.6.")), "")

    def start(self, name: str) -> str:
        """Start it and wait for its address."""
        done = self("start", name)
        assert done.returncode == 0, done.stderr
        assert host.wait_until(lambda: self.address(name), BOOT, 0.1), "no address by DHCP"
        return self.address(name)


@pytest.fixture(params=["ours", "theirs"])
def lxc(request: pytest.FixtureRequest, lxcpath: Path) -> Lxc:
    lxcpath.chmod(0o755)
    return Lxc(host.OURS if request.param == "ours" else host.THEIRS, lxcpath)


def create(lxcpath: Path, name: str, template: str, config: str, *words: object, **options: object) -> None:
    lxcpath.chmod(0o755)
    given = lxcpath / "given.conf"
    given.write_text(config)
    done = host.run(
        host.OURS / "lxc-create", "-P", lxcpath, "-n", name, "-t", template, "-f", given, "--", *words, timeout=600, **options
    )  # type: ignore[arg-type]
    given.unlink()
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def query(name: str) -> bytes:
    """What the bridge's server answers for a name."""
    import socket
    import struct

    question = b"".join(bytes([len(part)]) + part for part in name.encode().split(b".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.sendto(struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + question + struct.pack(">HH", 1, 1), (ADDRESS, 53))
        answer = sock.recv(512)
    return answer[-4:] if struct.unpack(">H", answer[6:8])[0] else b""


# -- busybox ------------------------------------------------------------------------------------------------------------


def test_busybox(unchanged_host: None, bridge: str, lxc: Lxc) -> None:
    for name in ("bb1", "bb2"):
        create(lxc.lxcpath, name, "busybox", NETWORK)
    first, second = lxc.start("bb1"), lxc.start("bb2")
    assert first != second
    assert lxc.inside("bb1", "hostname") == "bb1\n"
    assert ADDRESS in lxc.inside("bb1", "cat /etc/resolv.conf")
    assert "1 packets received" in lxc.inside("bb1", f"ping -c1 -W2 {ADDRESS}")
    assert f"PING bb2 ({second})" in lxc.inside("bb1", "ping -c1 -W2 bb2")
    assert query("bb1") == bytes(map(int, first.split(".")))
    assert "Seccomp:\t2" in lxc.inside("bb1", "cat /proc/1/status")
    assert lxc.inside("bb1", "mount | grep -c -e ' on /usr' -e ' on /lib'") == "0\n", "nothing of the host's is bound"
    # The same address after a clean stop.
    assert lxc("stop", "bb1", timeout=60).returncode == 0
    assert lxc("info", "bb1", "-sH").stdout.strip() == b"STOPPED"
    assert lxc.start("bb1") == first
    for name in ("bb1", "bb2"):
        lxc("stop", name, "-k", check=True)


def test_busybox_with_an_address_of_the_configuration(unchanged_host: None, bridge: str, lxcpath: Path) -> None:
    create(lxcpath, "bb", "busybox", NETWORK + "lxc.net.0.ipv4.address = 10.77.6.200/24\nlxc.net.0.ipv4.gateway = auto\n")
    lxc = Lxc(host.OURS, lxcpath)
    assert lxc.start("bb") == "10.77.6.200"
    time.sleep(1)
    assert "udhcpc" not in lxc.inside("bb", "ps")
    assert lxc("info", "bb", "-iH").stdout.decode().split().count("10.77.6.200") == 1
    lxc("stop", "bb", "-k", check=True)


def test_busybox_with_id_maps(unchanged_host: None, bridge: str, lxcpath: Path) -> None:
    create(lxcpath, "bb", "busybox", MAPPED + NETWORK)
    owners = {path.lstat().st_uid for path in (lxcpath / "bb/rootfs").rglob("*")}
    assert owners == {200000}
    lxc = Lxc(host.OURS, lxcpath)
    lxc.start("bb")
    assert lxc.inside("bb", "id -u; tr -s ' ' </proc/self/uid_map") == "0\n 0 200000 65536\n"
    lxc("stop", "bb", "-k", check=True)


def test_busybox_lets_root_in_on_a_tty(unchanged_host: None, lxcpath: Path) -> None:
    create(lxcpath, "bb", "busybox", "lxc.net.0.type = empty\n")
    lxc = Lxc(host.OURS, lxcpath)
    lxc("start", "bb", check=True)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(host.OURS / "lxc-console", ["lxc-console", "-P", str(lxcpath), "-n", "bb", "-t", "1"])
    try:
        seen = _talk(terminal, b"\r", b"login:")
        seen = _talk(terminal, b"root\r", b"#")
        seen = _talk(terminal, b"echo logged $((40+2)) in\r", b"logged 42 in")
        assert b"logged 42 in" in seen
    finally:
        os.write(terminal, b"\x01q")
        os.waitpid(pid, 0)
        os.close(terminal)
    lxc("stop", "bb", "-k", check=True)


def _talk(terminal: int, words: bytes, answer: bytes) -> bytes:
    os.write(terminal, words)
    seen = b""
    deadline = time.monotonic() + 10
    while answer not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096)
    assert answer in seen, seen
    return seen


# -- debian -------------------------------------------------------------------------------------------------------------


def booted(lxc: Lxc, name: str) -> str:
    state = ""
    deadline = time.monotonic() + BOOT
    while time.monotonic() < deadline and state not in ("running", "degraded"):
        state = lxc.inside(name, "systemctl is-system-running").strip()
        time.sleep(0.1)
    return state


@needs_bootstrap
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_debian(unchanged_host: None, bridge: str, archives: str, lxc: Lxc, release: str) -> None:
    environment = {**os.environ, "LXC_CACHE_PATH": archives}
    create(lxc.lxcpath, "deb", "debian", NETWORK, "-r", release, env=environment)
    began = time.monotonic()
    create(lxc.lxcpath, "deb2", "debian", NETWORK, "-r", release, env=environment)
    assert time.monotonic() - began < 15, "a kept archive is unpacked in seconds"
    address, other = lxc.start("deb"), lxc.start("deb2")
    assert booted(lxc, "deb") == "running", lxc.inside("deb", "systemctl --failed")
    assert lxc.inside("deb", "systemctl --failed --no-legend") == ""
    assert f"VERSION_CODENAME={release}" in lxc.inside("deb", "cat /etc/os-release")
    assert lxc.inside("deb", f"ping -c1 -W2 {ADDRESS} >/dev/null && echo yes") == "yes\n"
    assert lxc.inside("deb", "getent hosts deb2").split() == [other, "deb2"]
    assert query("deb") == bytes(map(int, address.split(".")))
    assert "console-getty.service" in lxc.inside("deb", "systemctl list-units --state=running --no-legend 'console-getty*'")
    gettys = lxc.inside("deb", "systemctl list-units --state=running --no-legend 'container-getty@*'")
    assert len(gettys.splitlines()) == 4
    identity = lxc.inside("deb", "cat /etc/machine-id")
    assert len(identity) == 33 and identity != lxc.inside("deb2", "cat /etc/machine-id")
    assert lxc("stop", "deb", timeout=90).returncode == 0
    journal = subprocess.run(
        ["journalctl", "-D", lxc.lxcpath / "deb/rootfs/var/log/journal", "--no-pager", "-n", "20"], capture_output=True, check=False
    )
    assert b"Reached target" in journal.stdout and b"Journal stopped" in journal.stdout, journal
    assert lxc.start("deb") == address
    assert lxc.inside("deb", "cat /etc/machine-id") == identity
    for name in ("deb", "deb2"):
        lxc("stop", name, "-k", check=True)


@needs_bootstrap
def test_debian_with_id_maps(unchanged_host: None, bridge: str, archives: str, lxcpath: Path) -> None:
    environment = {**os.environ, "LXC_CACHE_PATH": archives}
    create(lxcpath, "deb", "debian", MAPPED + NETWORK, "-r", "bookworm", env=environment)
    kept = [path for path in Path(archives, "debian").iterdir() if path.name != "lock"]
    assert kept and all(path.stat().st_uid == 0 for path in kept), "a container's root could change what is kept"
    lxc = Lxc(host.OURS, lxcpath)
    lxc.start("deb")
    assert booted(lxc, "deb") == "running", lxc.inside("deb", "systemctl --failed")
    assert lxc.inside("deb", f"su -s /bin/sh nobody -c 'ping -c1 -W2 {ADDRESS}' >/dev/null && echo yes") == "yes\n"
    assert lxc("stop", "deb", timeout=90).returncode == 0


@needs_bootstrap
def test_an_archive_that_was_interrupted_is_not_kept(unchanged_host: None, tmp_path: Path, lxcpath: Path) -> None:
    environment = {**os.environ, "LXC_CACHE_PATH": str(tmp_path / "cache")}
    argv = [host.OURS / "lxc-create", "-P", lxcpath, "-n", "deb", "-t", "debian", "-f", "/dev/null", "--", "-r", "bookworm"]
    child = subprocess.Popen(list(map(str, argv)), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    for line in child.stderr:
        if b"extracting" in line or b"installing" in line:
            break
    child.terminate()
    child.communicate(timeout=20)
    assert child.returncode == -15
    assert os.listdir(tmp_path / "cache/debian") == ["lock"]
    assert os.listdir(lxcpath) == []
    assert not subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False).stdout
