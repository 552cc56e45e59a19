# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual pages of section 5: every key, old name and translated limit is there, and man has nothing to complain about."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lxctools.cgroup import translate
from lxctools.config import keys, legacy, net, system

REPOSITORY = Path(__file__).parents[2]


# Called by units and init scripts, not by users: the services' files are their documentation.
SERVICES = {"lxc-net", "lxc-monitord", "lxc-apparmor-load"}


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / f"tools/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = dict(tool("man5").pages())
man1 = tool("man1")


def names_of(page: str) -> list[str]:
    """What is printed in bold at the head of an entry."""
    lines = PAGES[page].splitlines()
    heads = [line for before, line in itertools.pairwise(lines) if before == ".TP" and line.startswith("\\fB")]
    return [head[3:].partition("\\fR")[0].replace("\\-", "-") for head in heads]


def test_every_key_once() -> None:
    found = names_of("lxc.container.conf.5")
    wanted = [row.name for row in keys.KEYS] + [f"lxc.net.N.{row.name}" for row in net.KEYS]
    assert {name: found.count(name) for name in wanted} == dict.fromkeys(wanted, 1)


def test_old_names_and_translations() -> None:
    found = set(names_of("lxc.container.conf.5"))
    assert set(legacy.NAMES) | set(legacy.IGNORED) | {row.legacy for row in net.KEYS if row.legacy} <= found
    assert set(translate.TO_V1) | set(translate.TO_V2) <= found


def test_every_item_of_lxc_conf() -> None:
    assert names_of("lxc.system.conf.5") == [row.name for row in system.ROWS]


@pytest.mark.skipif(shutil.which("man") is None or shutil.which("groff") is None, reason="man or groff is not installed")
@pytest.mark.parametrize("page", ["lxc.container.conf.5", "lxc.system.conf.5", "lxc.conf.5", "lxc-usernet.5"])
def test_man_does_not_complain(tmp_path: Path, page: str) -> None:
    (tmp_path / page).write_text(PAGES[page])
    done = subprocess.run(
        ["man", "--warnings", "-l", str(tmp_path / page)],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"},
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.count("\n") > 20 and "SEE ALSO" in done.stdout
    assert '.\\" @' not in PAGES[page], "a line that stands for a table"


@pytest.mark.parametrize("page", PAGES)
def test_nothing_of_the_program_shows(page: str) -> None:
    for word in ("object at 0x", "Default: False", "Default: True", "Default: None", "Default: ."):
        assert word not in PAGES[page]
    assert not re.search(r"^ |^\\fI\\fR$", PAGES[page], re.MULTILINE), "a sentence that begins with nothing"


@pytest.fixture(scope="module")
def built_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("argparse_manpage")
    folder = tmp_path_factory.mktemp("built")
    subprocess.run([sys.executable, REPOSITORY / "tools/build-man", folder / "man", folder / "words"], check=True, timeout=120)
    return folder


def test_commands_have_pages(built_pages: Path) -> None:
    launchers = [path.name for path in (REPOSITORY / "bin").iterdir() if path.name not in SERVICES]
    for launcher in launchers:
        text = (built_pages / "man" / f"{launcher}.1").read_text()
        for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"):
            assert text.count(f"\n.SH {section}\n") == 1, f"{launcher}: {section}"
        assert f".TH {launcher.upper().replace('-', chr(92) + '-')} 1 \"\" " in text, "no date, so that every build gives the same"
        assert (built_pages / "words" / launcher).exists()
    assert (built_pages / "man" / "lxc.7").exists()
    overview = (built_pages / "man" / "lxc.7").read_text()
    assert all(f".BR {launcher.replace('-', chr(92) + '-')} (1)" in overview for launcher in launchers)
    text = (built_pages / "man/lxc-config.1").read_text()
    assert "\\-\\-json" in text and ".SH EXIT STATUS" in text and "\\-\\-rcfile" not in text


def test_pages_name_every_option_and_only_pages_that_there_are(built_pages: Path) -> None:
    others = {"capabilities", "cgroups", "namespaces", "user_namespaces", "criu", "newuidmap", "systemd-run"}
    for launcher, command in dict(man1.commands()).items():
        text = (built_pages / "man" / f"{launcher}.1").read_text().replace("\\-", "-")
        for row in command.options:
            assert (f"--{row.long}" if row.long else f"\\fB-{row.short}\\fR") in text, f"{launcher}: {row.long or row.short}"
        for name in re.findall(r"^\.BR (\S+) \(\d\)", text, re.MULTILINE):
            assert name in others or list((built_pages / "man").glob(f"{name}.[1-8]")), f"{launcher} speaks of {name}"


@pytest.mark.skipif(shutil.which("man") is None or shutil.which("groff") is None, reason="man or groff is not installed")
def test_man_does_not_complain_of_commands(built_pages: Path) -> None:
    for page in sorted((built_pages / "man").glob("*.[17]")):
        done = subprocess.run(
            ["man", "--warnings", "-l", str(page)],
            capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), page.name


def test_two_builds_are_equal(built_pages: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, REPOSITORY / "tools/build-man", tmp_path / "man", tmp_path / "words"], check=True, timeout=120)
    assert subprocess.run(["diff", "-r", tmp_path, built_pages], check=False).returncode == 0
