# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each key of each configuration reads as C LXC 5.0.2 reads it, and is refused where C refuses it; differences have a reason."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lxctools.config import keys, net
from lxctools.config.conf import Config
from lxctools.errors import ConfigError

from .config_bodies import BODIES, NETWORKS, TYPES, VALUES
from .config_compare import DIFFERENT_LOADS, c_answers, keys_of, our_answers, unexplained

SHIPPED = Path("/usr/share/lxc/config")


def test_values_and_bodies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOPE_X", raising=False)
    bodies = [f"{key} = {value}" for key, values in VALUES.items() for value in values] + BODIES
    pairs = [(body, keys_of(body)) for body in bodies]
    theirs = c_answers(tmp_path, pairs)
    left = unexplained(pairs, theirs)
    assert not left, "\n".join(left)
    loads = {body for (body, asked), c in zip(pairs, theirs, strict=True) if (c is None) != (our_answers(body, asked) is None)}
    assert loads == set(DIFFERENT_LOADS), "the list of differences is out of date"


def test_networks(tmp_path: Path) -> None:
    asked = ["lxc.net", *(f"lxc.net.0.{row.name}" for row in net.KEYS)]
    pairs = [
        (f"lxc.net.0.type = {kind}\nlxc.net.0.{subkey} = {value}".replace(". =", " ="), asked)
        for kind in TYPES
        for subkey, value in NETWORKS
    ]
    left = unexplained(pairs, c_answers(tmp_path, pairs))
    assert not left, "\n".join(left)


def test_every_key_unset(tmp_path: Path) -> None:
    asked = [row.name for row in keys.KEYS if row.name[-1] != "*"]
    asked += ["lxc.namespace.share.net", "lxc.namespace.share.", "lxc.namespace.share", "lxc.net.0", "lxc.net.", "lxc.bogus"]
    asked += [f"{family}.x" for family in keys.FAMILIES] + [f"{family}x" for family in keys.FAMILIES]
    pairs = [("", asked)]
    left = unexplained(pairs, c_answers(tmp_path, pairs))
    assert not left, "\n".join(left)


@pytest.mark.parametrize("path", sorted(SHIPPED.rglob("*.conf")), ids=lambda path: path.name)
def test_shipped_configurations(path: Path, tmp_path: Path) -> None:
    asked = [row.name for row in keys.KEYS if row.name[-1] != "*"]
    pairs = [(f"lxc.include = {path}\n", asked)]
    left = unexplained(pairs, c_answers(tmp_path, pairs))
    assert not left, "\n".join(left)


def test_get_keys(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    text = "".join(f"lxc.net.{number}.type = {kind}\n" for number, kind in enumerate(TYPES)) + "lxc.net.9.name = x\n"
    (tmp_path / "c" / "config").write_text(text)
    script = (
        "import _lxc, json, sys\n"
        "c = _lxc.Container('c', config_path=sys.argv[1])\n"
        "def ask(*base):\n"
        "    try: return c.get_keys(*base).split()\n"
        "    except Exception: return None\n"
        "print(json.dumps([ask()] + [ask(base) for base in sys.argv[2:]]))\n"
    )
    bases = [*keys.SUBKEYS, "lxc.net", "lxc.init", "lxc.log", "lxc.bogus", "lxc.net.8", "lxc.net.x", "lxc.net.0.veth"]
    bases += [f"lxc.net.{number}" for number in (*range(len(TYPES)), 9)]
    done = subprocess.run(["/usr/bin/python3", "-c", script, tmp_path, *bases], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs python3-lxc: {done.stderr.strip()[-200:]}")
    everything, *theirs = json.loads(done.stdout)
    conf = Config.read(str(tmp_path / "c" / "config"))
    newer = ["lxc.environment.runtime", "lxc.environment.hooks"]
    names = conf.keys()
    assert [key for key in names if key not in newer] == everything
    for base, answer in zip(bases, theirs, strict=True):
        try:
            ours = conf.keys(base)
        except ConfigError:
            ours = None
        assert ours == answer or base == "lxc.environment", base


