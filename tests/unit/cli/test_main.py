# SPDX-License-Identifier: LGPL-2.1-or-later
"""What main() makes of a command's end. Each case is a process of its own, as main() ends the process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
FAKE = """
import os, sys, time, types
sys.path.insert(0, {repository!r})
from lxctools.cli import _options, _out
from lxctools.errors import LxcError
fake = types.ModuleType("lxctools.cli.fake")
fake.COMMAND = _options.Command("fake", "NAME", "Does what the test wants.", {keywords})
def run(values):
    {body}
fake.run = run
sys.modules["lxctools.cli.fake"] = fake
from lxctools.cli._main import main
main("fake", ["lxc-fake", *sys.argv[1:]])
"""


def argv(body: str, *words: str | bytes, keywords: str = "") -> list[str | bytes]:
    code = FAKE.format(repository=str(REPOSITORY), body=body, keywords=keywords)
    return ["/usr/bin/python3", "-I", "-c", code, *words]


def fake(
    body: str, *words: str | bytes, keywords: str = "", env: dict[str, str] | None = None, **more: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        argv(body, *words, keywords=keywords),
        text=True,
        errors="surrogateescape",
        capture_output="stdout" not in more,
        check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | (env or {}),
        **more,
    )


@pytest.fixture
def lxcpath(tmp_path: Path) -> str:
    return str(tmp_path)


def test_exit_code_and_output(lxcpath: str) -> None:
    done = fake("_out.line(values.name + values.lxcpath); return 7", "c1", "-P", lxcpath)
    assert (done.returncode, done.stdout, done.stderr) == (7, f"c1{lxcpath}\n", "")


def test_a_relative_lxcpath_is_made_absolute(tmp_path: Path) -> None:
    done = fake("_out.line(values.lxcpath); return 0", "c1", "-P", "x/", cwd=tmp_path)
    assert done.stdout == f"{tmp_path}/x\n"


def test_an_error_is_one_line_with_its_remedy(lxcpath: str) -> None:
    done = fake('raise LxcError("it broke", remedy="mend it", exit_code=2)', "c1", "-P", lxcpath)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "lxc-fake: c1: it broke (mend it)\n")


def test_quiet_wins_over_the_log_file(lxcpath: str) -> None:
    body = 'raise LxcError("it broke")'
    log = f"{lxcpath}/sub/log"
    assert fake(body, "c1", "-P", lxcpath, "-q").stderr == ""
    done = fake(body, "c1", "-P", lxcpath, "-q", "-o", log)
    assert (done.returncode, done.stderr) == (1, "")
    line = Path(log).read_text()
    assert re.fullmatch(r"lxc-fake c1 \d{14}\.\d{3} ERROR    _main - .*:\d+ - it broke\n", line)
    assert fake(body, "c1", "-P", lxcpath, "-o", "none").stderr != ""


def test_an_oserror_names_the_path(lxcpath: str) -> None:
    done = fake('open("/nonexistent/x")', "c1", "-P", lxcpath)
    assert done.stderr == "lxc-fake: c1: No such file or directory: /nonexistent/x\n"


def test_a_bug_is_one_line_and_a_traceback_only_on_request(lxcpath: str) -> None:
    done = fake("return values.name + 1", "c1", "-P", lxcpath)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "this is a bug in lxctools: TypeError:" in done.stderr
    assert "_main.py" in done.stderr  # the last frame of ours
    done = fake("return values.name + 1", "c1", "-P", lxcpath, env={"LXCTOOLS_DEBUG": "1"})
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("error", ["SystemExit(3)", "RecursionError()", "MemoryError()", "GeneratorExit()"])
def test_whatever_is_raised_is_no_traceback(lxcpath: str, error: str) -> None:
    done = fake(f"raise {error}", "c1", "-P", lxcpath)
    assert done.returncode == 1
    assert done.stderr.startswith("lxc-fake: c1: this is a bug")


def test_log_file_that_cannot_be_made(lxcpath: str) -> None:
    for bad in ("", "/proc/nope/log"):
        done = fake("return 0", "c1", "-P", lxcpath, "-o", bad)
        assert done.returncode == 1
        assert "Failed to enable logfile" in done.stderr


def test_the_default_log_file_makes_no_folder_for_a_container(lxcpath: str) -> None:
    assert fake("return 0", "typo", "-P", lxcpath, "-l", "DEBUG").returncode == 0
    assert os.listdir(lxcpath) == []
    os.mkdir(f"{lxcpath}/c1")
    fake('from lxctools import log; log.debug("x"); return 0', "c1", "-P", lxcpath, "-l", "debug")
    assert Path(f"{lxcpath}/c1/c1.log").read_text().endswith("- x\n")


@pytest.mark.parametrize("name", ["", "a/b", ".", "..", "x" * 244, "a\nb", b"a\xff", "x" * 300])
def test_names_that_cannot_be(lxcpath: str, name: str | bytes) -> None:
    done = fake("return 0", "-n", name, "-P", lxcpath, keywords="bad_name=2")
    assert done.returncode == 2
    assert "invalid container name" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "at most 243 bytes" in done.stderr


def test_an_odd_name_that_exists_can_be_worked_on(tmp_path: Path) -> None:
    os.mkdir(bytes(tmp_path) + b"/a\xff")
    done = fake("_out.line(values.name); return 0", b"a\xff", "-P", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "a\udcff\n")
    assert fake("return 0", b"a\xff", "-P", str(tmp_path), keywords="makes=True").returncode == 1


def test_bytes_that_are_no_text_never_break_anything(lxcpath: str) -> None:
    lines = ([b"-\xff"], [b"--\xff"], [b"c1", b"\xff", b"-o", b"none"], [b"c1", b"-P", b"/\xff"], [b"c1", b"-l\xff"])
    for words in lines:
        done = fake('raise LxcError("x" + "".join(values.words))', *words)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr and "bug" not in done.stderr


def test_closed_descriptors_are_repaired(lxcpath: str) -> None:
    body = 'fd = os.open("/dev/zero", os.O_RDONLY); _out.line(str(fd)); _out.flush(); return 3 + (fd < 3)'
    command = " ".join(f"'{word}'" if i != 3 else '"$0"' for i, word in enumerate(argv(body, "c1", "-P", lxcpath)))  # type: ignore[str-bytes-safe]
    code = argv(body)[3]
    done = subprocess.run(["/bin/sh", "-c", f"{command} <&- >&- 2>&-", code], check=False)
    assert done.returncode == 3


def test_a_reader_that_has_gone(lxcpath: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = fake("_out.line('x' * 100); return 0", "c1", "-P", lxcpath, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_a_full_disk(lxcpath: str) -> None:
    with open("/dev/full", "w") as full:
        done = fake("_out.line('x'); return 0", "c1", "-P", lxcpath, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == "lxc-fake: c1: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_undoes_and_kills(tmp_path: Path, number: signal.Signals) -> None:
    mark, ready = tmp_path / "mark", tmp_path / "ready"
    body = (
        "from lxctools.undo import Undo\n"
        "    with Undo() as undo:\n"
        f"        os.mkdir({str(mark)!r}); undo(os.rmdir, {str(mark)!r}); os.mkdir({str(ready)!r})\n"
        "        time.sleep(30)"
    )
    process = subprocess.Popen(argv(body, "c1", "-P", str(tmp_path), keywords="undo=True"), stderr=subprocess.PIPE)
    while not ready.exists():
        time.sleep(0.02)
    process.send_signal(number)
    _out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (-number, b"")
    assert not mark.exists()


def test_without_undo_a_signal_kills_at_once(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    process = subprocess.Popen(
        argv(f"os.mkdir({str(mark)!r}); time.sleep(30)", "c1", "-P", str(tmp_path)), stderr=subprocess.PIPE
    )
    while not mark.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[1] == b""
    assert process.returncode == -signal.SIGINT


def test_help_is_on_stderr(lxcpath: str) -> None:
    done = fake("return 0", "-h")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("Usage: lxc-fake NAME\n\nDoes what the test wants.\n")
    assert re.fullmatch(r"[0-9]\S*\n", fake("return 0", "--version").stdout)


def test_a_signal_in_a_callback_of_the_interpreter_is_not_lost() -> None:
    program = """
import os, signal, time, weakref
from lxctools.cli import _main
from lxctools.cli._options import Command

class Thing:
    pass

def callback(_gone):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000):
        pass

_main._let_signals_undo(Command("x", "", "", undo=True))
thing = Thing()
reference = weakref.ref(thing, callback)
try:
    del thing
    time.sleep(5)
except _main.Interrupted as error:
    print("interrupted by", error.number)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, cwd=REPOSITORY, check=False)
    assert (done.stdout, done.stderr) == ("interrupted by 15\n", "")
