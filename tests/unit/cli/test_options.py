# SPDX-License-Identifier: LGPL-2.1-or-later
"""The reader behaves as getopt_long(3) in C LXC; the expected texts were seen there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.cli import _options
from lxctools.cli._options import NONE, OPTIONAL, REQUIRED, BadValue, Command, Ended, Option, Values


def _even(text: str) -> int:
    if int(text) % 2:
        raise BadValue(f"{text} is odd")
    return int(text)


def _both(values: Values, text: str | None) -> None:
    values.elevated = text or "all"


COMMAND = Command(
    "info",
    "-n NAME",
    "Prints.",
    (
        Option("c", "config", REQUIRED, "keys", "a key", "append", metavar="KEY"),
        Option("i", "ips", NONE, "ips", "addresses", "count"),
        Option("s", "state", NONE, "state", "state"),
        Option("e", "elevate", OPTIONAL, "elevated", "what", "call", convert=_both),
        Option("", "nesting", OPTIONAL, "nesting", "depth", const=5, default=0, convert=int),
        Option("t", "timeout", REQUIRED, "timeout", "seconds", default=60, convert=_even),
        Option("F", "foreground", NONE, "foreground", "stay", "const", const=True, default=False),
        Option("d", "daemon", NONE, "foreground", "leave", "const", const=False, default=False),
        Option("0", "lvname", REQUIRED, "lvname", "name"),
    ),
)
NAMELESS = Command("ls", "", "Lists.", COMMAND.options, named=False, many_paths=True)


def read(*argv: str, command: Command = COMMAND, **more: object) -> Values:
    return _options.read(command, argv, environ={}, version="5.0.2", **more)  # type: ignore[arg-type]


def ended(*argv: str, command: Command = COMMAND, **more: object) -> Ended:
    with pytest.raises(Ended) as caught:
        read(*argv, command=command, **more)
    return caught.value


def first_line(*argv: str, **more: object) -> str:
    end = ended(*argv, **more)  # type: ignore[arg-type]
    assert end.code == 1
    assert end.stdout == ""
    return end.stderr.partition("\n")[0]


def test_defaults() -> None:
    values = read("c1")
    assert (values.name, values.words, values.keys, values.ips, values.state) == ("c1", [], [], 0, False)
    assert (values.timeout, values.nesting, values.elevated, values.lxcpaths) == (60, 0, None, [])
    assert values.rcfile is None and values.logfile is None and values.quiet is False


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["-n", "c1", "-s"], {"name": "c1", "state": True}),
        (["-nc1", "-si"], {"name": "c1", "state": True, "ips": 1}),
        (["-qn", "c1"], {"name": "c1", "quiet": True}),
        (["-sinc1"], {"name": "c1", "state": True, "ips": 1}),
        (["--name", "c1", "--state"], {"name": "c1", "state": True}),
        (["--name=c1", "--sta"], {"name": "c1", "state": True}),
        (["--name=", "x"], {"name": "", "words": ["x"]}),
        (["-n", "", "x"], {"name": "", "words": ["x"]}),
        (["-n", "a", "-n", "b"], {"name": "b"}),
        (["c1", "-s"], {"name": "c1", "state": True}),
        (["-s", "c1", "x", "-i", "y"], {"name": "c1", "ips": 1, "words": ["x", "y"]}),
        (["c1", "--", "-i", "--name=z"], {"name": "c1", "ips": 0, "words": ["-i", "--name=z"]}),
        (["--", "c1", "--", "x"], {"name": "c1", "words": ["--", "x"]}),
        (["c1", "echo", "-n", "hi"], {"name": "hi", "words": ["c1", "echo"]}),
        (["c1", "-"], {"name": "c1", "words": ["-"]}),
        (["c1", "-e"], {"elevated": "all"}),
        (["c1", "-eCAP"], {"elevated": "CAP"}),
        (["-e", "CAP"], {"elevated": "all", "name": "CAP"}),
        (["c1", "--elevate=CAP"], {"elevated": "CAP"}),
        (["c1", "--nesting"], {"nesting": 5}),
        (["--nesting", "2"], {"nesting": 5, "name": "2"}),
        (["c1", "--nesting=2"], {"nesting": 2}),
        (["c1", "-iii"], {"ips": 3}),
        (["c1", "-ca", "-c", "b", "--config=c"], {"keys": ["a", "b", "c"]}),
        (["c1", "-F", "-d"], {"foreground": False}),
        (["c1", "-d", "-F"], {"foreground": True}),
        (["c1", "-t4"], {"timeout": 4}),
        (["c1", "-t", "-4"], {"timeout": -4}),
        (["c1", "-0", "vol"], {"lvname": "vol"}),
        (["c1", "-P", "/a/b//"], {"lxcpaths": ["/a/b"]}),
        (["c1", "-P", "/"], {"lxcpaths": ["/"]}),
        (["c1", "-P", ""], {"lxcpaths": [""]}),
        (["-n", "c\udcff1"], {"name": "c\udcff1"}),
    ],
)
def test_accepted(argv: list[str], expected: dict[str, object]) -> None:
    values = read(*argv)
    assert {key: getattr(values, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--bogus"], "lxc-info: unrecognized option '--bogus'"),
        (["--bogus=3"], "lxc-info: unrecognized option '--bogus=3'"),
        (["-Z"], "lxc-info: invalid option -- 'Z'"),
        (["-sZ"], "lxc-info: invalid option -- 'Z'"),
        (["-s:"], "lxc-info: invalid option -- ':'"),
        (["-n"], "lxc-info: option requires an argument -- 'n'"),
        (["-sn"], "lxc-info: option requires an argument -- 'n'"),
        (["--name"], "lxc-info: option '--name' requires an argument"),
        (["--nam"], "lxc-info: option '--name' requires an argument"),
        (["--help=3"], "lxc-info: option '--help' doesn't allow an argument"),
        (["--lo"], "lxc-info: option '--lo' is ambiguous; possibilities: '--logfile' '--logpriority'"),
        (["--log=3"], "lxc-info: option '--log=3' is ambiguous; possibilities: '--logfile' '--logpriority'"),
        (["--hel"], "lxc-info: option '--hel' is ambiguous; possibilities: '--help' '--help'"),
        (["-q", "--bogus"], "lxc-info: unrecognized option '--bogus'"),
        ([], "lxc-info: No container name specified"),
        (["-s"], "lxc-info: No container name specified"),
        (["-P", "/a", "-P", "/b"], "This command only accepts 1 -P,--lxcpath arguments"),
        (["-q", "-P", "/a", "-P", "/b"], "This command only accepts 1 -P,--lxcpath arguments"),
    ],
)
def test_refused(argv: list[str], message: str) -> None:
    assert first_line(*argv) == message


def test_a_wrong_option_is_followed_by_the_help() -> None:
    assert ended("--bogus").stderr.partition("\n")[2] == _options.help_text(COMMAND)


def test_a_bad_value_says_why_and_then_what_liblxc_says() -> None:
    end = ended("c1", "-t3")
    assert end.code == 1
    assert end.stderr == "lxc-info: 3 is odd\nlxc-info: could not parse command line\n"
    assert ended("c1", "-q", "-t3").stderr == ""
    assert ended("c1", "-t3", "-q").stderr != ""


def test_quiet_before_silences_the_missing_name() -> None:
    assert ended("-q").stderr == ""


def test_the_name_typed_is_in_the_readers_messages_only() -> None:
    assert first_line("--bogus", called="./bin/x").startswith("./bin/x: ")
    assert first_line(called="./bin/x").startswith("lxc-info: ")


def test_the_end_comes_at_once() -> None:
    assert (ended("-h", "--bogus").code, ended("--help").code, ended("-?").code) == (0, 0, 1)
    assert ended("-h").stderr == _options.help_text(COMMAND)
    end = ended("--version", "--bogus")
    assert (end.code, end.stdout, end.stderr) == (0, "5.0.2\n", "")
    assert ended("--usage").stderr == _options.usage_text(COMMAND)
    assert ended("-s", "-h").values.state is True


def test_posixly_correct_stops_at_the_first_word() -> None:
    values = _options.read(COMMAND, ["-s", "c1", "-i", "-n", "x"], environ={"POSIXLY_CORRECT": ""})
    assert (values.name, values.state, values.ips, values.words) == ("c1", True, 0, ["-i", "-n", "x"])


def test_commands_without_a_name() -> None:
    values = read("x", "y", "-P", "/a", "-P", "/b/", command=NAMELESS)
    assert (values.name, values.words, values.lxcpaths) == ("", ["x", "y"], ["/a", "/b"])
    assert read("-n", "x", command=NAMELESS).name == "x"


def test_a_check_of_the_command() -> None:
    def check(values: Values) -> None:
        if not values.state:
            raise BadValue("give -s")

    command = Command("x", "", "", COMMAND.options, check=check)
    assert read("c1", "-s", command=command).state
    assert ended("c1", command=command).stderr == "lxc-x: give -s\nlxc-x: could not parse command line\n"


def test_usage_lists_the_whole_table_four_a_line() -> None:
    rows = (Option("t", "tty", REQUIRED, "tty", ""), Option("e", "escape", REQUIRED, "e", ""))
    command = Command("console", "", "", rows)
    assert _options.usage_text(command) == (
        "Usage: lxc-console [-t|--tty=TTY] [-e|--escape=ESCAPE] [-n|--name=NAME] [-h|--help] \n"
        "\t[-?|--help] [--usage] [--version] [-q|--quiet] \n"
        "\t[-o|--logfile=LOGFILE] [-l|--logpriority=LOGPRIORITY] [-P|--lxcpath=LXCPATH] [--rcfile=RCFILE] \n"
        "\t\n"
    )


@given(st.lists(st.text(alphabet="-=nsieZPc01x :é\udcff", max_size=6), max_size=6))
def test_any_line_is_read_or_refused(argv: list[str]) -> None:
    try:
        values = read(*argv)
    except Ended as end:
        assert end.code in (0, 1)
        assert end.stdout or end.stderr or "-q" in "".join(argv)
    else:
        assert isinstance(values.name, str)
        rest = list(argv)
        for word in values.words:  # words keep their order
            while rest.pop(0) != word:
                pass
