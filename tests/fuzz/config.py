# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fuzzing of the configuration language: whatever the input, the answer is a value or a ConfigError, soon and in little memory.

    make fuzz                                      ten minutes
    .venv/bin/python -m tests.fuzz.config SECONDS

A short run of the same is tests/unit/config/test_fuzz.py. A failing input is printed, and saved in fuzz-failure.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from lxctools.config import grammar, keys, legacy, net, system, update
from lxctools.config.conf import Config
from lxctools.config.peek import Peek
from lxctools.errors import ConfigError

SLOW = 5.0  # seconds that no input of this size may take
_NAMES = [
    *(row.name.replace("*", "x") for row in keys.KEYS),
    *(f"lxc.net.{number}.{row.name}" for row in net.KEYS for number in (0, 1, 10)),
    *legacy.NAMES,
    *(f"lxc.network.{name}" for name in ("type", "ipv4", "1.ipv4", "name", "veth.pair", "hwaddr", "", "x.y")),
    *("lxc.net.0", "lxc.net.", "lxc.net.-1.type", "lxc.net.99999999999.type", "lxc.", "lxc.rootfs.backend", "lxc.limit.nofile"),
]
_WORDS = [
    *("", "0", "1", "-1", "2147483648", "18446744073709551616", "0x", "0x10", "010", "1e3", "1K", "10 MB", "unlimited", "none", "auto"),
    *(word for row in keys.KEYS + net.KEYS for word in row.type.words),
    *("u 0 100000 65536", "g 0 0", "10.0.3.2/24", "10.0.3.2/33", "fc00::1/64", "::/129", "00:16:3e:xx:xx:xx", "xx", "a=b", "PATH", "="),
    *("/a//b/./c/", "../x", "overlay:/l:/u", "dir:/", "proc:mixed sys:ro", "shmounts:/a:/b", "SIGTERM", "sigrtmin+3", "5s", "-3 ms"),
    *("unix:@x", "c 1:3 rwm", "/dev/null", "/tmp/", "'", '"', "'x'", "\\", "\u0660", "\U0001f600", "a" * 70, "9" * 40),
]

_value = st.one_of(
    st.sampled_from(_WORDS),
    st.lists(st.sampled_from(_WORDS), max_size=4).map(" ".join),
    st.text(max_size=30),
    st.from_regex(r"[-+]?[0-9]{1,20}[a-zA-Z:/ .]{0,4}[0-9]{0,4}", fullmatch=True),
)
_setting = st.builds(lambda key, equals, value: (key + equals + value).encode("utf-8", "surrogatepass"),
                     st.one_of(st.sampled_from(_NAMES), st.text(max_size=12).map("lxc.".__add__)),
                     st.sampled_from([" = ", "=", "", "==", " =\t", "= \0"]), _value)  # fmt: skip
_line = st.one_of(_setting, _setting, _setting, st.binary(max_size=40), st.sampled_from([b"# x", b"", b"x = y", b"\xff\xfe", b"\0"]))
documents = st.one_of(
    st.lists(_line, max_size=25).flatmap(lambda lines: st.sampled_from([b"\n", b"\r\n", b"\r"]).map(lambda end: end.join(lines))),
    st.binary(max_size=300),
    st.builds(lambda line, times: (line + b"\n") * times, _line, st.integers(1, 300)),
)


def attempt(data: bytes, folder: str) -> None:
    """Everything that is done with a configuration's text. Raises what a user would see as a crash."""
    path = f"{folder}/config"
    Path(path).write_bytes(data)
    text = data.decode("utf-8", "surrogateescape")
    try:
        conf = Config.read(path)
    except ConfigError as error:
        str(error).encode()
        if isinstance(error, grammar.BadLine):
            error.excerpt().encode()
    else:
        _ask(conf)
        _write(conf, text)
    collected = Config()
    problems: list[ConfigError] = []
    try:
        collected.load(path, problems)
    except ConfigError:
        pass
    assert len(problems) <= grammar.MOST_PROBLEMS + 1
    _ask(collected)
    _one_by_one(text)
    Config().load_text(update.convert(text).replace("\0", ""), "converted", [])
    system.parse(text)
    try:
        Peek(frozenset(keys.TABLE)).read(path)
    except ConfigError:
        pass


def _ask(conf: Config) -> None:
    for name, row in keys.TABLE.items():
        if row.readable:
            conf.text(name).encode("utf-8", "surrogateescape")
        conf.is_set(name)
        conf[name]
    for family in keys.FAMILIES:
        conf[family]
    for one in conf.nets:
        for subkey in one.subkeys():
            conf.text(f"lxc.net.{one.index}.{subkey}")


def _write(conf: Config, text: str) -> None:
    """What was read is what is written, unless a hardware address was drawn; and it loads again."""
    written = conf.write_text()
    if "hwaddr" not in text and "lxc.include" not in text:
        assert written == text.rstrip("\0") or "\0" in text
    Config().load_text(written, "written")


def _one_by_one(text: str) -> None:
    """-s options and set_config_item: a value or a ConfigError, and after an error nothing has changed."""
    conf = Config()
    for line in grammar.split_lines(text)[:8]:
        before = conf.write_text()
        try:
            conf.define(line.rstrip("\r\n"))
        except ConfigError:
            assert conf.write_text() == before
        key = grammar.setting(line)[0]
        try:
            conf.text(key)
            conf.clear(key)
        except ConfigError:
            pass


def examine(data: bytes, folder: str) -> None:
    """attempt(), and no longer than SLOW seconds of processor time."""
    began = time.process_time()
    attempt(data, folder)
    assert time.process_time() - began < SLOW, "too slow"


def main(seconds: float) -> None:
    """Fuzz that long, with new seeds, and report; exits with the failure."""
    folder = tempfile.mkdtemp(prefix="lxcfuzz.")
    os.chdir(folder)  # what an include of a relative path may find
    sys.stderr = open(os.devnull, "w")  # messages of the program
    end = time.monotonic() + seconds
    count = 0
    slowest = 0.0
    last = b""
    memory: list[int] = []

    def one(data: bytes) -> None:
        nonlocal count, last, slowest
        if time.monotonic() > end:
            return
        last = data
        began = time.process_time()
        examine(data, folder)
        slowest = max(slowest, time.process_time() - began)
        count += 1

    try:
        while time.monotonic() < end:
            options = settings(max_examples=2000, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
                               suppress_health_check=list(HealthCheck))  # fmt: skip
            seed(random.randrange(2**32))(options(given(documents)(one)))()
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    except BaseException:
        Path("/tmp/fuzz-failure").write_bytes(last)
        print(f"failed after {count} inputs; the last one is in /tmp/fuzz-failure: {last!r}")
        raise
    grown = memory[-1] - memory[len(memory) // 3] if len(memory) > 3 else 0
    print(f"{count} inputs in {seconds:.0f} s, slowest {slowest * 1000:.0f} ms; peak {memory[-1] >> 10} MB, {grown} KB more in the last two thirds")
    assert grown < 32 << 10, "memory grows"


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0)
