# SPDX-License-Identifier: LGPL-2.1-or-later
"""What C LXC and we answer for the same configurations, and the reasons for what differs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from lxctools.config.conf import Config
from lxctools.errors import ConfigError

ASKER = Path(__file__).with_name("config_asker.py")

Answers = dict[str, str | None] | None

# Read on every configuration.
ALWAYS = (
    "lxc.net lxc.prlimit lxc.sysctl lxc.proc lxc.cgroup2 lxc.cgroup lxc.tty.max lxc.pty.max lxc.prlimit.nofile lxc.hook.version "
    "lxc.hook.pre-start lxc.cap.drop lxc.cap.keep"
).split()

NULL = "an unset value reads as nothing, not as the text (null)"
NEWER = "a name that LXC 6 or 7 knows"
STRICT = "C takes this for another value without a word; it cannot have been meant"
OFFSET = "read back as by LXC 6 and later, with a sign allowed on every unit"
CAPS = "the list that is not in use is empty, as since LXC 6.0.6"
SHOWN = "C hides what was set"
COLON = "only the name of a storage type is cut off before the colon"
WORDS = "C finds its mount options inside of other words"
LEGACY = "old names are read with their old meaning"
PREFIX = "the prefix follows from the class of the address, not from its last octet"
STICKY = "C keeps auto and dev when an address replaces them"
CLEARED = "an emptied mode is the default, not an invalid one"

# key = value, or the whole text -> reason.
DIFFERENT_LOADS = {
    **dict.fromkeys(("lxc.arch = x32", "lxc.arch = loong64"), NEWER),
    **{
        f"lxc.init.uid = {text}": STRICT
        for text in ("4294967296", "x", "08", "1_0", "0b1", "0o7", "٣", "1e3")
    },
    "lxc.console.buffer.size = 1x": STRICT,
    "lxc.console.buffer.size = 9223372036854775807": STRICT,
    "lxc.autodev.tmpfs.size = abc": STRICT,
    "lxc.autodev.tmpfs.size = -5": STRICT,
    "lxc.hook.version = x": STRICT,
    "lxc.seccomp.allow_nesting = x": STRICT,
    "lxc.mount.auto = shmounts:": STRICT,
    "lxc.mount.auto = shmounts::/b": STRICT,
    "lxc.prlimit. = 5": STRICT,
    **{
        f"lxc.rootfs.options = {text}": WORDS
        for text in ("subdir=optional", "xcreate=dir", "norelative", "x-optional-y")
    },
    "lxc.rootfs.options = idmap=/nope": "the file is opened when the container starts, not whenever its configuration is read",
    **{f"lxc.time.offset.boot = {text}": OFFSET for text in ("1 ms", "10  s", "-1h", "-1ms", "1 us")},
    "lxc.environment = NOPE_X": "a variable that is not set is left out; C could not even list the container",
    **dict.fromkeys(("lxc.rootfs = /x", "lxc.utsname = a", "lxc.network.type = veth", "lxc.kmsg = 1"), LEGACY),
}


def reason_for(body: str, key: str, theirs: str | None) -> str:
    """Why a key reads otherwise here; "" when it should not. body: the text or a line of it that may be the reason."""
    if theirs == "(null)":
        return NULL
    if key in ("lxc.environment.runtime", "lxc.environment.hooks"):
        return NEWER
    if key.startswith("lxc.time.offset."):
        return OFFSET
    if key in ("lxc.cap.drop", "lxc.cap.keep"):
        return CAPS
    lines = body.split("\n")
    if key == "lxc.mount.auto" or (key == "lxc.seccomp.notify.proxy" and f"{key} = unix:@" in body):
        return SHOWN
    if key == "lxc.rootfs.path" and any(line.startswith(key) and ":" in line for line in lines):
        return COLON
    if key.endswith("veth.vlan.id"):
        return "an unset VLAN reads as nothing, as since LXC 6.0.4"
    if key.endswith("ipv4.address") and "10.0.3.200" in body:
        return PREFIX
    if key.startswith("lxc.net.") and any(line == f"{key[:10]}link = lo+" for line in lines):
        return "C forgets the other keys of a network when it looks for a link by its prefix"
    if key.endswith(".flags") and "down" in body:
        return STRICT
    if key.endswith(("veth.mode", "vlan.mode", "ipvlan.isolation")) and theirs == "(invalid)":
        return CLEARED
    if key.endswith(("ipv4.gateway", "ipv6.gateway")) and body.count(key) >= 2:
        return STICKY
    if key == "lxc.console.buffer.size" and any(line in (f"{key} = 1M", f"{key} = 1 M") for line in lines):
        return STRICT
    if key == "lxc.autodev.tmpfs.size" and any(line in (f"{key} = 1M", f"{key} = 2147483648") for line in lines):
        return STRICT
    if key == "lxc.proc.x" and body.count("lxc.proc.x") >= 2:
        return "several values are separated"
    if key.endswith("."):
        return "a family has no member without a name"
    if "\udcff" in body:
        return "python3-lxc cannot return what is not UTF-8"
    return ""


def refused_strictly(body: str) -> str:
    """Why a body with networks is refused here though C loads it."""
    if "fc00::1/200" in body or any(line.endswith(("vlan.id = 4095", "vlan.id = 65535")) for line in body.split("\n")):
        return STRICT
    return ""


def loads_differently(body: str) -> str:
    """Why only one of the two refuses a text."""
    if body in DIFFERENT_LOADS or refused_strictly(body):
        return DIFFERENT_LOADS.get(body) or refused_strictly(body)
    return next((DIFFERENT_LOADS[line] for line in body.split("\n") if line in DIFFERENT_LOADS), "")


def keys_of(body: str) -> list[str]:
    """The keys that a text names, and those that are read on every text."""
    named = [line.partition("=")[0].strip(" \t") for line in body.replace("\r", "\n").split("\n")]
    return list(dict.fromkeys([key for key in named if key.startswith("lxc.")] + ALWAYS))


def c_answers(folder: Path, bodies: list[tuple[str, list[str]]]) -> list[Answers]:
    """What C LXC says to each, by one process of python3-lxc."""
    lines = []
    for number, (body, asked) in enumerate(bodies):
        place = folder / str(number)
        (place / "c").mkdir(parents=True)
        (place / "c" / "config").write_bytes(body.encode("utf-8", "surrogateescape"))
        lines.append(json.dumps([str(place), asked]))
    return ask_c(lines)


def ask_c(lines: list[str]) -> list[Answers]:
    """The answers to lines for config_asker.py."""
    done = subprocess.run(
        ["/usr/bin/python3", str(ASKER)],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        timeout=120,
    )
    if done.returncode and not done.stdout:
        pytest.skip(f"needs python3-lxc: {done.stderr.strip()[-200:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def our_answers(body: str, asked: list[str]) -> Answers:
    """The same of our Config."""
    conf = Config()
    try:
        conf.load_text(body, "/c/config")
    except ConfigError:
        return None
    found: dict[str, str | None] = {}
    for key in asked:
        try:
            found[key] = conf.text(key)
        except ConfigError:
            found[key] = None
    return found


def unexplained(bodies: list[tuple[str, list[str]]], theirs: list[Answers]) -> list[str]:
    """Each difference that has no reason, as a line."""
    assert len(theirs) == len(bodies)
    found = []
    for (body, asked), c in zip(bodies, theirs, strict=True):
        ours = our_answers(body, asked)
        if c is None or ours is None:
            if (c is None) != (ours is None) and not loads_differently(body):
                found.append(f"{body!r}: {'C' if c is None else 'only we'} refused it")
            continue
        found += [
            f"{body!r}: {key} reads {ours[key]!r}, C {c[key]!r}"
            for key in asked
            if c[key] != ours[key] and not reason_for(body, key, c[key])
        ]
    return found
