# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import pytest

from lxctools.errors import LxcError
from lxctools.shipped.invocation import Invocation

from .hook import Box, one_line

TYPED = {"squid-deb-proxy-client": "pre-start", "mountecryptfsroot": "pre-mount"}


def test_both_versions_say_the_same() -> None:
    old = Invocation(["c1", "lxc", "stop", "mnt:/x"], {"LXC_HOOK_VERSION": "0"})
    new = Invocation(["mnt:/x"], {"LXC_HOOK_VERSION": "1", "LXC_NAME": "c1", "LXC_HOOK_SECTION": "lxc", "LXC_HOOK_TYPE": "stop"})
    for call in (old, new):
        assert (call.name, call.section, call.type, call.extra) == ("c1", "lxc", "stop", ["mnt:/x"])


def test_a_clone_hook_has_no_version_variable() -> None:
    new = Invocation(["-x"], {"LXC_NAME": "c2", "LXC_HOOK_SECTION": "lxc", "LXC_HOOK_TYPE": "clone"})
    assert (new.name, new.type, new.extra) == ("c2", "clone", ["-x"])
    assert Invocation(["c2", "lxc", "clone", "-x"], {}).extra == ["-x"]


@pytest.mark.parametrize(
    ("given", "path"),
    [("dir:/a/b", "/a/b"), ("/a/b", "/a/b"), ("/a:/b", "/a:/b"), ("overlay:/a:/b", "/a:/b"), ("loop:/f", "/f")],
)
def test_the_storage_backend_is_taken_off_the_path(given: str, path: str) -> None:
    assert Invocation(["c1", "lxc", "mount"], {"LXC_ROOTFS_PATH": given}).rootfs() == path


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(LxcError, match="unknown version '7'"):
        Invocation([], {"LXC_HOOK_VERSION": "7"})


@pytest.mark.parametrize(("hook", "kind"), TYPED.items())
def test_the_wrong_type_is_one_line_with_the_right_key(box: Box, hook: str, kind: str) -> None:
    for version in (0, 1):
        result = box.run(hook, "post-stop", version=version)
        assert result.returncode == 1
        assert one_line(result.stderr) and "called as lxc.hook.post-stop" in result.stderr and f"lxc.hook.{kind}" in result.stderr
