# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the tests of mounts and of networks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools.linux import proc

from .box import Box
from .world import World


@pytest.fixture
def box() -> Iterator[Box]:
    folder = Path(tempfile.mkdtemp(prefix="lxcm.", dir="/var/tmp"))
    folder.chmod(0o755)
    yield Box(folder)
    mounted = [row.point for row in proc.mountinfo() if row.point.startswith(str(folder))]
    assert not mounted, "left on the host"
    shutil.rmtree(folder)


@pytest.fixture
def world() -> Iterator[World]:
    result = World()
    yield result
    result.close()
