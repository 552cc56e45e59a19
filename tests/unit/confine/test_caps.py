# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc.cap.drop, lxc.cap.keep, and the bounding set of an attached program."""

from __future__ import annotations

import pytest

from lxctools.config.conf import Config
from lxctools.confine import caps
from lxctools.errors import LxcError
from lxctools.linux import caps as kernel
from lxctools.linux import prctl
from tests.forked import forked


def config(*lines: str) -> Config:
    conf = Config()
    for line in lines:
        conf.load_line(line)
    return conf


def test_nothing_is_dropped_by_default() -> None:
    assert caps.to_drop(config()) == []


def test_drop_takes_names_and_numbers_and_accumulates() -> None:
    conf = config("lxc.cap.drop = sys_module 25", "lxc.cap.drop = chown 0x10")
    assert caps.to_drop(conf) == [0, 16, 25]


def test_keep_drops_all_others() -> None:
    dropped = caps.to_drop(config("lxc.cap.keep = chown net_admin"))
    assert dropped == [number for number in range(kernel.last_cap() + 1) if number not in (0, 12)]


def test_keep_none_drops_everything() -> None:
    assert caps.to_drop(config("lxc.cap.keep = none")) == list(range(kernel.last_cap() + 1))


@pytest.mark.parametrize(
    ("line", "kept"),
    [("", True), ("lxc.cap.drop = net_admin", False), ("lxc.cap.keep = chown", False), ("lxc.cap.keep = 12", True)],
)
def test_keeps(line: str, kept: bool) -> None:
    assert caps.keeps(config(*[line] if line else []), caps.NET_ADMIN) is kept


def test_missing_is_what_a_mask_lacks() -> None:
    everything = (1 << (kernel.last_cap() + 1)) - 1
    assert caps.missing(everything) == []
    assert caps.missing(everything & ~(1 << 21)) == [caps.SYS_ADMIN]


@pytest.mark.root
def test_dropped_for_good() -> None:
    def child() -> list[bool]:
        caps.drop([25, 22])
        return [prctl.capbset_read(number) for number in (22, 23, 25)]

    assert forked(child) == [False, True, False]


@pytest.mark.root
def test_a_capability_that_the_kernel_lacks_is_named() -> None:
    def child() -> str:
        try:
            caps.drop([63])
        except LxcError as error:
            return error.message
        return ""

    assert "63" in forked(child)
