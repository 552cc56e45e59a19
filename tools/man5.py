# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fill the manual pages of section 5, man/*.5.in: roff in which these lines stand for what the key tables know.

    .\" @keys PREFIX...     the container keys that begin so (whole words), in the table's order; "net" for lxc.net.N.*
    .\" @system             the items of lxc.conf
    .\" @legacy             the names before LXC 2.1
    .\" @to_v2, @to_v1      the translation of cgroup limits
"""

import os

from lxctools import paths
from lxctools.cgroup import translate
from lxctools.config import keys, legacy, net, system

# Root's, whoever builds the pages; others have theirs in their home folder.
OF_ROOT = {
    paths.default_config: f"{paths.GLOBAL_DEFAULT}; for users other than root ~/.config/lxc/default.conf",
    paths.default_lxcpath: f"{paths.GLOBAL_LXCPATH}; for users other than root ~/.local/share/lxc",
}
ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def roff(text):
    """Text as roff shows it literally."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return "\\&" + text if text[:1] in (".", "'") else text


def sentences(*parts):
    return " ".join(part for part in parts if part)


def default_of(row):
    value = row.default
    if value is None or value == () or value == "" or row.type.name == "clear-only":
        return ""
    text = row.type.format(value)
    if not text:
        return ""
    return f"Default: {text.replace(paths.MULTIARCH or '?', 'ARCHITECTURE')}."


def entry(name, row):
    """One key: its value, what it does, default, unit, since, old name."""
    empty = ""
    if row.empty is keys.REFUSED:
        empty = "An empty value is refused."
    facts = sentences(
        default_of(row),
        f"Unit: {row.unit}." if row.unit else "",
        "Lines add up." if row.repeat and row.type.name != "clear-only" else "",
        f"Excludes {row.excludes}." if row.excludes else "",
        f"For networks of type {row.only} only." if row.only else "",
        empty,
        "" if row.readable else "Cannot be asked for.",
        f"Since LXC {row.since}{f', before as {row.legacy}' if row.legacy else ''}." if row.since else "",
    )
    value = "" if row.type.name == "clear-only" else f" \\fI{roff(row.type.legal)}\\fR"
    return f".TP\n\\fB{roff(name)}\\fR ={value}\n{roff(row.summary)}\n{roff(facts)}\n"


def matching(prefixes):
    """(name, row) of the keys that a list of prefixes chooses."""
    found = []
    for prefix in prefixes:
        if prefix == "net":
            found += [(f"lxc.net.N.{row.name}", row) for row in net.KEYS]
            continue
        for row in keys.KEYS:
            stem = row.name.removesuffix(".*")
            if stem == prefix or stem.startswith(prefix + ".") or row.name == prefix:
                found.append((row.name, row))
    return found


def container_keys(prefixes):
    rows = matching(prefixes)
    if not rows:
        raise SystemExit(f"no key begins with {' '.join(prefixes)}")
    return "".join(entry(name, row) for name, row in rows)


def system_keys():
    lines = []
    for row in system.ROWS:
        default = OF_ROOT.get(row.default, row.default)
        facts = sentences(f"Default: {default}." if default else "", f"Since LXC {row.since}." if row.since else "")
        lines.append(f".TP\n\\fB{roff(row.name)}\\fR =\n{roff(row.summary)}\n" + (f"{roff(facts)}\n" if facts else ""))
    return "".join(lines)


def old_names():
    rows = [(row.legacy, row.name) for row in keys.KEYS if row.legacy]
    rows += [(row.legacy, f"lxc.net.N.{row.name}") for row in net.KEYS if row.legacy]
    rows += [(name, "without meaning") for name in legacy.IGNORED]
    rows.append((legacy.BACKEND, "the type before lxc.rootfs.path"))
    return "".join(f".TP\n\\fB{roff(old)}\\fR\n{roff(new)}\n" for old, new in sorted(rows))


def translation(rows):
    lines = []
    for file, row in rows.items():
        text = sentences(f"{row.target}:" if row.target and row.how else row.target, row.how)
        lines.append(f".TP\n\\fB{roff(file)}\\fR\n{roff(text)}\n")
    return "".join(lines)


def fill(text):
    """A page from its .in file's text."""
    result = []
    for line in text.splitlines():
        command, *words = line.removeprefix('.\\" @').split() if line.startswith('.\\" @') else [""]
        if command == "keys":
            result.append(container_keys(words).rstrip("\n"))
        elif command == "system":
            result.append(system_keys().rstrip("\n"))
        elif command == "legacy":
            result.append(old_names().rstrip("\n"))
        elif command in ("to_v2", "to_v1"):
            result.append(translation(translate.TO_V2 if command == "to_v2" else translate.TO_V1).rstrip("\n"))
        elif command:
            raise SystemExit(f"unknown: {line}")
        else:
            result.append(line)
    return "\n".join(result) + "\n"


def pages():
    """(file name, text) of every page."""
    for name in sorted(os.listdir(f"{ROOT}/man")):
        if name.endswith(".5.in"):
            with open(f"{ROOT}/man/{name}", encoding="utf-8") as file:
                yield name.removesuffix(".in"), fill(file.read())
