# SPDX-License-Identifier: LGPL-2.1-or-later
"""A command on a container on disk that is told to end: what it has made goes, and so does what it has started."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests import host, throwaway

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
P = Path("/var/lib/lxct")


@pytest.mark.parametrize("tool", ["copy", "clone"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_copy_in_its_hook(tool: str, number: signal.Signals) -> None:
    """Everything is copied by then."""

    def story() -> bool:
        host.make_container(P, "c1", "lxc.hook.clone = /tmp/hook\n")
        Path("/tmp/hook").write_text("#!/bin/sh\necho $$ >/tmp/begun.new; mv /tmp/begun.new /tmp/begun\nexec sleep 100\n")
        os.chmod("/tmp/hook", 0o755)
        names = ["-P", P, "-n", "c1", "-N", "c2"] if tool == "copy" else ["-p", P, "c1", "c2"]
        copying = subprocess.Popen(
            [host.OURS / f"lxc-{tool}", *names], stderr=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)
        )
        assert host.wait_until(lambda: os.path.exists("/tmp/begun"))
        hook = int(Path("/tmp/begun").read_text())
        copying.send_signal(number)
        assert copying.wait(20) == -number
        assert os.listdir(P) == ["c1"]
        assert host.wait_until(lambda: not os.path.exists(f"/proc/{hook}"), 5), "it ends with what has started it"
        return True

    assert throwaway.inside(story)
