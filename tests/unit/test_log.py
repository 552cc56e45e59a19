# SPDX-License-Identifier: LGPL-2.1-or-later
"""The syslog sink."""

from __future__ import annotations

import syslog

import pytest

from lxctools import log


@pytest.mark.parametrize(("facility", "number"), [("daemon", syslog.LOG_DAEMON), ("local0", syslog.LOG_LOCAL0), ("local7", syslog.LOG_LOCAL7)])
def test_syslog_facility(facility: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int, int]] = []
    sent: list[tuple[int, str]] = []
    monkeypatch.setattr(syslog, "openlog", lambda ident, option, kind: opened.append((ident, option, kind)))
    monkeypatch.setattr(syslog, "syslog", lambda priority, text: sent.append((priority, text)))
    monkeypatch.setattr(log, "_state", log._State())
    log.setup("lxc-start", "c1", level=log.WARN, to_stderr=False)
    log.open_syslog(facility)
    assert opened == [("lxc-start", syslog.LOG_PID, number)]
    log.info("below the level")
    log.warn("the text")
    assert [priority for priority, _text in sent] == [syslog.LOG_WARNING]
    assert sent[0][1].startswith("c1: ") and sent[0][1].endswith(" - the text")
