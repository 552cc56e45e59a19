# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our files for lxc.include: every one that C LXC ships, accepted by C LXC, and of the same effect except for what is listed here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lxctools.config import keys
from tests import host

from .config_compare import c_answers

THEIRS = Path("/usr/share/lxc/config")
NAMES = sorted(path.name for path in THEIRS.glob("*.conf"))
ASKED = [row.name for row in keys.KEYS if row.name[-1] != "*"] + ["lxc.cgroup", "lxc.cgroup2", "lxc.net"]

UNIFIED = "C LXC's device rules for a distribution are for legacy cgroups only; here the unified hierarchy has the same"
WHOLE = "a set of its own in C LXC, which lacks its terminals' devices; here common.conf and what differs from it"
# (file, key) -> (lines that only ours has, lines that only C's has, reason).
DIFFERENT: dict[tuple[str, str], tuple[list[str], list[str], str]] = {}
_FOUR = ["c 254:0 rm", "c 10:200 rwm", "c 10:228 rwm", "c 10:232 rwm"]
for _name in ("debian", "devuan", "kali", "gentoo", "slackware", "ubuntu", "ubuntu-cloud"):
    DIFFERENT[f"{_name}.common.conf", "lxc.cgroup2"] = ([f"devices.allow = {rule}" for rule in _FOUR], [], UNIFIED)
DIFFERENT["plamo.common.conf", "lxc.cgroup2"] = (["devices.allow = c 254:0 rm"], [], UNIFIED)
_WRT = [f"c {node} rwm" for node in ("1:3", "1:5", "1:8", "1:9", "5:0", "5:1", "5:2", "136:*", "10:200", "4:0", "4:1")] + ["c 254:0 rm"]
DIFFERENT["openwrt.common.conf", "lxc.cgroup2"] = (["devices.deny = a", *(f"devices.allow = {rule}" for rule in _WRT)], [], UNIFIED)
_OPEN = ["c *:* m", "b *:* m", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm", "c 10:229 rwm"]
_COMMON = [*_OPEN, "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm"]
DIFFERENT["sabayon.common.conf", "lxc.cgroup"] = ([f"devices.allow = {rule}" for rule in _OPEN], [], WHOLE)
DIFFERENT["sabayon.common.conf", "lxc.cgroup2"] = (["devices.deny = a", *(f"devices.allow = {rule}" for rule in _COMMON)], [], WHOLE)
DIFFERENT["sabayon.common.conf", "lxc.hook.clone"] = (["HOOKS/clonehostname"], [], WHOLE)
DIFFERENT["sabayon.common.conf", "lxc.mount.entry"] = (["/sys/fs/fuse/connections sys/fs/fuse/connections none bind,optional 0 0"], [], WHOLE)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where make install puts them; they include each other from there."""
    prefix = tmp_path_factory.mktemp("prefix")
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PREFIX": str(prefix)}
    subprocess.run([host.CHECKOUT / "tools/install"], env=env, check=True, stdin=subprocess.DEVNULL)
    return prefix / "share/lxc/config"


def lines(value: str | None, folder: Path) -> list[str]:
    """The lines of an item, without the keys before them and where the files lie."""
    text = (value or "").replace(f"{folder.parent}/hooks", "HOOKS").replace(str(folder), "CONFIG")
    return [line.split(" = ", 1)[-1] if not line.startswith("lxc.cgroup") else line.split(".", 2)[2] for line in text.split("\n") if line]


def test_every_name(ours: Path) -> None:
    assert [name for name in NAMES if not (ours / name).exists()] == []
    assert (ours / "common.conf.d").is_dir() and (ours / "common.seccomp").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_effect(name: str, ours: Path, tmp_path: Path) -> None:
    """Both read by C LXC."""
    pairs = [(f"lxc.include = {folder / name}\n", ASKED) for folder in (ours, THEIRS)]
    mine, theirs = c_answers(tmp_path, pairs)
    assert mine is not None, f"C LXC refuses our {name}"
    assert theirs is not None
    for key in ASKED:
        left, right = lines(mine[key], ours), lines(theirs[key], THEIRS)
        more, less, _reason = DIFFERENT.get((name, key), ([], [], ""))
        assert sorted(set(left) - set(right)) == sorted(more), (key, left, right)
        assert sorted(set(right) - set(left)) == sorted(less), (key, left, right)
        if key.startswith("lxc.mount"):
            assert [line for line in left if line in right] == right, f"{key}: another order"
        if key.startswith("lxc.cgroup") and "devices.deny = a" in left:
            assert left[0] == "devices.deny = a", f"{key}: what is allowed before everything is denied counts for nothing"


def test_the_list_of_differences_names_files() -> None:
    assert {name for name, _key in DIFFERENT} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_our_own_check_has_nothing_to_say(name: str, ours: Path, tmp_path: Path) -> None:
    """In a container with what every container needs; .userns and .lucid come after what they change."""
    host.make_rootfs(tmp_path / "rootfs")
    before = name.replace(".userns.", ".common.").replace(".lucid.", ".common.")
    base = f"lxc.include = {ours / before}\n" if before != name and (ours / before).exists() else ""
    maps = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n" if "userns" in name else ""
    config = tmp_path / "config"
    config.write_text(f"{base}lxc.include = {ours / name}\n{maps}lxc.rootfs.path = dir:{tmp_path}/rootfs\nlxc.uts.name = c1\nlxc.net.0.type = empty\n")
    done = host.run(host.OURS / "lxc-config", "check", config)
    told = [line for line in (done.stdout + done.stderr).decode().splitlines() if f"share/lxc/config/{name}:" in line]
    assert [line for line in told if "this kernel has no AppArmor" not in line] == []
    assert done.returncode == bool(told), done  # 1 for a warning
