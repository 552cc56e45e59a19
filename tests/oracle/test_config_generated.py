# SPDX-License-Identifier: LGPL-2.1-or-later
"""Generated configurations, old and new, and generated changes to them: C LXC 5.0.2 and we answer the same for every key."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from lxctools.config import keys, net
from lxctools.config.conf import Config
from lxctools.config.update import convert
from lxctools.errors import ConfigError

from .config_bodies import BODIES, NETWORKS, TYPES, VALUES
from .config_compare import DIFFERENT_LOADS, ask_c, c_answers, keys_of, our_answers, refused_strictly, unexplained

SEED = 20170
BIN = Path(__file__).parents[2] / "bin"
ALL = [row.name for row in keys.KEYS if row.name[-1] != "*"]
OF_NETWORKS = [f"lxc.net.{index}.{row.name}" for index in range(3) for row in net.KEYS]
SINGLE = [f"{key} = {value}" for key, values in VALUES.items() for value in values if value or key != "lxc.include"]
SINGLE += [body for body in BODIES if "\n" not in body and "\r" not in body and not set("\x00\udcff") & set(body)]
# Every load of C's would make or open these.
SINGLE = [line for line in SINGLE if not line.startswith(("lxc.log.file", "lxc.log.syslog", "lxc.net.2147483646"))]


def good(line: str) -> bool:
    return our_answers(line, []) is not None and line not in DIFFERENT_LOADS


GOOD = [line for line in SINGLE if good(line)]
NOISE = ["", "   ", "# lxc.tty.max = 9", "  #x", "free text = 1", "; lxc.bogus", "\tlxc.tty.max\t=\t7 ", 'lxc.group = "a b"']


def network(chance: random.Random, index: int) -> list[str]:
    """A few lines about one network, most of which load."""
    kind = chance.choice(TYPES)
    lines = [f"lxc.net.{index}.type = {kind}"]
    for subkey, value in chance.sample(NETWORKS, 6):
        row = net.TABLE.get(subkey)
        if row is not None and row.only in ("", kind) and subkey != "type":
            line = f"lxc.net.{index}.{subkey} = {value}"
            if chance.random() < 0.1 or our_answers("\n".join([*lines, line]), []) is not None:
                lines.append(line)
    return lines


def text(chance: random.Random) -> str:
    """A configuration; about four of five load."""
    pool = GOOD if chance.random() < 0.9 else SINGLE
    lines = [chance.choice(NOISE) if chance.random() < 0.15 else chance.choice(pool) for _ in range(chance.randint(2, 14))]
    for index in chance.sample(range(3), chance.randint(0, 3)):
        at = chance.randint(0, len(lines))
        lines[at:at] = network(chance, index)
    return chance.choice(("\n", "\n", "\n", "\r\n")).join(lines) + chance.choice(("", "\n"))


def test_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOPE_X", raising=False)
    chance = random.Random(SEED)
    bodies = [text(chance).replace("\r\n", "\n") for _ in range(400)]
    pairs = [(body, list(dict.fromkeys([*keys_of(body), *ALL, *OF_NETWORKS]))) for body in bodies]
    theirs = c_answers(tmp_path, pairs)
    left = unexplained(pairs, theirs)
    assert not left, "\n".join(left[:20])
    loaded = sum(answers is not None for answers in theirs)
    assert 200 < loaded < 390, "the texts are no mixture any more"


# -- configurations of LXC 1.0 and 2.0 ---------------------------------------------------------------------------------

OLD_LINES = [
    *("lxc.utsname = web", "lxc.utsname=a b", "lxc.tty = 4", "lxc.pts = 1024", "lxc.devttydir = lxc", "lxc.console = none"),
    *("lxc.rootfs = /srv/c1/rootfs", "lxc.rootfs = /var//lib/x", "lxc.rootfs.mount = /mnt", "lxc.rootfs.options = ro"),
    *("lxc.mount = /srv/c1/fstab", "lxc.mount.entry = tmpfs tmp tmpfs rw 0 0", "lxc.mount.auto = proc sys:ro"),
    *("lxc.id_map = u 0 100000 65536", "lxc.id_map = g 0 100000 65536", "lxc.aa_profile = unconfined", "lxc.kmsg = 0"),
    *("lxc.aa_allow_incomplete = 1", "lxc.se_context = system_u:object_r:x", "lxc.seccomp = /etc/s", "lxc.pivotdir = old"),
    *("lxc.haltsignal = SIGRTMIN+4", "lxc.rebootsignal = 2", "lxc.stopsignal = SIGKILL", "lxc.init_cmd = /bin/init a"),
    *("lxc.init_uid = 5", "lxc.init_gid = 6", "lxc.loglevel = 3", "lxc.cap.drop = kill", "lxc.cgroup.memory.max = 1G"),
    *("lxc.start.auto = 1", "lxc.group = onboot", "lxc.arch = i686", "# a comment", "", "lxc.environment = A=1"),
    *("lxc.hook.mount = /bin/x", "lxc.autodev = 0", "lxc.console.logfile = /x", "lxc.tty.max = 3", "lxc.bogus = 1", "lxc.tty = x"),
]  # fmt: skip
OLD_NETWORK = [
    *("flags = up", "link = lxcbr0", "name = eth0", "mtu = 1400", "hwaddr = 00:16:3e:00:00:01", "ipv4 = 10.0.3.5/24"),
    *("ipv4.gateway = 10.0.3.1", "ipv6 = fd00::5/64", "ipv6.gateway = auto", "script.up = /a", "script.down = /b", "bogus = 1"),
]  # fmt: skip
OF_TYPE = {"veth": "veth.pair = v0", "macvlan": "macvlan.mode = bridge", "vlan": "vlan.id = 7", "phys": "link = eth1"}


def old_text(chance: random.Random) -> str:
    """Forms in which lxc-update-config of C loses nothing: keys of networks after a type, a newline at the end."""
    weights = [1 if "bogus" in line or line.endswith("= x") else 12 for line in OLD_LINES]
    lines = chance.choices(OLD_LINES, weights, k=chance.randint(1, 9))
    for _ in range(chance.randint(0, 3)):
        kind = chance.choice(list(OF_TYPE))
        some = chance.choices(OLD_NETWORK, [12] * (len(OLD_NETWORK) - 1) + [1], k=chance.randint(0, 4))
        lines += [f"lxc.network.{line}" for line in (f"type = {kind}", *some, *([OF_TYPE[kind]] if chance.random() < 0.5 else []))]
    if chance.random() < 0.1:  # C goes on counting after it, where we begin at 0 as LXC 2.0 did
        lines.append("lxc.network =")
    return "\n".join(lines) + "\n"


def test_old_texts(tmp_path: Path) -> None:
    """Read as they are, and converted by us, they mean what C's own conversion means to C."""
    chance = random.Random(SEED)
    bodies = [old_text(chance) for _ in range(120)]
    asked = [*ALL, *OF_NETWORKS]
    lines = []
    for number, body in enumerate(bodies):
        for who in ("c", "o"):
            place = tmp_path / f"{who}{number}"
            (place / "c").mkdir(parents=True)
            config = place / "c" / "config"
            config.write_text(body if who == "c" else convert(body))
            if who == "c":
                subprocess.run(["/usr/bin/lxc-update-config", "-c", config], check=True, cwd=tmp_path)
            lines.append(json.dumps([str(place), asked]))
    answers = ask_c(lines)
    theirs, converted = answers[::2], answers[1::2]
    left = unexplained([(body, asked) for body in bodies], theirs)
    assert not left, "\n".join(left[:20])
    # A key that only lxc-update-config takes for one is refused by C in either file.
    assert converted == theirs
    assert sum(answer is not None for answer in theirs) > 60


# -- changes -----------------------------------------------------------------------------------------------------------

CHANGES = {
    "lxc.uts.name": ["a", "b c"],
    "lxc.tty.max": ["1", "x", "4"],
    "lxc.group": ["one", "two three"],
    "lxc.environment": ["A=1", "B=2"],
    "lxc.start.auto": ["1", "0", "2"],
    "lxc.rootfs.path": ["dir:/a", "/b"],
    "lxc.prlimit.nofile": ["5", "7:9"],
    "lxc.sysctl.a.b": ["1", "2"],
    "lxc.hook.mount": ["/x", "/y z"],
    "lxc.mount.entry": ["a b c d", "e"],
    "lxc.init.groups": ["1", "2,3", "x"],
    "lxc.net.0.type": ["veth", "macvlan"],
    "lxc.net.0.link": ["br0", "br1"],
    "lxc.net.0.ipv4.address": ["10.0.0.1/8", "10.0.0.2/8"],
    "lxc.signal.halt": ["SIGTERM", "9"],
    "lxc.cgroup2.memory.max": ["1G", "2G"],
    "lxc.autodev": ["1", "0"],
    "lxc.bogus": ["1"],
}
# As above less what C's removal of lines leaves behind: the type of a network (its other lines stay), lines with blanks
# before them, and the whole of a family.
START = "# head\nlxc.group = zero\nlxc.tty.max = 2\nlxc.net.0.type = veth\nlxc.net.0.link = br9\nlxc.uts.name=old\n# tail\n"


def some_changes(chance: random.Random) -> list[list[str]]:
    made = []
    for _ in range(chance.randint(1, 8)):
        key = chance.choice(list(CHANGES))
        if chance.random() < 0.3 and key != "lxc.net.0.type":
            made.append([key])
        else:
            made.append([key, chance.choice(CHANGES[key])])
    return made


def our_change(path: Path, changes: list[list[str]], asked: list[str]) -> dict[str, object]:
    conf = Config.read(str(path))
    done = []
    for key, *value in changes:
        try:
            conf.set(key, value[0]) if value else conf.clear(key)
            done.append(1)
        except ConfigError:
            done.append(0)
    conf.save(str(path))
    again = Config.read(str(path))
    return {"changes": done, **{key: again.text(key) for key in asked}}


def test_changes(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    asked = [key for key in CHANGES if key != "lxc.bogus"] + ["lxc.net", "lxc.prlimit", "lxc.cgroup2", "lxc.sysctl"]
    plans = [some_changes(chance) for _ in range(150)]
    lines = []
    for number, changes in enumerate(plans):
        place = tmp_path / str(number)
        (place / "c").mkdir(parents=True)
        (place / "c" / "config").write_text(START)
        lines.append(json.dumps([str(place), asked, changes]))
    theirs = ask_c(lines)
    for number, (changes, c) in enumerate(zip(plans, theirs, strict=True)):
        path = tmp_path / f"{number}.conf"
        path.write_text(START)
        assert our_change(path, changes, asked) == c, changes


# -- the commands ------------------------------------------------------------------------------------------------------


def test_lxc_info(lxcpath: Path) -> None:
    """The same bytes and exit code for every key whose value does not differ for a listed reason."""
    chance = random.Random(SEED)
    for number in range(40):
        body = text(chance)
        if refused_strictly(body) or any(line in DIFFERENT_LOADS for line in body.splitlines()):
            continue
        (lxcpath / "c").mkdir(exist_ok=True)
        (lxcpath / "c" / "config").write_text(body, newline="")
        asked = [*ALL, *OF_NETWORKS, "lxc.bogus", "lxc.net.9.type"]
        pairs = [(body.replace("\r\n", "\n"), asked)]
        theirs = c_answers(lxcpath / f"x{number}", pairs)
        ours = our_answers(*pairs[0])
        same = [key for key in asked if theirs[0] is None or ours is None or theirs[0][key] == ours[key]]
        assert len(same) > 120
        words = ["-P", str(lxcpath), "-n", "c", *(word for key in same for word in ("-c", key))]
        here, there = (
            subprocess.run([folder / "lxc-info", *words], capture_output=True, text=True, check=False)
            for folder in (BIN, Path("/usr/bin"))
        )
        assert (here.returncode, here.stdout) == (there.returncode, there.stdout), body
        if not here.returncode:
            # Ours adds the reason to "KEY invalid", and tells of names that are too long.
            told = [line.partition(":")[0] for line in here.stderr.splitlines() if not line.startswith("lxc-info: ")]
            assert told == there.stderr.splitlines()
