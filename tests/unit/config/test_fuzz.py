# SPDX-License-Identifier: LGPL-2.1-or-later
"""A short run of the fuzz harness; `make fuzz` is the long one."""

from __future__ import annotations

import tempfile

from hypothesis import HealthCheck, given, settings

from tests.fuzz import config


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(config.documents)
def test_any_text_is_read_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config.examine(data, folder)
