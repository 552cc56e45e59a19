# SPDX-License-Identifier: LGPL-2.1-or-later
"""The completions: every option in every shell, right syntax, and what bash offers at the cursor."""

from __future__ import annotations

import importlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lxctools.cli._options import NONE, Command

REPOSITORY = Path(__file__).parents[2]


def tool(name: str) -> ModuleType:
    sys.path.insert(0, str(REPOSITORY / "tools"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


completions, man1 = tool("completions"), tool("man1")
COMMANDS: dict[str, Command] = dict(man1.commands())
TEXTS = {launcher: dict(completions.files(command)) for launcher, command in COMMANDS.items()}


@pytest.mark.parametrize("launcher", COMMANDS)
def test_every_option_in_every_shell(launcher: str) -> None:
    texts = TEXTS[launcher]
    assert set(texts) == {launcher, f"zsh/_{launcher}", f"fish/{launcher}.fish"}
    for row in COMMANDS[launcher].table():
        if row.short == "?":
            continue
        for word, fish in ((f"-{row.short}", f"-s {row.short} "), (f"--{row.long}", f"-l {row.long} ")):
            if len(word) > 1 + (word[:2] == "--"):
                assert f" {word} " in texts[launcher].replace('"', " ")
                assert f"){word}" in texts[f"zsh/_{launcher}"] or f"*{word}" in texts[f"zsh/_{launcher}"]
                assert fish in texts[f"fish/{launcher}.fish"]


@pytest.mark.parametrize("launcher", COMMANDS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_syntax(tmp_path: Path, shell: str, launcher: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    name = {"bash": launcher, "zsh": f"zsh/_{launcher}", "fish": f"fish/{launcher}.fish"}[shell]
    (tmp_path / "file").write_text(TEXTS[launcher][name])
    done = subprocess.run([shell, "-n", tmp_path / "file"], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_argument_has_been_thought_of() -> None:
    """A new option's argument is in the table of completions; what nothing can be offered for is so on purpose."""
    free = {
        ("attach", "set-var"), ("attach", "context"), ("console", "escape"), ("copy", "newname"), ("clone", "new"), ("clone", "size"),
        ("clone", "vgname"), ("create", "lvname"), ("create", "vgname"), ("create", "thinpool"), ("create", "zfsroot"), ("create", "rbdname"),
        ("create", "rbdpool"), ("create", "rbduser"), ("file", "mode"), ("logs", "tail"), ("ls", "nesting"), ("snapshot", "newname"),
        ("top", "delay"), ("unshare", "hostname"), ("usernsexec", ""),
    }  # fmt: skip
    missing = [
        (command.name, row.long)
        for command in COMMANDS.values()
        for row in command.table()
        if row.arg != NONE and completions.argument(command, row) == completions.NOTHING
        and ("", row.long) not in completions.ARGUMENTS and (command.name, row.long) not in completions.ARGUMENTS
    ]  # fmt: skip
    assert set(missing) - free == set()


@pytest.fixture
def stubs(tmp_path: Path) -> Path:
    """lxc-ls and lxc-snapshot that print their arguments' effect."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {
        "lxc-ls": 'case "$*" in *--running*) echo run1; echo run2 ;; *--stopped*) echo stop1 ;; *--frozen*) echo cold ;; *--defined*) echo def1 ;;\n'
        'esac\ncase "$*" in *"-P /other"*) echo elsewhere ;; esac\necho both\n',
        "lxc-snapshot": '[ "$*" = "-n c1 -L" ] && printf "snap0 (/x) 2026\\nsnap1 (/x) 2026\\n"\n',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}")
        (folder / name).chmod(0o755)
    return folder


def offered(stubs: Path, line: str) -> list[str]:
    """What bash offers for the last word of a line; a trailing blank begins a new word."""
    words = shlex.split(line.replace("=", " = ")) + ([""] if line.endswith((" ", "=")) else [])
    launcher = words[0]
    script = (
        f"compopt() {{ :; }}\n{TEXTS[launcher][launcher]}\n"
        f"COMP_WORDS=({' '.join(shlex.quote(word) for word in words)}); COMP_CWORD={len(words) - 1}; COMPREPLY=()\n"
        f'_{launcher.replace("-", "_")}\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=20, check=True, env={"PATH": f"{stubs}:/usr/bin:/bin"}
    )
    assert done.stderr == ""
    return done.stdout.split()


LINES = {
    "lxc-start ": {"stop1", "both"},
    "lxc-stop r": {"run1", "run2"},
    "lxc-unfreeze -n ": {"cold", "both"},
    "lxc-unfreeze --name=c": {"cold"},
    "lxc-stop -P /other ": {"run1", "run2", "elsewhere", "both"},
    "lxc-stop --lxcpath=/other e": {"elsewhere"},
    "lxc-stop --no": {"--nokill", "--nolock", "--nowait"},
    "lxc-stop -t ": set(),
    "lxc-stop -t 5 r": {"run1", "run2"},
    "lxc-stop c1 ": set(),
    "lxc-create ": set(),
    "lxc-create -n x -B b": {"btrfs", "best"},
    "lxc-snapshot -n c1 -r ": {"snap0", "snap1"},
    "lxc-snapshot c1 -d ": {"snap0", "snap1", "ALL"},
    "lxc-wait c1 -s R": {"RUNNING"},
    "lxc-info c1 -c lxc.uts": {"lxc.uts.name"},
    "lxc-start -s lxc.uts": {"lxc.uts.name="},
    "lxc-config lxc.lx": {"lxc.lxcpath"},
    "lxc-config check d": set(),
    "lxc-device c1 ": {"add", "del"},
    "lxc-file c1 pu": {"push", "pull"},
    "lxc-attach run1 -- bas": None,
    "lxc-ls -f -F IP": {"IPV4", "IPV6"},
    "lxc-top -s ": set("ncbmsk"),
    "lxc-start --log": {"--logfile", "--logpriority"},
    "lxc-start -l D": {"DEBUG"},
    "lxc-clone -o ": {"def1", "both"},
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize("line", LINES)
def test_bash(stubs: Path, line: str) -> None:
    found = offered(stubs, line)
    wanted = LINES[line]
    assert "bash" in found if wanted is None else set(found) == wanted


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_names_are_not_run(stubs: Path, tmp_path: Path) -> None:
    """The folder of containers may be somebody else's, and a folder in it called anything."""
    mark = tmp_path / "ran"
    (stubs / "lxc-ls").write_text(f"#!/bin/sh\necho 'evil$(touch {mark})' ; echo 'evil`touch {mark}`'; echo 'evil;touch {mark}'\n")
    for line in ("lxc-start e", "lxc-start -n e", "lxc-copy -n e"):
        assert "evil\\$\\(touch\\" in offered(stubs, line)  # as a word that bash takes for itself
        assert not mark.exists()
