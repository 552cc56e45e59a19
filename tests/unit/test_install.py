# SPDX-License-Identifier: LGPL-2.1-or-later
"""make install, below a folder: every path of the C package, everything in its place, nothing of /etc overwritten or removed."""

from __future__ import annotations

import configparser
import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# What administrators and other packages know by its path, as Debian's lxc and liblxc-common have them.
KNOWN = """
/etc/default/lxc /etc/default/lxc-net /etc/init.d/lxc /etc/init.d/lxc-net /etc/lxc/default.conf /etc/logrotate.d/lxc
/etc/sysctl.d/30-lxc-inotify.conf
/lib/systemd/system/lxc.service /lib/systemd/system/lxc@.service /lib/systemd/system/lxc-net.service
/lib/systemd/system/lxc-monitord.service /usr/lib/systemd/user/lxc.service /usr/lib/systemd/user/lxc@.service
/usr/lib/tmpfiles.d/lxc.conf
/usr/libexec/lxc/lxc-apparmor-load /usr/libexec/lxc/lxc-containers /usr/libexec/lxc/lxc-monitord /usr/libexec/lxc/lxc-net
/usr/libexec/lxc/lxc-user-nic /usr/libexec/lxc/hooks/unmount-namespace
/usr/sbin/init.lxc /usr/bin/lxc-start /usr/bin/lxc-autostart
/usr/share/lxc/config/common.conf /usr/share/lxc/config/common.conf.d/README /usr/share/lxc/config/common.seccomp
""".split()
UNITS = "/lib/systemd/system"


def install(destdir: Path, *words: str, prefix: str = "/usr", units: str = UNITS) -> None:
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DESTDIR": str(destdir), "PREFIX": prefix, "UNITDIR": units}
    done = subprocess.run([REPOSITORY / "tools/install", *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done


def tree(root: Path) -> dict[str, bytes]:
    return {f"/{path.relative_to(root)}": path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("installed")
    install(root)
    return root


def test_every_known_path(installed: Path) -> None:
    assert sorted(set(KNOWN) - set(tree(installed))) == []


def test_everything_of_config_has_a_place(installed: Path) -> None:
    """A file there that nobody installs is a mistake; one that is installed twice, too."""
    names = sorted(path.name for path in (REPOSITORY / "config").rglob("*") if path.is_file())
    folders = (f"{UNITS}/", "/usr/lib/", "/usr/share/lxc/config/", "/etc/")
    found = [path for path in tree(installed) if path.startswith(folders) and not path.startswith("/usr/lib/lxctools/")]
    assert sorted(path.rpartition("/")[2] for path in found) == names


def test_modes(installed: Path) -> None:
    for path in installed.rglob("*"):
        if path.is_file():
            program = any(f"/{folder}/" in str(path) for folder in ("bin", "sbin", "libexec", "init.d", "hooks", "templates"))
            assert path.stat().st_mode & 0o7777 == (0o755 if program and "/lxctools/" not in str(path) else 0o644), path
    assert (installed / "var/lib/lxc").stat().st_mode & 0o777 == 0o700


def units(root: Path) -> list[Path]:
    return sorted([*(root / UNITS.lstrip("/")).iterdir(), *(root / "usr/lib/systemd/user").iterdir()])


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text())
    return parser


def test_units_run_what_is_installed(installed: Path) -> None:
    for path in units(installed):
        programs = [words.lstrip("-").split()[0] for key, words in unit(path)["Service"].items() if key.startswith("Exec")]
        assert programs
        for program in programs:
            assert os.access(installed / program.lstrip("/"), os.X_OK), (path, program)


def test_what_administrators_rely_on(installed: Path) -> None:
    """Names, order and kinds, as the units of the C package have them."""
    found = {path.name: unit(path) for path in (installed / UNITS.lstrip("/")).iterdir()}
    assert sorted(found) == ["lxc-monitord.service", "lxc-net.service", "lxc.service", "lxc@.service"]
    assert {one["Install"]["WantedBy"] for one in found.values()} == {"multi-user.target"}
    assert {name: one["Service"]["Type"] for name, one in found.items()} == {
        "lxc.service": "oneshot", "lxc-net.service": "oneshot", "lxc@.service": "simple", "lxc-monitord.service": "simple",
    }  # fmt: skip
    assert [found[name]["Service"]["RemainAfterExit"] for name in ("lxc.service", "lxc-net.service")] == ["yes", "yes"]
    assert [found[name]["Service"]["Delegate"] for name in ("lxc.service", "lxc@.service")] == ["yes", "yes"]
    assert {"network.target", "remote-fs.target", "lxc-net.service"} <= set(found["lxc.service"]["Unit"]["After"].split())
    assert found["lxc.service"]["Unit"]["Wants"] == "lxc-net.service"
    assert (found["lxc-net.service"]["Unit"]["Before"], found["lxc-net.service"]["Unit"]["ConditionVirtualization"]) == ("lxc.service", "!lxc")
    assert (found["lxc@.service"]["Service"]["KillMode"], found["lxc@.service"]["Service"]["TimeoutStopSec"]) == ("mixed", "120s")
    assert found["lxc.service"]["Service"]["KillMode"] == "process", "a restart never kills a container"


def test_another_prefix(tmp_path: Path) -> None:
    install(tmp_path, prefix="/opt/lxc", units="")
    assert (tmp_path / "opt/lxc/lib/systemd/system/lxc.service").exists()
    for path, data in tree(tmp_path).items():
        if any(part in path for part in ("/systemd/", "/etc/init.d/", "/share/lxc/config/")):
            assert b"/usr/" not in data.replace(b"#!/usr/bin", b""), path


def test_init_scripts(installed: Path, tmp_path: Path) -> None:
    for name in ("lxc", "lxc-net"):
        script = installed / "etc/init.d" / name
        header = script.read_text().partition("### END INIT INFO")[0]
        fields = dict(line[2:].split(":", 1) for line in header.splitlines() if line.startswith("# ") and ":" in line)
        assert fields["Provides"].strip() == name
        assert fields["Default-Start"].split() == ["2", "3", "4", "5"] and fields["Default-Stop"].split() == ["0", "1", "6"]
        assert fields["Required-Start"].split() == fields["Required-Stop"].split() == ["$syslog", "$remote_fs"]
        # As run: the helper notes its words, and fails when it is told to.
        helper = tmp_path / "helper"
        helper.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/{name}.calls\nexit "${{STATUS:-0}}"\n')
        helper.chmod(0o755)
        copy = tmp_path / name
        text = script.read_text().replace(f"/usr/libexec/lxc/lxc-{'containers' if name == 'lxc' else 'net'}", str(helper))
        copy.write_text(text.replace("/usr/libexec/lxc/lxc-apparmor-load", "true"))

        def act(*words: str, copy: Path = copy, **env: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(["/bin/sh", copy, *words], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", **env})

        for word in ("start", "stop", "restart", "reload", "force-reload"):
            assert act(word).returncode == 0
            assert act(word, STATUS="3").returncode == 3
        assert (tmp_path / f"{name}.calls").read_text().split() == ["start"] * 2 + ["stop"] * 2 + ["stop", "start"] * 6
        assert act().returncode == act("sing").returncode == 2
        assert "Usage: " in act().stdout
        helper.unlink()
        assert act("start").returncode == 0, "removed, but not purged"


def test_again_and_away(tmp_path: Path) -> None:
    """/etc is the administrator's."""
    changed = tmp_path / "etc/default/lxc"
    changed.parent.mkdir(parents=True)
    changed.write_text("LXC_AUTO=false\n")
    (tmp_path / "var/lib/lxc").mkdir(parents=True)
    (tmp_path / "var/lib/lxc").chmod(0o755)
    install(tmp_path)
    before = tree(tmp_path)
    assert before["/etc/default/lxc"] == b"LXC_AUTO=false\n"
    assert (tmp_path / "var/lib/lxc").stat().st_mode & 0o777 == 0o755
    install(tmp_path)
    assert tree(tmp_path) == before
    install(tmp_path, "--remove")
    assert tree(tmp_path) == {path: data for path, data in before.items() if path.startswith("/etc/")}


def test_away_with_what_was_built(tmp_path: Path) -> None:
    """Manual pages and completions, of the programs in libexec, too, and the folders."""
    install(tmp_path)
    for launcher in os.listdir(REPOSITORY / "bin"):
        for path in (f"bash-completion/completions/{launcher}", f"zsh/vendor-completions/_{launcher}", f"fish/vendor_completions.d/{launcher}.fish"):
            file = tmp_path / "usr/share" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    install(tmp_path, "--remove")
    assert not [path for path in tree(tmp_path) if not path.startswith("/etc/")]
    assert not list((tmp_path / "usr").rglob("*lxc*"))


def test_over_a_program_that_runs(tmp_path: Path) -> None:
    """As over the C package's daemons: whoever runs an old file keeps it."""
    program = tmp_path / "usr/libexec/lxc/lxc-monitord"
    program.parent.mkdir(parents=True)
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program, "60"]) as running:
        try:
            install(tmp_path)
        finally:
            running.kill()
    assert program.read_text().startswith("#!/usr/bin/python3 ")
