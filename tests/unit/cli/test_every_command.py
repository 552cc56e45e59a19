# SPDX-License-Identifier: LGPL-2.1-or-later
"""What all commands have in common, by their tables: help, version, and what becomes of every option with a wrong argument."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

import pytest

from lxctools import LXC_VERSION
from lxctools.cli._options import COMMON, NONE, OPTIONAL, Command, Option

REPOSITORY = Path(__file__).parents[3]
SERVICES = {"lxc-net", "lxc-monitord", "lxc-apparmor-load"}
LAUNCHERS = sorted(path.name for path in (REPOSITORY / "bin").iterdir() if path.name not in SERVICES)
COMMANDS: dict[str, Command] = {
    launcher: importlib.import_module(f"lxctools.cli.{launcher.removeprefix('lxc-').replace('-', '_')}").COMMAND for launcher in LAUNCHERS
}
# What reads its command line in a way of its own, as in LXC.
OWN_READERS = {"lxc-config", "lxc-checkconfig", "lxc-usernsexec", "lxc-update-config", "lxc-containers", "lxc-user-nic", "lxc-unpriv-start", "lxc-unpriv-attach"}
WRONG = {"lxc-start-ephemeral": 2}  # exit status of a wrong command line, where it is not 1
NOWHERE = "/proc/nonexistent"  # where nothing can be made, either
GARBAGE = "\x01\xff?/"


def run(launcher: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [REPOSITORY / "bin" / launcher, *words],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False, cwd="/proc",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"},
    )  # fmt: skip


def no_accident(done: subprocess.CompletedProcess[bytes]) -> None:
    assert done.returncode >= 0, done
    for word in (b"Traceback", b"bug in lxctools", b"object at 0x"):
        assert word not in done.stderr + done.stdout, done


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_help_and_version(launcher: str) -> None:
    command = COMMANDS[launcher]
    done = run(launcher, "--help")
    no_accident(done)
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == 0
    assert text.lower().startswith("usage:")
    for row in command.options:
        assert (f"--{row.long}" if row.long else f"-{row.short}") in text
    done = run(launcher, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{LXC_VERSION}\n".encode(), b"")
    if command.common and launcher != "lxc-config":
        assert run(launcher, "-?").returncode == 1


def with_argument(command: Command) -> list[Option]:
    own = [row for row in command.options if row.arg != NONE]
    return own + ([row for row in COMMON if row.arg != NONE] if command.common else [])


CASES = [
    (launcher, row)
    for launcher, command in COMMANDS.items()
    for row in with_argument(command)
]  # fmt: skip


@pytest.mark.parametrize(
    ("launcher", "row"), [case for case in CASES if case[1].arg != OPTIONAL],
    ids=lambda part: part if isinstance(part, str) else part.long or part.short,
)  # fmt: skip
def test_a_missing_argument(launcher: str, row: Option) -> None:
    for word in [f"-{row.short}"] * bool(row.short) + [f"--{row.long}"] * bool(row.long):
        done = run(launcher, *["check"] * (launcher == "lxc-config"), word)
        no_accident(done)
        assert done.returncode == WRONG.get(launcher, 1)
        assert b"requires an argument" in done.stderr


def give(row: Option, text: str) -> list[str]:
    return [f"--{row.long}={text}"] if row.long else [f"-{row.short}", text]


def line(launcher: str, words: list[str], row: Option) -> list[str]:
    """A command line with these words of an option that ends by itself, and does nothing to this host."""
    command = COMMANDS[launcher]
    long = row.long
    if command.common and long != "lxcpath":
        words = ["-P", NOWHERE, *words]
    if command.named and long != "name":
        words = ["-n", "nope", *words]
    if launcher == "lxc-wait" and long != "state":
        words = [*words, "-s", "RUNNING", *(["-t", "0"] if long != "timeout" else [])]
    if launcher == "lxc-config":
        words = ["check", *words]
    if launcher == "lxc-monitor":
        words = [*words, "-Q"]  # it would wait for ever
    if launcher in ("lxc-unshare", "lxc-usernsexec"):
        words = [*words, "--", "true"]
    if launcher == "lxc-init":
        words = [*words, "--", "false"]
    return words


@pytest.mark.parametrize(("launcher", "row"), CASES, ids=lambda part: part if isinstance(part, str) else part.long or part.short)
@pytest.mark.parametrize("text", ["", GARBAGE], ids=["empty", "garbage"])
def test_an_empty_and_a_wrong_argument(launcher: str, row: Option, text: str) -> None:
    """On a container that does not exist in a folder that does not exist: nothing may come of it but one refusal."""
    done = run(launcher, *line(launcher, give(row, text), row))
    no_accident(done)
    if row.convert is not None and done.returncode == 1 and launcher != "lxc-wait":
        assert done.stderr, "a refusal without a word"
    # LXC behaviour: what is passed over (a level, a filter), and an undefined container for lxc-stop.
    allowed = {"lxc-ls": (0, 1), "lxc-wait": (0, 1), "lxc-unshare": (0, 1), "lxc-usernsexec": (0, 1, 255), "lxc-stop": (1, 2), "lxc-update-config": (0, 1), "lxc-config": (0, 1, 2)}
    assert done.returncode in allowed.get(launcher, (WRONG.get(launcher, 1),)), done


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_wrong_options(launcher: str) -> None:
    for words, message in (
        (["--no-such-option"], b"unrecognized option '--no-such-option'"),
        (["-\xff"], b"invalid option"),
        (["-Z"], b"invalid option -- 'Z'"),
    ):
        done = run(launcher, *words)
        no_accident(done)
        if launcher not in OWN_READERS:
            assert done.returncode == WRONG.get(launcher, 1) and message in done.stderr, done


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_no_argument_to_a_flag(launcher: str) -> None:
    for row in COMMANDS[launcher].options:
        if row.arg == NONE and row.long and launcher not in OWN_READERS:
            done = run(launcher, f"--{row.long}=x")
            no_accident(done)
            assert done.returncode == WRONG.get(launcher, 1)


def test_a_service_program_on_a_full_disk_keeps_its_exit_status() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([REPOSITORY / "bin" / "lxc-net"], stdout=full, stderr=subprocess.PIPE, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (2, b"lxc-net: cannot write to standard output: No space left on device\n")


@pytest.mark.parametrize("line", ["checkconfig", "config -l", "config check /etc/hostname", "ls -P {P} -f", "ls -P {P} --json", "info -P {P} c1",
                                  "snapshot -P {P} c1 -L", "autostart -P {P} -L", "top -P {P} -b -d 60", "update-config", "logs -P {P} c1"])  # fmt: skip
def test_standard_output_that_cannot_be_written(line: str, tmp_path: Path) -> None:
    (tmp_path / "c1" / "snaps" / "snap0").mkdir(parents=True)
    (tmp_path / "c1" / "console.log").write_text("booted\n")
    (tmp_path / "c1" / "config").write_text(f"lxc.start.auto = 1\nlxc.console.logfile = {tmp_path}/c1/console.log\n")
    (tmp_path / "c1" / "snaps" / "snap0" / "config").touch()
    command, *words = line.format(P=tmp_path).split()
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [REPOSITORY / "bin" / f"lxc-{command}", *words], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=20, check=False
        )
    assert done.returncode == 1 and b"cannot write to standard output: No space left on device" in done.stderr, done
    assert done.stderr.count(b"\n") == 1
