# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tests of this folder run in a machine of their own only: see tests/vm/harness.py."""

from __future__ import annotations

import os

import pytest


def pytest_ignore_collect() -> bool | None:
    """Never collected elsewhere: they take the machine as theirs."""
    return None if os.environ.get("LXCTOOLS_GUEST") else True


@pytest.fixture(scope="session", autouse=True)
def _really_a_guest() -> None:
    assert os.path.exists("/dev/virtio-ports/output"), "these tests run in a guest: pytest tests/vm"
