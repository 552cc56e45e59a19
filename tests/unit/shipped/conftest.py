# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from .hook import Box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)
