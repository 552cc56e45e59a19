# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.template import apt
from lxctools.template.apt import Source

MAIN = ("main",)


def lines(sources: list[Source]) -> list[str]:
    return [source.line("") for source in sources]


def test_one_line_style() -> None:
    text = (
        "# deb http://commented/debian bookworm main\n"
        "deb http://a/debian/ bookworm main contrib # a word\n"
        "deb-src http://a/debian bookworm main\n"
        "deb [ arch=amd64 signed-by=/k.gpg trusted=no ] http://b/debian sid main\n"
        "deb [arch=amd64\n"
        "deb http://c/debian bookworm\n"
        "\tdeb http://d/debian bookworm-updates main\n"
    )
    found = apt.parse_list(text)
    assert [source.line() for source in found] == [
        "deb http://a/debian bookworm main contrib",
        "deb [signed-by=/k.gpg] http://b/debian sid main",
        "deb http://d/debian bookworm-updates main",
    ]


def test_deb822_style() -> None:
    text = (
        "# a comment\nTypes: deb deb-src\nURIs: http://a/debian\n  http://b/debian\nSuites: bookworm bookworm-updates\n"
        "# inside\nComponents: main\n contrib\nSigned-By: /k.gpg\n\n"
        "Types: deb\nURIs: http://off/debian\nSuites: bookworm\nComponents: main\nEnabled: no\n\n\n"
        "Types: deb\nURIs: http://c/debian\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n\n"
        "Types: deb\nURIs: http://flat/\nSuites: ./\n\n"
        "Types: deb-src\nURIs: http://src/debian\nSuites: sid\nComponents: main\n"
    )
    assert [source.line() for source in apt.parse_deb822(text)] == [
        "deb [signed-by=/k.gpg] http://a/debian bookworm main contrib",
        "deb [signed-by=/k.gpg] http://a/debian bookworm-updates main contrib",
        "deb [signed-by=/k.gpg] http://b/debian bookworm main contrib",
        "deb [signed-by=/k.gpg] http://b/debian bookworm-updates main contrib",
        "deb http://c/debian sid main",
    ]


@given(st.text())
def test_no_text_breaks_the_readers(text: str) -> None:
    for parse in (apt.parse_list, apt.parse_deb822):
        for source in parse(text):
            assert source.uri is not None and source.suite and source.components


WORD = st.text("abcdefgh0123456789.-", min_size=1, max_size=12)


@given(WORD, WORD, st.lists(WORD, min_size=1, max_size=4), st.sampled_from(["", "/usr/k.gpg"]))
def test_a_source_that_is_written_is_read_again(host: str, suite: str, components: list[str], keyring: str) -> None:
    source = Source(f"http://{host}/debian", suite, tuple(components), keyring)
    (again,) = apt.parse_list(source.line())
    assert again.line() == source.line()


def test_the_host_s_files_are_read_and_what_is_no_network_address_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (tmp_path / "sources.list").write_text("deb cdrom:[Debian]/ bookworm main\ndeb file:/srv/debian bookworm main\n")
    (folder / "b.list").write_text("deb https://b/debian bookworm main\n")
    (folder / "a.sources").write_text("Types: deb\nURIs: http://a/debian\nSuites: bookworm\nComponents: main\n")
    (folder / "c.save").write_text("deb http://c/debian bookworm main\n")
    assert [source.uri for source in apt.host_sources(str(tmp_path))] == ["http://a/debian", "https://b/debian"]
    assert apt.host_sources(str(tmp_path / "nothing")) == []


@pytest.mark.parametrize(
    ("release", "suite"),
    [("bookworm", "bookworm-security"), ("buster", "buster/updates"), ("sid", ""), ("testing", ""), ("stable", "stable-security")],
)
def test_where_the_security_updates_of_a_release_are(release: str, suite: str) -> None:
    assert apt.security_suite(release) == suite


def test_firmware_is_a_component_of_its_own_since_bookworm() -> None:
    assert apt.components("bullseye", non_free=True) == ("main", "contrib", "non-free")
    assert apt.components("bookworm", non_free=True) == ("main", "contrib", "non-free", "non-free-firmware")
    assert apt.components("bookworm", non_free=False) == MAIN


HOST = apt.parse_list(
    "deb http://near/debian bookworm main contrib\n"
    "deb http://near/debian bookworm-updates main\n"
    "deb http://near/debian-security bookworm-security main\n"
    "deb https://other.vendor/apt bookworm tools\n"
)


def test_the_host_s_own_release_comes_from_where_the_host_has_it() -> None:
    assert lines(apt.choose("bookworm", MAIN, HOST)) == [
        "deb http://near/debian bookworm main",
        "deb http://near/debian bookworm-updates main",
        "deb http://near/debian-security bookworm-security main",
    ]


def test_another_release_comes_from_the_mirrors_of_the_host() -> None:
    assert lines(apt.choose("trixie", MAIN, HOST)) == [
        "deb http://near/debian trixie main",
        "deb http://near/debian trixie-updates main",
        "deb http://near/debian-security trixie-security main",
    ]


def test_without_sources_of_debian_its_own_servers_are_asked() -> None:
    ubuntu = apt.parse_list("deb http://archive.ubuntu.com/ubuntu noble main\ndeb http://v/apt stable tools\n")
    for host in ([], ubuntu):
        assert lines(apt.choose("trixie", MAIN, host)) == [
            f"deb {apt.MIRROR} trixie main",
            f"deb {apt.MIRROR} trixie-updates main",
            f"deb {apt.SECURITY_MIRROR} trixie-security main",
        ]
    assert lines(apt.choose("sid", MAIN, [])) == [f"deb {apt.MIRROR} sid main"]


def test_a_mirror_that_was_named_is_all_that_is_asked() -> None:
    assert lines(apt.choose("bookworm", MAIN, HOST, mirror="http://mine/debian")) == ["deb http://mine/debian bookworm main"]
    assert lines(apt.choose("bookworm", MAIN, HOST, mirror="http://mine/debian", security_mirror="http://mine/sec")) == [
        "deb http://mine/debian bookworm main",
        "deb http://mine/sec bookworm-security main",
    ]
    assert lines(apt.choose("bookworm", MAIN, HOST, mirror="http://ftp.de.debian.org/debian"))[1:] == [
        "deb http://ftp.de.debian.org/debian bookworm-updates main",
        f"deb {apt.SECURITY_MIRROR} bookworm-security main",
    ]


def test_a_keyring_that_was_named_is_used_for_all() -> None:
    for source in apt.choose("bookworm", MAIN, HOST, keyring="/mine.gpg"):
        assert source.line().startswith("deb [signed-by=/mine.gpg] ")
