# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run a shipped hook as LXC does, with fake programs on PATH that write down how they were called."""

from __future__ import annotations

import subprocess
from pathlib import Path

HOOKS = Path(__file__).parents[3] / "hooks"


class Box:
    """A container's folder, and a folder of fake programs."""

    def __init__(self, top: Path) -> None:
        self.folder = top / "c1"
        self.rootfs = self.folder / "rootfs"
        self.rootfs.mkdir(parents=True)
        (self.folder / "config").touch()
        self.bin = top / "bin"
        self.bin.mkdir()

    def fake(self, name: str, body: str = "") -> Path:
        """A program that records its arguments, one a line, a blank line after each call; returns the record."""
        record = self.bin / f"{name}.log"
        script = self.bin / name
        script.write_text(f'#!/bin/sh\n{{ for word; do printf "%s\\n" "$word"; done; echo; }} >>{record}\n{body}\n')
        script.chmod(0o755)
        return record

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LXC_NAME": "c1",
            "LXC_CONFIG_FILE": str(self.folder / "config"),
            "LXC_ROOTFS_PATH": f"dir:{self.rootfs}",
            "LXC_ROOTFS_MOUNT": str(self.rootfs),
        } | more

    def run(self, hook: str, kind: str, *own: str, version: int = 0, extra: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess[str]:
        """own: the words of the configuration; extra: those that LXC adds after the type."""
        environment = self.environment(LXC_HOOK_VERSION=str(version), **more)
        words = [*own, *(("c1", "lxc", kind) if version == 0 else ()), *extra]
        if version == 1:
            environment |= {"LXC_HOOK_TYPE": kind, "LXC_HOOK_SECTION": "lxc"}
        return subprocess.run([HOOKS / hook, *words], env=environment, capture_output=True, text=True, timeout=60, check=False)


def one_line(text: str) -> bool:
    return text.count("\n") == 1 and "Traceback" not in text
