# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine that is installed, shut down with containers running, and booted again: tests/vm/guest/test_services.py after a real boot."""

from __future__ import annotations

import pytest

from .harness import Ended, boot

TIMEOUT = 2400.0
_FIRST = "from tests.vm.guest import installation, test_services; installation.set_up(); test_services.make_following(); installation.BOOTED.touch()"
# The second time, the machine's disk is as the first left it.
_COMMAND = f"""
if [ ! -e /var/lib/lxctools-tests/booted ]; then
    /usr/bin/python3 -c '{_FIRST}' || exit 90
    systemctl start lxc || exit 91
    systemctl reboot || exit 92
    sleep 600
    exit 93
fi
/usr/bin/python3 -m pytest -p no:cacheprovider -q tests/vm/guest/test_services.py
"""


@pytest.fixture
def ended() -> Ended:
    """How the machine ended: it has its own limit of time, not that of a test."""
    return boot(_COMMAND, timeout=TIMEOUT, reboots=True)


def test_services_after_a_boot(ended: Ended) -> None:
    assert ended.status == 0, ended.output[-6000:]
