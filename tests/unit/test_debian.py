# SPDX-License-Identifier: LGPL-2.1-or-later
"""The packaging says what the code says, and pip's scripts are the launchers."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lxctools
from lxctools import __main__ as program

REPOSITORY = Path(__file__).parents[2]
DEBIAN = REPOSITORY / "debian"
# Which other packages of lxc ours has to sort above: Debian 12 and 13, Ubuntu 24.04, and one that is to come.
OTHERS = ("1:5.0.2-1+deb12u4", "1:5.0.3-2ubuntu7.2", "1:6.0.4-4+deb13u1", "1:7.0.0-1")


def version() -> str:
    found = re.match(r"lxctools \((\S+)\) ", (DEBIAN / "changelog").read_text())
    assert found
    return found[1]


def test_the_package_has_the_version_of_the_code() -> None:
    assert version() == f"2:{lxctools.LXC_VERSION}+lxctools{lxctools.__version__}"


@pytest.mark.parametrize("other", OTHERS)
def test_it_sorts_above_the_other_implementation(other: str) -> None:
    assert subprocess.run(["dpkg", "--compare-versions", version(), "gt", other]).returncode == 0


def test_every_launcher_is_a_script_of_pip() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    launchers = sorted(path.name for path in (REPOSITORY / "bin").iterdir())
    assert sorted(project["scripts"]) == launchers
    assert set(project["scripts"].values()) == {f"lxctools.__main__:{program.launched.__name__}"}


def test_settings_are_the_same_in_every_script() -> None:
    """rules divides them, postinst puts them in place, prerm and postrm take them away."""
    listed = re.search(r"^SETTINGS := (.*)$", (DEBIAN / "rules").read_text(), re.MULTILINE)
    assert listed
    names = listed[1].split()
    assert f"settings='{listed[1]}'" in (DEBIAN / "lxc.postinst").read_text()
    assert f"for file in {listed[1]};" in (DEBIAN / "lxc.prerm").read_text()
    assert " ".join(f"/etc/{name}" for name in names) in (DEBIAN / "lxc.postrm").read_text()


@pytest.mark.parametrize("script", ["lxc.preinst", "lxc.postinst", "lxc.prerm", "lxc.postrm", "tests/smoke", "tests/library"])
def test_shell_can_read(script: str) -> None:
    shell = (DEBIAN / script).read_text().partition("\n")[0].removeprefix("#!")
    assert subprocess.run([shell, "-n", DEBIAN / script]).returncode == 0


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lxctools", *words], cwd=REPOSITORY, capture_output=True, text=True)


def test_own_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"lxctools {lxctools.__version__}\n", "")


def test_what_it_does_not_know() -> None:
    done = run("--nonsense")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", program.USAGE)


def test_what_the_system_provides(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each, with the package of what is missing; without libseccomp hardly any container starts."""
    monkeypatch.setattr(program.process, "find", lambda name: None if name == "dnsmasq" else f"/bin/{name}")
    monkeypatch.setattr(program, "_has_libseccomp", lambda: False)
    assert program.main(["lxctools"]) == 1
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == len(program.PROGRAMS) + 2
    assert [line for line in lines if line.startswith("missing")] == [
        "missing libseccomp  containers with lxc.seccomp.profile: all of the templates' [Debian: libseccomp2]",
        "missing dnsmasq     lxc-net: addresses and names for containers [Debian: dnsmasq-base]",
    ]
    monkeypatch.setattr(program, "_has_libseccomp", lambda: True)
    assert program.main(["lxctools"]) == 0
