# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-unpriv-start and lxc-unpriv-attach: what systemd-run is called with, and the refusal without a systemd of the user's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

BIN = Path(__file__).parents[3] / "bin"
# In a mount namespace of its own: /run and the first folder that programs are looked up in are ours.
WORLD = r"""
mount -t tmpfs none /run && mount -t tmpfs none /usr/local/sbin || exit 99
cat >/usr/local/sbin/systemd-run <<'END'
#!/bin/sh
echo "$XDG_RUNTIME_DIR $DBUS_SESSION_BUS_ADDRESS"
printf '[%s]' "$@"
grep SigIgn /proc/self/status
exit 7
END
chmod 755 /usr/local/sbin/systemd-run
[ "$1" = without ] || mkdir -p "/run/user/$2/systemd" && [ "$1" = without ] || : >"/run/user/$2/systemd/private"
shift 2
exec "$@"
"""


def run(user: str, uid: int, *words: str) -> subprocess.CompletedProcess[str]:
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", WORLD, "sh", user, str(uid), *drop, *words],
        capture_output=True, text=True, check=False, timeout=20, stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "XDG_RUNTIME_DIR": "/run/user/4711"},
    )  # fmt: skip


@pytest.mark.root
@pytest.mark.parametrize("what", ["start", "attach"])
@pytest.mark.parametrize("uid", [0, 65534])
def test_a_scope_of_the_users(what: str, uid: int) -> None:
    done = run("with", uid, str(BIN / f"lxc-unpriv-{what}"), "-n", "c1", "--", "a b", "--help")
    assert done.returncode == 7, done
    place, line = done.stdout.splitlines()[:2]
    assert place == f"/run/user/{uid} unix:path=/run/user/{uid}/bus"
    assert line.startswith(f"[--user][--scope][--quiet][-p][Delegate=yes][--][{BIN}/lxc-{what}][-n][c1][--][a b][--help]")
    assert line.endswith("SigIgn:\t0000000000000000")


@pytest.mark.root
def test_without_a_systemd_of_the_users() -> None:
    done = run("without", 65534, str(BIN / "lxc-unpriv-start"), "c1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("lxc-unpriv-start: cannot run lxc-start in a scope of the user's: no systemd of this user runs")
    assert "loginctl enable-linger" in done.stderr
