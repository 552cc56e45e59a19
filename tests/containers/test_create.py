# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-create and lxc-destroy as whole transactions: what they make, and that nothing of a failed one is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lxctools import locks
from tests import host

MAPPED = "lxc.idmap = u 0 200000 65536\nlxc.idmap = g 0 200000 65536\n"

_RECORDER = r"""#!/bin/sh
# Writes what it sees to the file that RECORD names, and fills the root file system.
{
    echo "argv0 ${0##*/}"
    for word; do echo "word $word"; done
    echo "umask $(umask)"
    echo "cwd $(pwd)"
    echo "id $(id -u) $(id -g) $(id -G)"
    echo "map $(cat /proc/self/uid_map | tr -s ' ' | tr '\n' ';')"
    env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= | sort | sed 's/^/env /'
    for word; do
        case $word in --path=*) sed 's/^/config /' "${word#--path=}/config"; ls -n "${word#--path=}/.." | grep " ${word##*/}\$" | cut -d ' ' -f 1,3,4 ;; esac
    done
    grep Sig /proc/self/status
} >"$RECORD"
for word; do case $word in --rootfs=*) mkdir -p "${word#--rootfs=}/made" ;; esac; done
"""

# Makes things everywhere a template may, then waits to be killed.
_SLOW = """#!/bin/sh
for word; do case $word in --rootfs=*) rootfs=${word#--rootfs=} ;; --path=*) path=${word#--path=} ;; esac; done
mkdir -p "$rootfs/a/b/c"
dd if=/dev/zero of="$rootfs/a/data" bs=64k count=16 2>/dev/null
echo x >"$path/extra"
mount -t tmpfs none "$rootfs/a/b"
touch "$rootfs/a/b/in-the-mount"
sleep 77 &
echo started
sleep 78
"""


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def create(lxcpath: Path, name: str, *words: object, tools: Path = host.OURS, **options: object) -> subprocess.CompletedProcess[bytes]:
    return host.run(tools / "lxc-create", "-P", lxcpath, "-n", name, *words, **options)  # type: ignore[arg-type]


def destroy(lxcpath: Path, name: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    return host.run(host.OURS / "lxc-destroy", "-P", lxcpath, "-n", name, *words)


def processes(word: str) -> list[str]:
    return subprocess.run(["pgrep", "-f", word], capture_output=True, text=True, check=False).stdout.split()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder that a container's root may search."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if str(folder).startswith(("/tmp/", "/var/tmp/")):
            folder.chmod(0o755)
    (tmp_path / "empty.conf").write_text("")
    return tmp_path


# -- the contract -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["--", "-r", "two words", "--name=other", "-x"]])
def test_a_template_sees_what_it_sees_under_the_c_implementation(
    unchanged_host: None, lxcpath: Path, work: Path, words: list[str]
) -> None:
    template = script(work / "recorder", _RECORDER)
    (work / "c.conf").write_text("# mine\nlxc.tty.max = 1\n  lxc.pty.max = 2\nlxc.net.0.type = empty\n")
    seen, results = [], []
    for tools in (host.THEIRS, host.OURS):
        environment = {"PATH": os.environ["PATH"], "RECORD": str(work / "record"), "ODD": "a b\tc", "LANG": "C"}
        done = create(
            lxcpath, "c1", "-t", template, "-f", work / "c.conf", *words, tools=tools, env=environment, cwd="/usr"
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == b""
        seen.append((work / "record").read_text())
        folder = lxcpath / "c1"
        results.append(
            {
                "config": (folder / "config").read_text(),
                "modes": {path.name: (path.stat().st_mode, path.stat().st_uid) for path in (folder, *folder.iterdir())},
            }
        )
        assert (folder / "rootfs/made").is_dir()
        destroy(lxcpath, "c1")
    theirs, ours = (text.splitlines() for text in seen)
    # C LXC passes on ignored signals and the interpreter's; ours begin at their defaults, which this shell cannot tell apart.
    drop = ("SigQ", "SigPnd", "ShdPnd")
    assert [line for line in ours if not line.startswith(drop)] == [line for line in theirs if not line.startswith(drop)]
    assert results[1] == results[0]


def test_the_header_and_what_stood_before(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    template = script(work / "good", "#!/bin/sh\necho said by it\n")
    (work / "c.conf").write_text("lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\n")
    done = create(lxcpath, "c1", "-t", template, "-f", work / "c.conf", "--", "a", "b\nlxc.cap.drop =")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"said by it\n", b"")
    text = (lxcpath / "c1/config").read_text()
    head, _, rest = text.partition("\n\nlxc.net")
    assert head == (
        f"# Template used to create this container: {template}\n"
        "# Parameters passed to the template: a b lxc.cap.drop =\n"
        "# For additional config options, please look at lxc.container.conf(5)\n\n"
        "# Uncomment the following line to support nesting containers:\n"
        "#lxc.include = /usr/share/lxc/config/nesting.conf\n"
        "# (Be aware this has security implications)"
    )
    assert f"lxc.rootfs.path = dir:{lxcpath}/c1/rootfs\n" in rest
    assert "x" not in rest.split("hwaddr = ")[1].splitlines()[0]
    assert sorted(os.listdir(lxcpath / "c1")) == ["config", "rootfs"]


def test_none_is_a_configuration_and_nothing_else(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    (work / "c.conf").write_text("# kept\n\nlxc.tty.max = 1\n")
    assert create(lxcpath, "c1", "-t", "none", "-f", work / "c.conf").returncode == 0
    assert (lxcpath / "c1/config").read_text() == "# kept\n\nlxc.tty.max = 1\n"
    assert os.listdir(lxcpath / "c1") == ["config"]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(unchanged_host: None, lxcpath: Path, work: Path, mask: int) -> None:
    modes = []
    for tools in (host.THEIRS, host.OURS):
        before = os.umask(mask)
        try:
            assert create(lxcpath, "c1", "-t", script(work / "t", "#!/bin/sh\n"), "-f", work / "empty.conf", tools=tools).returncode == 0
        finally:
            os.umask(before)
        folder = lxcpath / "c1"
        modes.append([path.stat().st_mode & 0o7777 for path in (folder, folder / "rootfs", folder / "config")])
        destroy(lxcpath, "c1")
    assert modes[1] == modes[0] == [0o770, 0o755, 0o640]


@pytest.mark.parametrize("backend", ["", "dir", "none", "best"])
def test_backends_that_mean_a_folder(unchanged_host: None, lxcpath: Path, work: Path, backend: str) -> None:
    words = ["-B", backend] if backend else []
    assert create(lxcpath, "c1", "-t", script(work / "t", "#!/bin/sh\n"), "-f", work / "empty.conf", *words).returncode == 0
    assert f"lxc.rootfs.path = dir:{lxcpath}/c1/rootfs\n" in (lxcpath / "c1/config").read_text()


def test_a_root_file_system_of_the_configuration(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    mine = work / "mine"
    (work / "c.conf").write_text(f"lxc.rootfs.path = dir:{mine}\n")
    template = script(work / "t", '#!/bin/sh\nfor w; do case $w in --rootfs=*) touch "${w#--rootfs=}/filled";; esac; done\nexit 4\n')
    done = create(lxcpath, "c1", "-t", template, "-f", work / "c.conf")
    assert done.returncode == 1 and b"does not exist" in done.stderr
    assert not (lxcpath / "c1").exists()
    mine.mkdir()
    done = create(lxcpath, "c1", "-t", template, "-f", work / "c.conf")
    assert done.returncode == 1 and b"status 4" in done.stderr
    assert (mine / "filled").exists(), "it was there before and is the user's"
    assert not (lxcpath / "c1").exists()
    assert create(lxcpath, "c1", "-t", "none", "-f", work / "c.conf").returncode == 0
    assert (lxcpath / "c1/config").read_text() == (work / "c.conf").read_text()
    (mine / "precious").touch()
    done = destroy(lxcpath, "c1")
    assert done.returncode == 0 and b"kept" in done.stderr
    assert not (lxcpath / "c1").exists() and (mine / "precious").exists()


# -- id maps ------------------------------------------------------------------------------------------------------------


def test_with_id_maps_the_template_is_the_container_s_root(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    (work / "c.conf").write_text(MAPPED)
    work.chmod(0o777)
    lxcpath.chmod(0o755)
    template = script(work / "recorder", _RECORDER)
    environment = {**os.environ, "RECORD": str(work / "record")}
    done = create(lxcpath, "c1", "-t", template, "-f", work / "c.conf", "--", "--foo", env=environment)
    assert done.returncode == 0, done.stderr
    lines = (work / "record").read_text().splitlines()
    words = [line.removeprefix("word ") for line in lines if line.startswith("word ")]
    folder = lxcpath / "c1"
    assert words == [
        f"--path={folder}", "--name=c1", f"--rootfs={folder}/rootfs", "--foo", "--mapped-uid", "65536", "--mapped-gid", "65536",
    ]  # fmt: skip
    assert "id 0 0 0" in lines
    assert "map  0 200000 65536; 65536 0 1;" in lines
    owners = {path.name: path.stat().st_uid for path in (folder, folder / "rootfs", folder / "rootfs/made", folder / "config")}
    assert owners == {"c1": 200000, "rootfs": 200000, "made": 200000, "config": 0}
    assert destroy(lxcpath, "c1").returncode == 0
    assert not folder.exists()


# -- when it fails ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#!/bin/sh\necho first >&2\necho the mirror is on fire >&2\nexit 3\n", (b"status 3", b"the mirror is on fire")),
        ("#!/bin/sh\necho on stdout\nkill -9 $$\n", (b"signal 9",)),
        ("#!/bin/sh\nexit 130\n", (b"status 130",)),
        ("#!/no/such/interpreter\n", (b"interpreter", b"status 126")),
        ('#!/bin/sh\necho "lxc.nonsense = 1" >>"${1#--path=}/config"\n', (b"lxc.nonsense", b":2")),
        ('#!/bin/sh\n: >"${1#--path=}/config"\n', (b"lxc.rootfs.path",)),
        ('#!/bin/sh\nrm "${1#--path=}/config"\n', (b"config",)),
    ],
)
def test_a_template_that_fails(
    unchanged_host: None, lxcpath: Path, work: Path, text: str, says: tuple[bytes, ...]
) -> None:
    done = create(lxcpath, "c1", "-t", script(work / "t", text), "-f", work / "empty.conf")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(b"lxc-create: c1: Failed to create container c1: ")
    for word in says:
        assert word in last, done.stderr
    assert b"Traceback" not in done.stderr
    assert os.listdir(lxcpath) == []


def test_quiet_says_nothing_and_fails_all_the_same(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    template = script(work / "t", "#!/bin/sh\necho out\necho err >&2\nread line && exit 0\nexit 9\n")
    done = create(lxcpath, "c1", "-t", template, "-f", work / "empty.conf", "-q", input=b"a line\n")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert os.listdir(lxcpath) == []


def test_output_comes_while_the_template_runs(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    template = script(work / "t", "#!/bin/sh\necho one\necho two >&2\nsleep 5\n")
    argv = [host.OURS / "lxc-create", "-P", lxcpath, "-n", "c1", "-t", template, "-f", work / "empty.conf"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        started = time.monotonic()
        assert child.stdout.readline() == b"one\n"
        assert child.stderr.readline() == b"two\n"
        assert time.monotonic() - started < 3
        child.terminate()
        assert child.wait(5) == -signal.SIGTERM


def test_an_existing_container_is_left_alone(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    folder = host.make_container(lxcpath, "c1")
    before = (folder / "config").read_bytes()
    done = create(lxcpath, "c1", "-t", script(work / "t", "#!/bin/sh\n"), "-f", work / "empty.conf")
    assert done.returncode == 1
    assert b"already exists" in done.stderr
    assert (folder / "config").read_bytes() == before
    assert (folder / "rootfs/bin/busybox").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-t", "nosuch"), (b"nosuch", b"busybox debian local")),
        (("-t", "/no/such/template"), (b"/no/such/template",)),
        ((), (b"A template must be specified",)),
        (("-t", "none", "-f", "/no/such/file"), (b"/no/such/file",)),
        (("-t", "busybox", "-B", "nbd"), (b"type nbd cannot be made", b"qemu-img")),
        (("-t", "none", "-B", "floppy"), (b"floppy is not a valid backing storage type",)),
        (("-t", "busybox", "--", "--busybox-path=/no/such/busybox"), (b"/no/such/busybox", b"busybox-static")),
        (("-t", "busybox", "--", "--frobnicate"), (b"--frobnicate",)),
        (("-t", "none", "--dir", "relative"), (b"absolute path",)),
    ],
)
def test_what_cannot_be_made(
    unchanged_host: None, lxcpath: Path, work: Path, words: tuple[str, ...], says: tuple[bytes, ...]
) -> None:
    done = create(lxcpath, "c1", *words)
    assert done.returncode == 1
    for word in says:
        assert word in done.stderr, done.stderr
    assert os.listdir(lxcpath) == []


def test_a_bad_line_is_told_before_anything_is_made(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    (work / "c.conf").write_text("lxc.tty.max = 1\nlxc.tty.max = many\n")
    done = create(lxcpath, "c1", "-t", "busybox", "-f", work / "c.conf")
    assert done.returncode == 1
    assert f"{work}/c.conf:2:".encode() in done.stderr and b"many" in done.stderr
    assert os.listdir(lxcpath) == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(unchanged_host: None, small: Path, work: Path) -> None:
    done = create(small, "c1", "-t", "busybox", "-f", work / "empty.conf")
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert os.listdir(small) == []
    # Full before anything is written.
    (small / "fill").write_bytes(bytes(1 << 20))
    done = create(small, "c1", "-t", script(work / "t", "#!/bin/sh\n"), "-f", work / "empty.conf")
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr and b"Traceback" not in done.stderr
    assert os.listdir(small) == ["fill"]


# -- folders outside of the container's ---------------------------------------------------------------------------------


def test_a_folder_named_with_dir_is_made_and_removed_again(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    done = create(lxcpath, "c1", "-t", script(work / "t", "#!/bin/sh\nexit 1\n"), "--dir", work / "a/b", "-f", work / "empty.conf")
    assert done.returncode == 1
    assert not (work / "a").exists()
    done = create(lxcpath, "c1", "-t", script(work / "t", "#!/bin/sh\n"), "--dir", work / "a/b", "-f", work / "empty.conf")
    assert done.returncode == 0, done.stderr
    assert f"lxc.rootfs.path = dir:{work}/a/b\n" in (lxcpath / "c1/config").read_text()
    assert destroy(lxcpath, "c1").returncode == 0
    assert (work / "a").exists() and not (work / "a/b").exists()


def test_a_folder_that_was_there_stays(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    mine = work / "mine"
    mine.mkdir()
    (mine / "precious").write_text("x")
    for text in ("#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -9 $$\n"):
        done = create(lxcpath, "c1", "-t", script(work / "t", text), "--dir", mine, "-f", work / "empty.conf")
        assert done.returncode == 1
        assert os.listdir(mine) == ["precious"]
        assert os.listdir(lxcpath) == []
    done = create(lxcpath, "c1", "-t", script(work / "t", "#!/bin/sh\n"), "--dir", mine, "-f", work / "empty.conf")
    assert done.returncode == 0, done.stderr
    done = destroy(lxcpath, "c1")
    assert done.returncode == 0 and str(mine).encode() in done.stderr
    assert os.listdir(mine) == ["precious"]
    assert os.listdir(lxcpath) == []


def test_the_host_s_root_is_no_root_file_system(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    for path in ("/", "/usr/..", f"{work}/link"):
        if path.endswith("link"):
            os.symlink("/", path)
        done = create(lxcpath, "c1", "-t", script(work / "t", "#!/bin/sh\n"), "--dir", path, "-f", work / "empty.conf")
        assert done.returncode == 1, path
        assert b"refus" in done.stderr
        assert os.listdir(lxcpath) == []


# -- interrupted --------------------------------------------------------------------------------------------------------


def started(lxcpath: Path, work: Path, *words: object, wait_for: str = "started") -> subprocess.Popen[str]:
    template = script(work / "slow", _SLOW)
    argv = [host.OURS / "lxc-create", "-P", lxcpath, "-n", "c1", "-t", template, "-f", work / "empty.conf", *words]
    child = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == f"{wait_for}\n"
    return child


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_undoes_everything(unchanged_host: None, lxcpath: Path, work: Path, number: signal.Signals) -> None:
    deep = lxcpath / "deep/er"
    with started(deep, work, "--dir", work / "x/y") as child:
        child.send_signal(number)
        assert child.wait(10) == -number
    assert os.listdir(lxcpath) == []
    assert not (work / "x").exists()
    assert host.wait_until(lambda: not processes("sleep 7[78]"))


def test_a_killed_template_undoes_everything(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    with started(lxcpath, work) as child:
        for pid in processes(f"^/bin/sh {work}/slow"):
            os.kill(int(pid), signal.SIGKILL)
        assert child.wait(10) == 1
        assert child.stderr is not None and "signal 9" in child.stderr.read()
    assert os.listdir(lxcpath) == []
    assert host.wait_until(lambda: not processes("sleep 7[78]"))


def _by_create(lxcpath: Path, work: Path) -> None:
    done = create(lxcpath, "c1", "-t", script(work / "good", "#!/bin/sh\n"), "-f", work / "empty.conf")
    assert done.returncode == 0, done.stderr
    assert b"interrupted" in done.stderr
    assert sorted(os.listdir(lxcpath / "c1")) == ["config", "rootfs"]
    assert os.listdir(lxcpath / "c1/rootfs") == []


def _by_destroy(lxcpath: Path, work: Path) -> None:
    done = destroy(lxcpath, "c1")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert os.listdir(lxcpath) == []


@pytest.mark.parametrize("clean", [_by_create, _by_destroy])
def test_after_kill_9_the_next_command_tells_the_truth_and_cleans_up(
    unchanged_host: None, lxcpath: Path, work: Path, clean: Callable[[Path, Path], None]
) -> None:
    with started(lxcpath, work, "--dir", work / "elsewhere") as child:
        again = create(lxcpath, "c1", "-t", "none", "-f", work / "empty.conf")
        assert again.returncode == 1 and b"is being created or removed by another" in again.stderr
        refused = destroy(lxcpath, "c1")
        assert refused.returncode == 1 and b"is being created" in refused.stderr
        child.kill()
        child.wait(10)
    assert host.wait_until(lambda: not processes("sleep 7[78]")), "the template outlives its creator"
    assert locks.partial_state(str(lxcpath), "c1") == locks.ABANDONED
    refused = host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1")
    assert refused.returncode == 1 and b"interrupted" in refused.stderr
    assert (lxcpath / "c1").is_dir(), "looking at it removes nothing"
    clean(lxcpath, work)
    assert not (work / "elsewhere").exists()


def test_kill_9_at_any_moment(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    """At twenty moments of a whole creation: afterwards the name can be used or destroyed, and nothing is left."""
    chance = random.Random(4)
    argv = [host.OURS / "lxc-create", "-P", lxcpath, "-n", "c1", "-t", "busybox", "-f", work / "empty.conf"]
    began = time.monotonic()
    assert host.run(*argv).returncode == 0
    takes = time.monotonic() - began
    assert destroy(lxcpath, "c1").returncode == 0
    outcomes = set()
    for turn in range(20):
        child = subprocess.Popen(list(map(str, argv)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(takes * chance.uniform(0.1, 1.1))
        child.kill()
        child.wait()
        assert host.wait_until(lambda: not processes("lxc-busybox --path"))
        defined = (lxcpath / "c1/config").exists()
        found = locks.partial_state(str(lxcpath), "c1")
        outcomes.add(found if defined or found != locks.ABSENT else "nothing")
        if found == locks.ABSENT and defined:
            text = (lxcpath / "c1/config").read_text()
            assert text.startswith("# Template used") and "lxc.uts.name = c1" in text, "neither whole nor marked"
        if turn % 2:
            done = create(lxcpath, "c1", "-t", "busybox", "-f", work / "empty.conf")
            assert done.returncode == (1 if found == locks.ABSENT and defined else 0), done.stderr
            assert (lxcpath / "c1/rootfs/bin/busybox").exists()
        if any((lxcpath / "c1" / name).exists() for name in ("config", "partial")):
            assert destroy(lxcpath, "c1").returncode == 0
        elif (lxcpath / "c1").exists():
            (lxcpath / "c1").rmdir()  # killed between its making and its marking
        assert os.listdir(lxcpath) == []
    assert locks.ABANDONED in outcomes


def test_of_two_at_once_one_wins(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    template = script(work / "t", '#!/bin/sh\nsleep 0.3\nfor w; do case $w in --rootfs=*) mkdir "${w#--rootfs=}/once";; esac; done\n')
    argv = [host.OURS / "lxc-create", "-P", lxcpath, "-n", "c1", "-t", template, "-f", work / "empty.conf"]
    children = [subprocess.Popen(list(map(str, argv)), stderr=subprocess.PIPE) for _ in range(5)]
    told = [child.communicate(timeout=30)[1] for child in children]
    codes = [child.returncode for child in children]
    assert sorted(codes) == [0, 1, 1, 1, 1]
    for code, text in zip(codes, told, strict=True):
        assert code == 0 or b"being created" in text or b"already exists" in text
    assert (lxcpath / "c1/rootfs/once").is_dir()
    assert sorted(os.listdir(lxcpath / "c1")) == ["config", "rootfs"]


# -- lxc.hook.create ----------------------------------------------------------------------------------------------------


@pytest.fixture
def hook(work: Path) -> Path:
    return script(
        work / "hook",
        f'#!/bin/sh\nexec >>{work}/log\necho "argv $*"\nenv | grep -a ^LXC_ | sort\nls "$LXC_ROOTFS_MOUNT"\n'
        f'head -1 "$LXC_CONFIG_FILE"\nexit "$(cat {work}/code 2>/dev/null || echo 0)"\n',
    )


@pytest.mark.parametrize("version", [0, 1])
def test_the_create_hook(unchanged_host: None, lxcpath: Path, work: Path, hook: Path, version: int) -> None:
    (work / "c.conf").write_text(f"lxc.hook.version = {version}\nlxc.hook.create = {hook} own\n")
    template = script(work / "t", '#!/bin/sh\nfor w; do case $w in --rootfs=*) mkdir "${w#--rootfs=}/filled";; esac; done\n')
    assert create(lxcpath, "c1", "-t", template, "-f", work / "c.conf").returncode == 0
    lines = (work / "log").read_text().splitlines()
    assert lines[0] == ("argv own" if version else "argv own c1 lxc create")
    variables = dict(line.split("=", 1) for line in lines if line.startswith("LXC_"))
    wanted = {
        "LXC_NAME": "c1",
        "LXC_CONFIG_FILE": f"{lxcpath}/c1/config",
        "LXC_ROOTFS_MOUNT": f"{lxcpath}/c1/rootfs",
        "LXC_ROOTFS_PATH": f"{lxcpath}/c1/rootfs",
    } | ({"LXC_HOOK_TYPE": "create", "LXC_HOOK_SECTION": "lxc"} if version else {})
    assert variables == wanted
    assert lines[-2:] == ["filled", f"# Template used to create this container: {template}"]
    # C LXC can read what was written.
    assert b"lxc.hook.create" not in host.run("sh", "-c", f"grep -v '^#' {lxcpath}/c1/config").stdout
    assert host.run(host.THEIRS / "lxc-info", "-P", lxcpath, "-n", "c1", "-c", "lxc.hook.version").stdout == (
        f"lxc.hook.version = {version}\n".encode()
    )


def test_a_create_hook_that_fails_undoes_the_creation(unchanged_host: None, lxcpath: Path, work: Path, hook: Path) -> None:
    (work / "c.conf").write_text(f"lxc.hook.create = {hook}\nlxc.hook.create = touch {work}/never\n")
    (work / "code").write_text("5")
    done = create(lxcpath, "c1", "-t", "busybox", "-f", work / "c.conf")
    assert done.returncode == 1
    assert b"lxc.hook.create" in done.stderr and b"status 5" in done.stderr
    assert os.listdir(lxcpath) == []
    assert not (work / "never").exists()


# -- lxc-destroy --------------------------------------------------------------------------------------------------------


def test_destroy_hooks_run_first_and_may_refuse(unchanged_host: None, lxcpath: Path, work: Path, hook: Path) -> None:
    folder = host.make_container(lxcpath, "c1", f"lxc.hook.destroy = {hook}\n")
    (work / "code").write_text("3")
    done = destroy(lxcpath, "c1")
    assert done.returncode == 1
    assert b"lxc.hook.destroy" in done.stderr and b"status 3" in done.stderr
    assert (folder / "rootfs/bin/busybox").exists()
    (work / "code").write_text("0")
    assert destroy(lxcpath, "c1").returncode == 0
    assert not folder.exists()
    assert "argv c1 lxc destroy" in (work / "log").read_text()
    assert "LXC_HOOK_VERSION" not in (work / "log").read_text()


def test_a_running_container_is_refused_without_force(unchanged_host: None, lxcpath: Path) -> None:
    folder = host.make_container(lxcpath, "c1")
    host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1", check=True)
    done = destroy(lxcpath, "c1")
    assert done.returncode == 1 and b"c1 is running" in done.stderr
    assert host.running(lxcpath, "c1") and (folder / "rootfs/bin/busybox").exists()
    assert destroy(lxcpath, "c1", "-f").returncode == 0
    assert not folder.exists() and not host.running(lxcpath, "c1")


def test_a_running_ephemeral_one_is_gone_after_force(unchanged_host: None, lxcpath: Path) -> None:
    folder = host.make_container(lxcpath, "c1", "lxc.ephemeral = 1\n")
    host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1", check=True)
    done = destroy(lxcpath, "c1", "-f")
    assert done.returncode == 0, done.stderr
    assert host.wait_until(lambda: not folder.exists())


def test_a_stopped_ephemeral_one_is_removed(unchanged_host: None, lxcpath: Path) -> None:
    folder = host.make_container(lxcpath, "c1", "lxc.ephemeral = 1\n")
    assert destroy(lxcpath, "c1").returncode == 0
    assert not folder.exists()


def test_clones_and_snapshots_are_refused(unchanged_host: None, lxcpath: Path) -> None:
    folder = host.make_container(lxcpath, "c1")
    (folder / "lxc_snapshots").write_text(f"{lxcpath}\nc2\n")
    done = destroy(lxcpath, "c1")
    assert done.returncode == 1 and b"c1 has clones" in done.stderr and b"c2" in done.stderr
    (folder / "lxc_snapshots").unlink()
    (folder / "snaps/snap0").mkdir(parents=True)
    done = destroy(lxcpath, "c1")
    assert done.returncode == 1 and b"c1 has snapshots" in done.stderr
    (folder / "snaps/snap0").rmdir()
    assert destroy(lxcpath, "c1").returncode == 0


def test_a_clone_that_goes_takes_itself_off_the_list(unchanged_host: None, lxcpath: Path) -> None:
    lower = host.make_container(lxcpath, "c1")
    folder = host.make_container(lxcpath, "c2")
    (lower / "lxc_snapshots").write_text(f"{lxcpath}\nc2\n{lxcpath}\nc22\n")
    (folder / "lxc_rdepends").write_text(f"{lxcpath}\nc1\n")
    assert destroy(lxcpath, "c2").returncode == 0
    assert (lower / "lxc_snapshots").read_text() == f"{lxcpath}\nc22\n"


def test_what_the_container_does_not_own_is_not_removed(unchanged_host: None, lxcpath: Path, work: Path) -> None:
    mine = work / "mine"
    mine.mkdir()
    (mine / "precious").touch()
    folder = host.make_container(lxcpath, "c1")
    # A link in the place of the root file system.
    shutil.rmtree(folder / "rootfs")
    (folder / "rootfs").symlink_to(mine)
    done = destroy(lxcpath, "c1")
    assert done.returncode == 1 and b"symbolic link" in done.stderr
    # Something mounted in it.
    (folder / "rootfs").unlink()
    (folder / "rootfs/mnt").mkdir(parents=True)
    subprocess.run(["mount", "--bind", mine, folder / "rootfs/mnt"], check=True)
    done = destroy(lxcpath, "c1")
    subprocess.run(["umount", folder / "rootfs/mnt"], check=True)
    assert done.returncode == 1 and b"mounted" in done.stderr
    assert (folder / "config").exists()
    # Another container's.
    host.make_container(lxcpath, "c2")
    (folder / "config").write_text(f"lxc.rootfs.path = dir:{lxcpath}/c2/rootfs\n")
    done = destroy(lxcpath, "c1")
    assert done.returncode == 1 and b"c2" in done.stderr
    assert (lxcpath / "c2/rootfs/bin/busybox").exists()
    # Not managed: success, and all of it stays.
    (folder / "config").write_text(f"lxc.rootfs.path = dir:{mine}\nlxc.rootfs.managed = 0\n")
    assert destroy(lxcpath, "c1").returncode == 0
    assert (mine / "precious").exists() and (folder / "config").exists()


def test_a_removal_that_was_cut_off_is_taken_up(unchanged_host: None, lxcpath: Path) -> None:
    folder = host.make_container(lxcpath, "c1")
    shutil.rmtree(folder / "rootfs")  # as if killed after it
    done = destroy(lxcpath, "c1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert not folder.exists()


def test_no_such_container(unchanged_host: None, lxcpath: Path) -> None:
    done = destroy(lxcpath, "c1")
    assert done.returncode == 1 and b"Container is not defined" in done.stderr
