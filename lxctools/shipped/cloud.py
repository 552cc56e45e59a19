# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clone hook, and a program by itself: gives a root file system of an Ubuntu cloud image its name and cloud-init's NoCloud seed.

As a clone hook it gets the words after "--" of lxc-copy, which may be meant for another hook: options that it does not know
are told, and it goes on with its defaults. By itself it is called with options and the root file system's folder.
"""

from __future__ import annotations

import getopt
import os

from .. import files
from ..errors import LxcError, describe
from ..template.rootfs import Rootfs
from . import invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "ubuntu-cloud-prep"
_SEED = "var/lib/cloud/seed/nocloud-net"
_LOCALES = "/usr/lib/locale/locale-archive"
_MIRROR = "http://archive.ubuntu.com/ubuntu"
_SHORT = "hCi:LS:u:V:v"
_LONG = ["help", "cloud", "hostid=", "instance-id=", "nolocales", "auth-key=", "userdata=", "vendordata=", "verbose", "name=", "create-etc-init"]
_USAGE = f"""\
usage: {NAME} [OPTIONS] ROOTFS

Prepare the root file system of an Ubuntu cloud image in the folder ROOTFS.

  -C, --cloud             leave cloud-init's seed as it is
  -i, --hostid ID         the instance is lxc-ID (default: a random ID)
  -L, --nolocales         do not copy the locales of the host
  -S, --auth-key FILE     public ssh keys for the user of the image
  -u, --userdata FILE     user-data for cloud-init
  -V, --vendordata FILE   vendor-data for cloud-init
      --name NAME         host name (default: ubuntucloud-lxc)
  -v, --verbose           say what is written
  -h, --help
"""


class Wish:
    """What the options ask for; texts are those of the files they name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.hostid = ""
        self.seed = True
        self.locales = True
        self.verbose = False
        self.help = False
        self.texts: dict[str, str] = {}


def run(words: list[str], environment: Mapping[str, str], locales: str = _LOCALES) -> int:
    """Prepare it. Raises LxcError, OSError. locales: the host's archive of locales."""
    at = next((n for n in range(1, len(words) - 1) if words[n : n + 2] == ["lxc", "clone"]), 0)
    if environment.get("LXC_ROOTFS_MOUNT") and (at or environment.get("LXC_HOOK_TYPE") == "clone"):
        call = invocation.Invocation(words[at - 1 :] if at else words, environment)
        call.expect("clone")
        wish = _lenient((words[: at - 1] if at else []) + call.extra, call.name)
        path = call.variable("LXC_ROOTFS_MOUNT")
    else:
        try:
            options, rest = getopt.gnu_getopt(words, _SHORT, _LONG)
        except getopt.GetoptError as error:
            raise LxcError(str(error), remedy=f"{NAME} --help lists the options") from error
        wish = _wish(options, "ubuntucloud-lxc")
        if wish.help:
            print(_USAGE, end="")
            return 0
        if len(rest) != 1:
            raise LxcError(f"one folder is needed, {len(rest)} given", remedy=f"{NAME} --help shows the usage")
        path = rest[0]
    if not os.path.isdir(path):
        raise LxcError(f"cannot prepare {path}: no such folder")
    with Rootfs(path) as root:
        try:
            _prepare(root, wish, environment, locales)
        except OSError as error:
            raise LxcError(f"cannot prepare {path}: {describe(error)}") from error
    return 0


def _lenient(words: list[str], name: str) -> Wish:
    try:
        options, rest = getopt.gnu_getopt(words, _SHORT, _LONG)
    except getopt.GetoptError as error:
        invocation.say(NAME, f"going on without the arguments of this copy: {error}")
        options, rest = [], []
    if rest:
        invocation.say(NAME, f"not mine, ignored: {' '.join(rest)}")
    return _wish([(option, value) for option, value in options if option not in ("-h", "--help", "--name")], name)


def _wish(options: list[tuple[str, str]], name: str) -> Wish:
    wish = Wish(name)
    for option, value in options:
        match option:
            case "-h" | "--help":
                wish.help = True
            case "-C" | "--cloud":
                wish.seed = False
            case "-i" | "--hostid" | "--instance-id":
                wish.hostid = _line(option, value)
            case "-L" | "--nolocales":
                wish.locales = False
            case "-S" | "--auth-key":
                wish.texts["keys"] = _text(option, value)
            case "-u" | "--userdata":
                wish.texts["user-data"] = _text(option, value)
            case "-V" | "--vendordata":
                wish.texts["vendor-data"] = _text(option, value)
            case "--name":
                wish.name = _line(option, value)
            case "-v" | "--verbose":
                wish.verbose = True
            case _:
                pass  # --create-etc-init was for upstart
    return wish


def _line(option: str, value: str) -> str:
    if not value or not value.isprintable():
        raise LxcError(f"{option}: {value!r} is not one line of text")
    return value


def _text(option: str, path: str) -> str:
    if not os.path.isfile(path):
        raise LxcError(f"{option}: {path} is no file")
    try:
        return files.read_text(path)
    except OSError as error:
        raise LxcError(f"{option}: {describe(error)}") from error


def _prepare(root: Rootfs, wish: Wish, environment: Mapping[str, str], locales: str) -> None:
    _write(root, wish, "etc/hostname", wish.name + "\n", 0o644)
    if not wish.seed:
        return
    meta = f"instance-id: lxc-{wish.hostid or os.urandom(4).hex()}\nlocal-hostname: {wish.name}\n"
    keys = [line for line in wish.texts.get("keys", "").splitlines() if line.strip()]
    if keys:
        meta += "public-keys:\n" + "".join(f"- {key}\n" for key in keys)
    _write(root, wish, f"{_SEED}/meta-data", meta, 0o644)
    user_data = wish.texts.get("user-data")
    _write(root, wish, f"{_SEED}/user-data", _user_data(environment) if user_data is None else user_data, 0o600)
    if "vendor-data" in wish.texts:
        _write(root, wish, f"{_SEED}/vendor-data", wish.texts["vendor-data"], 0o600)
    if wish.locales:
        if os.path.isfile(locales):
            root.copy_in(locales, _LOCALES, 0o644)
        elif wish.verbose:
            invocation.say(NAME, f"no locales to copy: this host has no {locales}")


def _write(root: Rootfs, wish: Wish, path: str, text: str, mode: int) -> None:
    if wish.verbose:
        invocation.say(NAME, f"writing {path}")
    root.write(path, text, mode)


def _user_data(environment: Mapping[str, str]) -> str:
    """cloud-init's configuration for a container nobody gave another."""
    settings = [
        ("output", "{all: '| tee -a /var/log/cloud-init-output.log'}"),
        ("apt_mirror", _line("MIRROR", environment.get("MIRROR") or _MIRROR)),
        ("manage_etc_hosts", "localhost"),
        ("locale", environment.get("LANG", "")),
        ("password", "ubuntu"),
        ("chpasswd", "{ expire: false; }"),
    ]
    return "#cloud-config\n" + "".join(f"{key}: {value}\n" for key, value in settings if value and value.isprintable())


def main() -> None:
    """The hook's program."""
    invocation.main(run, NAME)
