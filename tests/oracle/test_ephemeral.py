# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-copy -e by C LXC and by us: the same configuration and files, and each ends what the other has made."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from tests import host

SIDES = {"theirs": host.THEIRS, "ours": host.OURS}
OPTIONS: dict[str, list[str]] = {
    "plain": [],
    "tmpfs": ["-t"],
    "tmpfs, name kept": ["-t", "-K"],
    "kept": ["-D", "-M"],
    "overlay by its begin": ["-B", "ov"],
    "mounts": ["-m", "bind={P}/src,bind={P}/src:/mnt/a:ro,overlay={P}/src:/mnt/o", "-m", "bind=//etc//hostname:///mnt//h", "-m", "bind=/nosuch:rw"],
}

pytestmark = pytest.mark.usefixtures("unchanged_host")


def prepare(lxcpath: Path, config: str = "") -> None:
    folder = host.make_container(lxcpath, "c1", config)
    (folder / "rootfs/etc/hostname").write_text("c1\n")
    (lxcpath / "src").mkdir()
    (lxcpath / "src/file").write_text("of the host\n")


def comparable(text: str, lxcpath: Path) -> str:
    text = text.replace(str(lxcpath), "P").replace(str(lxcpath)[1:], "P")
    return re.sub(r"(pre-start-|delta#|work#)[A-Za-z0-9]{6}", r"\1XXXXXX", text)


def tree(lxcpath: Path, name: str) -> dict[str, tuple[str, int]]:
    """Names, types and modes of what is in the container's folder; without the overlay's own insides."""
    found = {}
    for entry in sorted((lxcpath / name).iterdir()):
        mode = os.lstat(entry).st_mode
        # Of an overlay's upper folder ours has the mode of what is below (docs/differences.md).
        shown = 0 if entry.name.startswith("delta#") else stat.S_IMODE(mode)
        found[comparable(entry.name, lxcpath)] = (stat.filemode(mode)[0], shown)
    return found


@pytest.mark.parametrize("what", OPTIONS)
def test_what_is_written(what: str, lxcpath: Path) -> None:
    seen = {}
    for side, tools in SIDES.items():
        place = lxcpath / side
        place.mkdir()
        prepare(place)
        words = [word.replace("{P}", str(place)) for word in OPTIONS[what]]
        made = host.run(tools / "lxc-copy", "-P", place, "-n", "c1", "-N", "e1", "-e", *words)
        try:
            inside = host.run(
                host.OURS / "lxc-attach", "-P", place, "-n", "e1", "--",
                "/bin/sh", "-c", "hostname; cat /etc/hostname; echo; ls /mnt /mnt/a /mnt/o 2>&1; cat /mnt/h 2>/dev/null",
            )  # fmt: skip
            seen[side] = (
                made.returncode, comparable(made.stdout.decode(), place), comparable((place / "e1/config").read_text(), place),
                tree(place, "e1"), (place / "e1/lxc_rdepends").read_text().replace(str(place), "P"), inside.returncode, inside.stdout,
            )  # fmt: skip
        finally:
            host.run(tools / "lxc-stop", "-P", place, "-n", "e1", "-k")
        assert host.wait_until(lambda place=place: (place / "e1").exists() == ("-D" in words), 5)
        host.forget(place)
    assert seen["ours"] == seen["theirs"]
    assert seen["ours"][0] == 0


@pytest.mark.parametrize("maker", SIDES)
@pytest.mark.parametrize("words", [[], ["-t"]], ids=["disk", "tmpfs"])
def test_each_ends_the_others(maker: str, words: list[str], lxcpath: Path) -> None:
    prepare(lxcpath)
    host.run(SIDES[maker] / "lxc-copy", "-P", lxcpath, "-n", "c1", "-N", "e1", "-e", *words, check=True)
    assert (lxcpath / "c1/lxc_snapshots").read_text() == f"{lxcpath}\ne1\n"
    other = SIDES["ours" if maker == "theirs" else "theirs"]
    assert host.run(other / "lxc-info", "-P", lxcpath, "-n", "e1", "-sH").stdout == b"RUNNING\n"
    host.run(other / "lxc-stop", "-P", lxcpath, "-n", "e1", "-k", check=True)
    assert host.wait_until(lambda: not (lxcpath / "e1").exists(), 5)
    assert not (lxcpath / "c1/lxc_snapshots").exists()


def test_ours_starts_what_c_has_kept_and_the_reverse(lxcpath: Path) -> None:
    prepare(lxcpath)
    for maker, other in ((host.OURS, host.THEIRS), (host.THEIRS, host.OURS)):
        host.run(maker / "lxc-copy", "-P", lxcpath, "-n", "c1", "-N", "e1", "-e", "-D", "-m", f"overlay={lxcpath}/src:/mnt/o", check=True)
        host.run(host.OURS / "lxc-attach", "-P", lxcpath, "-n", "e1", "--", "/bin/sh", "-c", "echo mine >/mnt/o/file", check=True)
        host.run(maker / "lxc-stop", "-P", lxcpath, "-n", "e1", "-k", check=True)
        host.run(other / "lxc-start", "-P", lxcpath, "-n", "e1", check=True)
        read = host.run(host.OURS / "lxc-attach", "-P", lxcpath, "-n", "e1", "--", "/bin/cat", "/mnt/o/file")
        assert read.stdout == b"mine\n"
        assert (lxcpath / "src/file").read_text() == "of the host\n"
        host.run(other / "lxc-stop", "-P", lxcpath, "-n", "e1", "-k", check=True)
        host.run(other / "lxc-destroy", "-P", lxcpath, "-n", "e1", check=True)
