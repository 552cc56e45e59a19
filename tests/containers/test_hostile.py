# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system whose owner wants out: modules, libraries and links planted in it, and our own /proc/PID/exe."""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from tests import host

MARK_CODE = "import os\nopen({mark!r}, 'a').write('marked by ' + __name__)\n"


def our_paths() -> list[str]:
    """Every folder that our interpreter looks for modules in, and where its libraries and locale files are."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return [
        f"usr/lib/python{version}",
        f"usr/lib/python{version}/lib-dynload",
        f"usr/lib/python{version}/encodings",
        "usr/lib/python3/dist-packages",
        f"usr/local/lib/python{version}/dist-packages",
        str(host.CHECKOUT).lstrip("/"),
        str(host.CHECKOUT / "lxctools").lstrip("/"),
        str(host.CHECKOUT / "bin").lstrip("/"),
    ]


def plant(rootfs: Path, mark: str) -> None:
    names = (
        "os signal socket subprocess traceback linecache tokenize codecs encodings warnings pwd grp json re enum random shutil ctypes "
        "sitecustomize usercustomize contextlib selectors errno idna latin_1 ascii utf_8 aliases"
    ).split()
    for folder in our_paths():
        place = rootfs / folder
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            (place / f"{name}.py").write_text(MARK_CODE.format(mark=mark))
    # Libraries and NSS: loading a file that is none fails loudly, and reading one leaves an access time behind.
    library = rootfs / "usr/lib" / sysconfig.get_config_var("MULTIARCH")
    library.mkdir(parents=True, exist_ok=True)
    for name in ("libc.so.6", "libnss_files.so.2", "libnss_evil.so.2", "libseccomp.so.2", "libm.so.6", "libz.so.1"):
        (library / name).write_bytes(b"not a library")
    (rootfs / "etc/nsswitch.conf").write_text("passwd: evil files\ngroup: evil files\n")
    (rootfs / "usr/lib/locale").mkdir(parents=True, exist_ok=True)
    (rootfs / "usr/lib/locale/locale-archive").write_bytes(b"not an archive")
    for path in rootfs.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (1, 1))


def read_since(rootfs: Path, folders: list[str]) -> list[str]:
    """Planted files whose access time has moved."""
    found = []
    for folder in folders:
        for path in (rootfs / folder).rglob("*"):
            if path.is_file() and path.stat().st_atime > 1000:
                found.append(str(path))
    return found


def test_nothing_of_the_root_is_loaded(unchanged_host: None, lxcpath: Path, tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")
    config = f"lxc.seccomp.profile = {host.CHECKOUT}/config/common.seccomp\nlxc.hook.start = /bin/true\n"
    folder = host.make_container(lxcpath, "c1", config)
    plant(folder / "rootfs", mark)
    for path in (mark, *(str(folder / "rootfs" / mark.lstrip("/")),)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    for command in (
        ("lxc-start", "-n", "c1"),
        ("lxc-attach", "-n", "c1", "--", "/bin/true"),
        ("lxc-attach", "-n", "c1", "--", "/nosuch"),
        ("lxc-attach", "-n", "c1", "-u", "1000", "--", "/bin/id"),
        ("lxc-stop", "-n", "c1", "-k"),
        ("lxc-start", "-n", "c1", "--", "/nosuch/init"),
    ):
        host.run(host.OURS / command[0], "-P", lxcpath, *command[1:])
    assert not os.path.exists(mark), Path(mark).read_text()
    assert not (folder / "rootfs" / mark.lstrip("/")).exists()
    touched = read_since(folder / "rootfs", [*our_paths(), "usr/lib"])
    assert not touched, f"read by a process of ours: {touched}"


@pytest.mark.parametrize("name", ["proc", "sys", "dev", "mnt"])
def test_links_to_the_host_get_nothing_mounted(unchanged_host: None, lxcpath: Path, tmp_path: Path, name: str) -> None:
    folder = host.make_container(lxcpath, "c1", "lxc.mount.entry = tmpfs mnt/inner tmpfs create=dir 0 0\n")
    outside = tmp_path / "outside"
    outside.mkdir()
    place = folder / "rootfs" / name
    if place.is_dir():
        place.rmdir()
    place.symlink_to(outside)
    started = host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1")
    host.run(host.OURS / "lxc-stop", "-P", lxcpath, "-n", "c1", "-k")
    assert started.returncode == 1
    assert b"symbolic link" in started.stderr, started.stderr
    assert os.listdir(outside) == []


def test_interpreter_cannot_be_written(unchanged_host: None, lxcpath: Path) -> None:
    """CVE-2019-5736: the container's root opens /proc/PID/exe of whoever enters, and tries to write it later."""
    folder = host.make_container(lxcpath, "c1")
    interpreter = os.path.realpath("/usr/bin/python3")
    before = (os.stat(interpreter).st_size, os.stat(interpreter).st_mtime)
    # Holds a descriptor of every foreign executable it sees, and then tries to open it for writing.
    (folder / "rootfs/bin/catch").write_text(
        "#!/bin/sh\n"
        "while :; do\n"
        "  for p in /proc/[0-9]*; do\n"
        "    case $(readlink $p/exe 2>/dev/null) in\n"
        "    *python*)\n"
        "      if exec 7<$p/exe; then\n"
        "        echo caught >>/tmp/caught\n"
        "        sleep 0.2\n"
        "        if (: >>/proc/self/fd/7) 2>>/tmp/why; then echo WRITABLE >>/tmp/caught; fi\n"
        "        exec 7<&-\n"
        "      fi 2>/dev/null ;;\n"
        "    esac\n"
        "  done\n"
        "done\n"
    )
    (folder / "rootfs/bin/catch").chmod(0o755)
    host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1", check=True)
    catchers = [
        host.run(host.OURS / "lxc-attach", "-P", lxcpath, "-n", "c1", "--", "/bin/sh", "-c", "/bin/catch >/dev/null 2>&1 & true")
        for _ in range(2)
    ]
    assert all(result.returncode == 0 for result in catchers)
    caught = folder / "rootfs/tmp/caught"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not caught.exists():
        # A user database that answers slowly keeps our process inside for longer.
        host.run(host.OURS / "lxc-attach", "-P", lxcpath, "-n", "c1", "--", "/bin/true")
    host.run(host.OURS / "lxc-execute", "-P", lxcpath, "-n", "c1", "--", "/bin/true")
    time.sleep(0.5)
    text = caught.read_text() if caught.exists() else ""
    assert "WRITABLE" not in text
    assert (os.stat(interpreter).st_size, os.stat(interpreter).st_mtime) == before
    host.run(host.OURS / "lxc-stop", "-P", lxcpath, "-n", "c1", "-k", check=True)


def test_view_of_the_entrant_is_read_only() -> None:
    """The property behind it, without a race: what runs from the sealed view cannot be opened for writing through /proc."""
    code = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(host.CHECKOUT)!r})\n"
        "from lxctools.runtime import seal\n"
        "pid = seal.spawn_sealed(['-I', '-S', '-c', 'import time; time.sleep(3)'], [])\n"
        "import time; time.sleep(0.3)\n"
        "for path in [f'/proc/{pid}/exe', *(f'/proc/{pid}/map_files/{n}' for n in os.listdir(f'/proc/{pid}/map_files'))]:\n"
        "    try:\n"
        "        os.close(os.open(path, os.O_WRONLY))\n"
        "        if os.readlink(path).startswith('/'): print('WRITABLE', path, os.readlink(path))\n"
        "    except OSError as error:\n"
        "        print(error.errno)\n"
        "os.kill(pid, 9); os.waitpid(pid, 0)\n"
        "open('/tmp/lxct-seal-check', 'w').close(); os.unlink('/tmp/lxct-seal-check')\n"
        "print('ours is writable')\n"
    )
    done = host.run("/usr/bin/python3", "-I", "-c", code)
    assert b"WRITABLE" not in done.stdout, done.stdout
    assert b"ours is writable" in done.stdout, done
    assert b"30" in done.stdout.split() or b"26" in done.stdout.split(), done.stdout  # EROFS (ETXTBSY where it is checked first)


def test_no_descriptor_and_no_mount_of_the_host(unchanged_host: None, lxcpath: Path) -> None:
    host.make_container(lxcpath, "c1")
    extra = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(extra, True)
    try:
        host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1", check=True)
        init = int(host.run(host.OURS / "lxc-info", "-P", lxcpath, "-n", "c1", "-pH").stdout)
        assert sorted(os.listdir(f"/proc/{init}/fd")) in (["0", "1", "2"], ["0", "1", "10", "2"])  # a shell keeps its script
        for fd in os.listdir(f"/proc/{init}/fd"):
            target = os.readlink(f"/proc/{init}/fd/{fd}")
            assert target in ("/dev/pts/0", "/dev/console", "/sbin/init"), target
        inside = host.run(
            host.OURS / "lxc-attach", "-P", lxcpath, "-n", "c1", "--", "/bin/sh", "-c", "ls -l /proc/self/fd; cat /proc/self/mountinfo"
        ).stdout.decode()
    finally:
        os.close(extra)
    descriptors = [line.split(" -> ")[1] for line in inside.splitlines() if " -> " in line]
    assert all(target.startswith(("pipe:", "/proc/")) for target in descriptors), descriptors
    points = [line.split()[4] for line in inside.splitlines() if " - " in line and " -> " not in line]
    allowed = {"/", "/dev", "/proc", "/proc/sys", "/proc/sys/net", "/proc/sysrq-trigger", "/sys", "/sys/devices/virtual/net",
               "/dev/pts", "/dev/ptmx", "/dev/console", "/dev/tty1", "/dev/tty2", "/proc/sys/kernel/random/boot_id"}  # fmt: skip
    assert set(points) <= allowed, set(points) - allowed
    host.run(host.OURS / "lxc-stop", "-P", lxcpath, "-n", "c1", "-k", check=True)
