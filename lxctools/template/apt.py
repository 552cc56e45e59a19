# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where Debian's packages come from: the host's own apt sources where they serve, else Debian's servers.

Both forms of sources.list(5) are read: one line a source, and deb822 stanzas.
"""

from __future__ import annotations

import os

MIRROR = "http://deb.debian.org/debian"
SECURITY_MIRROR = "http://deb.debian.org/debian-security"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Suites of Debian by every name, so that a host's source can be told from other vendors' and from Ubuntu's.
_STABLE = ("jessie", "stretch", "buster", "bullseye", "bookworm", "trixie", "forky", "duke")
ALIASES = ("stable", "oldstable", "oldoldstable")  # of releases; those of ROLLING stay what they are
_NAMES = (*_STABLE, *ALIASES, "sid", "testing", "unstable")
ROLLING = ("sid", "unstable", "testing")
_OLD_SECURITY = ("jessie", "stretch", "buster")  # their security suite is CODENAME/updates
_NO_FIRMWARE = ("jessie", "stretch", "buster", "bullseye", "oldoldstable")  # non-free-firmware came with bookworm
_NETWORK = ("http://", "https://", "ftp://")


class Source:
    """One suite of one archive: its address, the suite, components, and the keyring ("" for apt's own)."""

    __slots__ = ("components", "keyring", "suite", "uri")

    def __init__(self, uri: str, suite: str, components: tuple[str, ...], keyring: str = "") -> None:
        self.uri = uri.rstrip("/")
        self.suite = suite
        self.components = components
        self.keyring = keyring

    def __repr__(self) -> str:
        return self.line()

    def line(self, keyring: str | None = None) -> str:
        """As a line of sources.list. keyring: another one than the source's, "" for none."""
        signed = self.keyring if keyring is None else keyring
        options = f"[signed-by={signed}] " if signed else ""
        return f"deb {options}{self.uri} {self.suite} {' '.join(self.components)}"


# -- reading ------------------------------------------------------------------------------------------------------------


def parse_list(text: str) -> list[Source]:
    """The binary sources of a one-line-style file."""
    found = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        kind, _, rest = line.partition(" ")
        if kind.strip() != "deb":
            continue
        keyring = ""
        rest = rest.strip()
        if rest.startswith("["):
            options, closed, rest = rest[1:].partition("]")
            if not closed:
                continue
            for option in options.split():
                name, _, value = option.partition("=")
                if name.lower() == "signed-by":
                    keyring = value
        words = rest.split()
        if len(words) >= 3:
            found.append(Source(words[0], words[1], tuple(words[2:]), keyring))
    return found


def parse_deb822(text: str) -> list[Source]:
    """The enabled binary sources of a deb822-style file, one for each address and suite."""
    found = []
    for fields in _stanzas(text):
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        keyring = fields.get("signed-by", "")
        if not keyring.startswith("/"):
            keyring = ""  # the key itself stands there, or none
        components = tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                if components:
                    found.append(Source(uri, suite, components, keyring.split()[0] if keyring else ""))
    return found


def _stanzas(text: str) -> list[dict[str, str]]:
    stanzas: list[dict[str, str]] = [{}]
    last = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            stanzas.append({})
            last = ""
        elif line[0] in " \t":
            if last:
                stanzas[-1][last] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            last = name.strip().lower()
            stanzas[-1][last] = value.strip()
    return [stanza for stanza in stanzas if stanza]


def host_sources(folder: str = "/etc/apt") -> list[Source]:
    """What the host's apt would use, from the network; files that cannot be read are passed over."""
    names = ["sources.list"]
    try:
        names += [f"sources.list.d/{name}" for name in sorted(os.listdir(f"{folder}/sources.list.d"))]
    except OSError:
        pass
    found: list[Source] = []
    for name in names:
        parse = parse_list if name.endswith(".list") else parse_deb822 if name.endswith(".sources") else None
        if parse is None:
            continue
        try:
            with open(f"{folder}/{name}", encoding="utf-8", errors="replace") as file:
                found += parse(file.read())
        except OSError:
            continue
    return [source for source in found if source.uri.startswith(_NETWORK)]


# -- choosing -----------------------------------------------------------------------------------------------------------


def components(release: str, *, non_free: bool) -> tuple[str, ...]:
    """The components of a release's archive."""
    if not non_free:
        return ("main",)
    return ("main", "contrib", "non-free") if release in _NO_FIRMWARE else ("main", "contrib", "non-free", "non-free-firmware")


def security_suite(release: str) -> str:
    """The suite with a release's security updates; "" for one that has none of its own."""
    if release in ROLLING:
        return ""
    return f"{release}/updates" if release in _OLD_SECURITY else f"{release}-security"


def choose(
    release: str,
    wanted: tuple[str, ...],
    host: list[Source],
    *,
    mirror: str = "",
    security_mirror: str = "",
    keyring: str = "",
) -> list[Source]:
    """The sources to make a release from.

    wanted: components. mirror, security_mirror: what the user named; a mirror alone may have no security archive beside it, so
    then there is none unless it is one of Debian's own hosts. Else the host's sources of this release; else the mirrors that
    the host uses for another release of Debian; else Debian's servers.
    """
    main, security = mirror, security_mirror
    if not mirror and not security_mirror:
        suites = (release, f"{release}-updates", security_suite(release))
        mine = [source for source in host if source.suite in suites and "main" in source.components]
        if any(source.suite == release for source in mine):
            return [Source(source.uri, source.suite, wanted, keyring or source.keyring or _default_keyring()) for source in mine]
    if not main:
        main = _mirror_of(host, security=False) or MIRROR
        security = security or _mirror_of(host, security=True) or SECURITY_MIRROR
    elif not security and ".debian.org/" in main:
        security = SECURITY_MIRROR
    signed = keyring or _default_keyring()
    found = [Source(main, release, wanted, signed)]
    if release not in ROLLING and (not mirror or ".debian.org/" in mirror):
        found.append(Source(main, f"{release}-updates", wanted, signed))
    suite = security_suite(release)
    if suite and security:
        found.append(Source(security, suite, wanted, signed))
    return found


def _default_keyring() -> str:
    return KEYRING if os.path.exists(KEYRING) else ""


def _mirror_of(host: list[Source], *, security: bool) -> str:
    """The mirror that the host has its Debian from."""
    for source in host:
        name = source.suite.partition("/")[0].partition("-")[0]
        is_security = source.suite.endswith(("-security", "/updates"))
        if name in _NAMES and "main" in source.components and is_security == security:
            return source.uri
    return ""
