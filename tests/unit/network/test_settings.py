# SPDX-License-Identifier: LGPL-2.1-or-later
"""The settings files of lxc-net: what is read without a shell is what a shell would have read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.errors import LxcError
from lxctools.network import settings
from lxctools.network.settings import DEFAULTS, Settings, read, record, update

PLAIN = [
    "",
    "# nothing\n\n   \n",
    "LXC_BRIDGE=br7\n",
    "LXC_BRIDGE=br7",
    'LXC_BRIDGE="br7" # the bridge\nLXC_DOMAIN=lxc#no\n',
    "LXC_DOMAIN='a b'\"c\"d\\ e\n",
    'LXC_DOMAIN="a\\"b\\$c\\\\d\\e"\n',
    'LXC_DOMAIN="two\nlines"\n',
    "LXC_DOMAIN=long\\\ner\n",
    'LXC_DOMAIN="long\\\ner"\n',
    "export LXC_BRIDGE=br1 LXC_DOMAIN=x; LXC_ADDR=10.9.0.1\n",
    'NET=10.9.0\nLXC_ADDR="$NET.1"\nLXC_NETWORK=${NET}.0/24\nLXC_DHCP_RANGE="${NET}.2,${OTHER:-10.9.0.9}"\n',
    "LXC_DOMAIN=a\nLXC_DOMAIN=$LXC_DOMAIN.b\n",
    'LXC_DOMAIN=\nLXC_BRIDGE="${LXC_DOMAIN:-br5}"\n',
    "[ ! -f {other} ] || . {other}\n",
    "[ -f {other} ] && . {other}\nLXC_DOMAIN=after\n",
    "test -e {other} && . {other}\n",
    "[ -r {missing} ] && . {missing}\nLXC_DOMAIN=after\n",
    "[ ! -f {missing} ] || . {missing}\n",
    ". {other}\nLXC_BRIDGE=last\n",
    "LXC_DOMAIN=a;LXC_BRIDGE=b;;\n".replace(";;", ";"),
]


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_file_is_read_as_by_a_shell(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").write_text("LXC_BRIDGE='from other'\nLXC_DOMAIN=other\n")
    path = tmp_path / "lxc"
    path.write_text(text.replace("{other}", str(tmp_path / "other")).replace("{missing}", str(tmp_path / "missing")))
    expected = settings._ask_shell(str(path), dict(DEFAULTS))
    monkeypatch.setattr(settings, "_ask_shell", lambda *_: pytest.fail("a shell was asked"))
    assert read(str(path), str(tmp_path / "none")) == expected


PROGRAMS = [
    "if true; then LXC_BRIDGE=br3; fi\n",
    "LXC_BRIDGE=$(echo br3)\n",
    "LXC_BRIDGE=`echo br3`\n",
    'LXC_BRIDGE="$(printf br3)"\n',
    "setup() { LXC_BRIDGE=br3; }\nsetup\n",
    "[ -n x ] && LXC_BRIDGE=br3\n",
    "case x in x) LXC_BRIDGE=br3;; esac\n",
    "echo noise; echo noise >&2; LXC_BRIDGE=br3\n",
    "N=3\nLXC_BRIDGE=br${N%x}\n",
]


@pytest.mark.parametrize("text", PROGRAMS)
def test_a_program_is_given_to_the_shell(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lxc"
    path.write_text(text)
    assert read(str(path), str(tmp_path / "none")) == DEFAULTS | {"LXC_BRIDGE": "br3"}


@pytest.mark.parametrize("text", ["if\n", "LXC_BRIDGE='open\n", "exit 3\n", ". /nonexistent/file\n", "LXC_BRIDGE=$(exit\n"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lxc"
    path.write_text(text)
    with pytest.raises(LxcError, match=str(path)) as caught:
        read(str(path), str(tmp_path / "none"))
    assert caught.value.remedy == f"try: sh -n {path}"


def test_a_file_that_sources_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "lxc"
    path.write_text(f". {path}\n")
    with pytest.raises(LxcError, match=str(path)):
        read(str(path), str(tmp_path / "none"))


def test_the_second_file_is_read_unless_the_first_does(tmp_path: Path) -> None:
    first, second = tmp_path / "lxc", tmp_path / "lxc-net"
    second.write_text("USE_LXC_BRIDGE=true\nLXC_BRIDGE=second\n")
    assert read(str(first), str(second))["LXC_BRIDGE"] == "second"
    first.write_text("USE_LXC_BRIDGE=false\n")
    assert read(str(first), str(second))["USE_LXC_BRIDGE"] == "true"
    first.write_text(f"[ ! -f {second} ] || . {second}\nUSE_LXC_BRIDGE=false\nLXC_AUTO=true\n")
    values = read(str(first), str(second))
    assert (values["USE_LXC_BRIDGE"], values["LXC_BRIDGE"]) == ("false", "second")
    assert set(values) == set(DEFAULTS)


def test_the_environment_has_no_say_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LXC_BRIDGE", "env")
    monkeypatch.setenv("SITE", "s1")
    path = tmp_path / "lxc"
    path.write_text('LXC_DOMAIN="$SITE"\n')
    values = read(str(path), str(tmp_path / "none"))
    assert (values["LXC_BRIDGE"], values["LXC_DOMAIN"]) == ("lxcbr0", "s1")
    path.write_text('LXC_DOMAIN="$(echo $SITE)"\n')
    values = read(str(path), str(tmp_path / "none"))
    assert (values["LXC_BRIDGE"], values["LXC_DOMAIN"]) == ("lxcbr0", "s1")


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",))))
def test_any_value_survives_record_and_update(value: str) -> None:
    before = DEFAULTS | {"LXC_DOMAIN": value}
    after = dict(DEFAULTS)
    update(after, record(before))
    assert after == before


@given(st.text())
def test_any_text_is_commands_or_a_program(text: str) -> None:
    values = dict(DEFAULTS)
    update(values, text)
    assert set(values) == set(DEFAULTS)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("LXC_BRIDGE", "", "1 to 15 bytes"),
        ("LXC_BRIDGE", "a234567890123456", "1 to 15 bytes"),
        ("LXC_BRIDGE", 'b" accept', "a character"),
        ("LXC_BRIDGE", "a/b", "a character"),
        ("LXC_BRIDGE", "..", "not a name"),
        ("LXC_BRIDGE", "lo", "not a name"),
        ("LXC_BRIDGE_MAC", "00:16:3e", "not a hardware address"),
        ("LXC_ADDR", "10.0.3", "10.0.3"),
        ("LXC_NETMASK", "255.0.255.0", "255.0.255.0"),
        ("LXC_NETWORK", "10.0.3.0/24; flush ruleset", "10.0.3.0/24"),
    ],
)
def test_a_wrong_value_names_its_variable(name: str, value: str, why: str) -> None:
    with pytest.raises(LxcError) as caught:
        Settings(DEFAULTS | {name: value})
    assert name in caught.value.message
    assert why in caught.value.message
    assert "/etc/default/lxc-net" in caught.value.remedy


def test_ipv6_needs_all_three_variables() -> None:
    three = {"LXC_IPV6_ADDR": "fd00::1", "LXC_IPV6_MASK": "64", "LXC_IPV6_NETWORK": "fd00::/64", "LXC_IPV6_NAT": "true"}
    for missing in ("LXC_IPV6_ADDR", "LXC_IPV6_MASK", "LXC_IPV6_NETWORK"):
        assert Settings(DEFAULTS | three | {missing: ""}).ipv6 is None
    full = Settings(DEFAULTS | three)
    assert (str(full.ipv6), str(full.ipv6_network), full.ipv6_nat) == ("fd00::1/64", "fd00::/64", True)
    assert Settings(DEFAULTS | three | {"LXC_IPV6_ENABLE": "false"}).ipv6 is None
    with pytest.raises(LxcError, match="LXC_IPV6_ADDR"):
        Settings(DEFAULTS | three | {"LXC_IPV6_MASK": "wide"})


def test_variables_that_do_not_fit_are_doubted() -> None:
    assert Settings(dict(DEFAULTS)).doubts() == []
    only_address = Settings(DEFAULTS | {"LXC_ADDR": "10.9.0.1"})
    assert [doubt.partition("=")[0].partition(":")[0] for doubt in only_address.doubts()] == [
        "LXC_NETWORK",
        "LXC_DHCP_RANGE",
        "LXC_DHCP_RANGE",
    ]
