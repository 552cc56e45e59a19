# SPDX-License-Identifier: LGPL-2.1-or-later
"""The text that a configuration is saved as: the lines of its own file with the edits made since, includes unexpanded.

liblxc never writes a configuration from its parsed values, and neither do we: what the user wrote stays, comments and
order too. Each line is kept with the key that it sets, so that an edit hits exactly the lines of that key.
"""

from __future__ import annotations

import os

from ..errors import ConfigError, os_path
from .grammar import describe_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class RawText:
    """The lines, and for each the current name of the key that it sets ("" for comments, blank and foreign lines)."""

    __slots__ = ("keys", "lines")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.keys: list[str] = []

    def text(self) -> str:
        """The whole text."""
        return "".join(self.lines)

    def copy(self) -> RawText:
        """One that changes to this one do not reach."""
        other = RawText()
        other.lines, other.keys = self.lines.copy(), self.keys.copy()
        return other

    def rename(self, old: str) -> None:
        """Write the current names of the keys whose lines have a name that begins with old."""
        for at, name in enumerate(self.keys):
            if name:
                written = self.lines[at].partition("=")[0].strip(" \t")
                if written.startswith(old):
                    self.lines[at] = self.lines[at].replace(written, name, 1)

    def add(self, line: str, key: str) -> None:
        """Take over a line of a file, with its line end."""
        if self.lines and self.lines[-1][-1:] not in ("\n", "\r"):
            self.lines[-1] += "\n"
        self.lines.append(line)
        self.keys.append(key)

    def append(self, key: str, value: str, name: str = "") -> None:
        """A new last line KEY = VALUE, as liblxc writes it; name: the current name of the key."""
        self.add(f"{key} = {_quoted(value)}\n", name or key)

    def append_empty(self, key: str) -> None:
        """A new last line that clears a key, unless it is one of a single network, which need not be there by then."""
        if not key.startswith("lxc.net.") or key.count(".") == 2:
            self.add(f"{key} =\n", key)

    def put(self, key: str, value: str) -> None:
        """Give a key that holds one value its line: the last one it has is changed in place, others of it go.

        A line before an lxc.include could be overridden by it; then the new line goes to the end.
        """
        places = [at for at, name in enumerate(self.keys) if name == key]
        if places and "lxc.include" not in self.keys[places[-1] + 1 :]:
            at = places.pop()
            indent = self.lines[at][: len(self.lines[at]) - len(self.lines[at].lstrip(" \t"))]
            end = "\r\n" if self.lines[at].endswith("\r\n") else "\n"
            self.lines[at] = f"{indent}{key} = {_quoted(value)}{end}"
            self._delete(places)
            return
        self.append(key, value)

    def remove(self, wanted: Callable[[str], bool]) -> None:
        """Remove the lines of each key for which wanted(key) is true."""
        self._delete([at for at, name in enumerate(self.keys) if name and wanted(name)])

    def replace(self, wanted: Callable[[str], bool], change: Callable[[str], str]) -> None:
        """Pass the value text of each line of such a key through change(), and put what it returns in its place."""
        for at, name in enumerate(self.keys):
            if name and wanted(name):
                head, equals, tail = self.lines[at].partition("=")
                value = tail.strip(" \t\r\n")
                begin = len(tail) - len(tail.lstrip(" \t"))
                self.lines[at] = head + equals + tail[:begin] + change(value) + tail[begin + len(value) :]

    def _delete(self, places: list[int]) -> None:
        if places:
            gone = set(places)
            self.lines = [line for at, line in enumerate(self.lines) if at not in gone]
            self.keys = [name for at, name in enumerate(self.keys) if at not in gone]


def _quoted(value: str) -> str:
    """The value in quotes where a reader would take blanks or quotes off it."""
    plain = value == value.strip(" \t") and not (len(value) > 1 and value[0] in "'\"" and value[-1] == value[0])
    return value if plain else f'"{value}"'


def substitute_value(line: str, value: str) -> str:
    """The line with another value between its blanks and quotes."""
    head, equals, tail = line.partition("=")
    old = tail.strip(" \t\r\n")
    begin = len(tail) - len(tail.lstrip(" \t"))
    if len(old) > 1 and old[0] in "'\"" and old[-1] == old[0]:
        value = old[0] + value + old[-1]
    return head + equals + tail[:begin] + value + tail[begin + len(old) :]


def creation_header(template: str, arguments: list[str], sha1: str = "") -> str:
    """The comment that lxc-create puts before the configuration; template: its path.

    sha1: the line exists in builds with OpenSSL only (Debian's 5.0.2 is one without).
    """
    words = "".join([" " + argument for argument in arguments])
    checksum = f"# Template script checksum (SHA-1): {sha1}\n" if sha1 else ""
    return (
        f"# Template used to create this container: {template}\n"
        f"# Parameters passed to the template:{words}\n"
        f"{checksum}"
        "# For additional config options, please look at lxc.container.conf(5)\n"
        "\n"
        "# Uncomment the following line to support nesting containers:\n"
        "#lxc.include = /usr/share/lxc/config/nesting.conf\n"
        "# (Be aware this has security implications)\n"
        "\n"
    )


def save(path: str, text: str) -> None:
    """Write the file so that it is the old or the new one at any moment; owner, mode and a symbolic link at path stay.

    A new file gets mode 0660 less the umask, as liblxc's. Raises ConfigError.
    """
    try:
        _save(os.path.realpath(path), text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ConfigError(f'cannot write the configuration "{os_path(path)}": {describe_errno(error)}') from error


def _save(path: str, data: bytes) -> None:
    temporary = f"{os.path.dirname(path)}/.{os.path.basename(path)}.{os.getpid()}"
    try:
        old: os.stat_result | None = os.stat(path)
    except FileNotFoundError:
        old = None
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660)
    except FileExistsError:  # of a process with our number that was killed
        os.unlink(temporary)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660)
    except PermissionError:
        if old is None:
            raise
        _overwrite(path, data)  # the file may be ours in a folder that is not
        return
    try:
        try:
            if old is not None:
                if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(fd, old.st_uid, old.st_gid)
                os.fchmod(fd, old.st_mode & 0o7777)
            _write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _overwrite(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        _write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
