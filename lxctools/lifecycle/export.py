# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-export: a container as one file, a tar compressed by zstd.

    lxc-export              what is in it: see Manifest
    config                  the container's own configuration, as it is
    files/...               files of the container's folder that the configuration names: hooks, fstab
    snaps/NAME/config, ts, comment          of each snapshot, on request
    rootfs/...              the root file system, whole, whatever storage it lay on
    snaps/NAME/rootfs/...   that of each snapshot
    lxc-export.sha256       the checksum of everything before it, and the number of members

Ids are those that the container's storage has; the manifest tells by which map they are to be understood.
"""

from __future__ import annotations

import errno
import json
import os
import stat

from .. import LXC_VERSION, files, locks, log, process
from ..config.conf import Config
from ..errors import LxcError, describe
from ..idmap.userns import run_in_userns
from ..linux.rename import rename_new
from ..progress import Progress
from ..storage import backend as storage
from ..storage import place
from ..storage.archive import Sink
from ..storage.archive_write import TreeWriter
from ..storage.clone import used
from ..storage.tree_source import opened
from .copy import Source
from .folder import CONFIG
from .snapshot import snapshots as list_snapshots
from .steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from ..idmap.ranges import IdMap

MANIFEST, CHECKSUM, ROOTFS, FILES, SNAPS = "lxc-export", "lxc-export.sha256", "rootfs", "files", "snaps"
FORMAT = 1
LARGEST_TEXT = 4 << 20  # bytes of a manifest or a configuration
SNAPSHOT_FILES = (CONFIG, "ts", "comment")
STDIO = "-"
_BUFFER = 1 << 20
_SIGPIPE = 13
_MOST_TOLD = 10


def compressor(*words: str) -> list[str]:
    """The command line of zstd(1). Raises LxcError when it is missing."""
    program = process.find("zstd")
    if program is None:
        raise LxcError("cannot compress the archive: zstd is missing", remedy="install the package zstd")
    return [program, "-q", "-c", *words]


class Filter:
    """`with Filter(...) as unpacker:` zstd(1) between a pipe of ours and a file. file: our end, a descriptor."""

    __slots__ = ("_errors", "_packs", "_pid", "file")

    def __init__(self, argv: Sequence[str], other: int, *, packs: bool) -> None:
        """other: the compressed side. packs: we write what it compresses; else we read what it has unpacked. Raises LxcError."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        errors, theirs = os.pipe2(os.O_CLOEXEC)
        self.file, end = (writer, reader) if packs else (reader, writer)
        self._packs = packs
        self._errors = errors
        self._pid = -1
        try:
            ends = (end, other) if packs else (other, end)
            self._pid = process.spawn(argv, stdin=ends[0], stdout=ends[1], stderr=theirs, setsid=True)  # ^C is for us
        except BaseException:
            os.close(self.file)
            os.close(errors)
            raise
        finally:
            os.close(end)
            os.close(theirs)

    def __enter__(self) -> Filter:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._pid > 0:
            os.kill(self._pid, 9)
            self.close()

    def close(self) -> str:
        """Wait for its end; returns why it failed, "" when it did not, or when we did not listen to the end."""
        if self._pid < 0:
            return ""
        os.close(self.file)
        said = b""
        while part := os.read(self._errors, 4096):
            said = (said + part)[:4096]
        os.close(self._errors)
        pid, self._pid = self._pid, -1
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == -_SIGPIPE and not self._packs:
            return ""
        return process.Result(["zstd"], status, said).why() if status else ""


class Wishes:
    """How to export."""

    __slots__ = ("allow_running", "force", "quiet", "snapshots")

    def __init__(self, *, snapshots: bool = False, allow_running: bool = False, force: bool = False, quiet: bool = False) -> None:
        """force: replace a file that is there."""
        self.snapshots = snapshots
        self.allow_running = allow_running
        self.force = force
        self.quiet = quiet


def export(source: Source, target: str, wishes: Wishes) -> None:
    """Write a container to the file target, "-" for standard output. Raises LxcError; then there is no new file."""
    if not wishes.allow_running:
        source.refuse_running()
    argv = compressor("-T0", "--check")
    if target == STDIO:
        _refuse_terminal(1)
        _pack(source, argv, 1, "standard output", wishes)
        return
    if os.path.isdir(target) or not target:
        raise LxcError(f'cannot write "{target}": it is {"a folder" if target else "no name"}', remedy="name a file in a folder that is there")
    if os.path.lexists(target) and not wishes.force:
        raise LxcError(f"cannot write {target}: it is there already", remedy="name another file, or replace it with -f")
    if os.path.exists(target) and not os.path.isfile(target):
        _pour(source, argv, target, wishes)
        return
    final = os.path.realpath(target)  # a link stays one, as for a shell's >
    temporary = f"{final}.{os.getpid()}.new"
    try:
        fd, named = _new_file(temporary)
    except OSError as error:
        raise LxcError(f"cannot write {target}: {error.strerror}") from error
    try:
        try:
            _pack(source, argv, fd, target, wishes)
            step("put the archive in place")
            os.fsync(fd)
            if not named:
                # linkat(2), which follows the link in /proc: os.link() calls it when there is a descriptor
                os.link(f"/proc/self/fd/{fd}", temporary if wishes.force else final, src_dir_fd=fd, follow_symlinks=True)
        finally:
            os.close(fd)
        if wishes.force:
            os.rename(temporary, final)
        elif named:
            rename_new(temporary, final)
    except OSError as error:
        files.unlink_quietly(temporary)
        raise LxcError(f"cannot write {target}: {describe(error)}") from error
    except BaseException:
        files.unlink_quietly(temporary)
        raise


def _new_file(temporary: str) -> tuple[int, bool]:
    """A file to write, and whether it has this name: where the file system can, it has none yet, and a kill -9 leaves nothing."""
    try:
        return os.open(os.path.dirname(temporary) or ".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), False
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    return files.create_new(temporary, 0o600), True


def _pour(source: Source, argv: Sequence[str], target: str, wishes: Wishes) -> None:
    """Write into what is there and is no regular file: a pipe, a tape; a file in its place would take it away. Raises LxcError."""
    try:
        fd = os.open(target, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise LxcError(f"cannot write {target}: {describe(error)}") from error
    try:
        _refuse_terminal(fd)
        _pack(source, argv, fd, target, wishes)
    finally:
        os.close(fd)


def _refuse_terminal(fd: int) -> None:
    if os.isatty(fd):
        raise LxcError("refusing to write an archive to a terminal", remedy="name a file, or pipe it into a program")


def as_its_root(maps: Sequence[IdMap]) -> bool:
    """Whether files of a container with these maps are to be reached as its root: by a caller who is not the host's."""
    return bool(maps) and os.geteuid() != 0


def _pack(source: Source, argv: Sequence[str], fd: int, shown: str, wishes: Wishes) -> None:
    """Write the archive through zstd. Raises LxcError."""
    failure = ""
    with Filter(argv, fd, packs=True) as packer, locks.ContainerLock(source.lxcpath, source.name):
        if not wishes.allow_running:
            source.refuse_running()  # it may have been started meanwhile
        source.read()
        maps = source.conf["lxc.idmap"]
        try:
            if as_its_root(maps):
                run_in_userns(maps, _write, source, packer.file, wishes, ())
            else:
                _write(source, packer.file, wishes, maps)
        except OSError as error:
            failure = describe(error)
        failure = packer.close() or failure
    if failure:
        remedy = "make room on its file system" if "No space" in failure else ""
        raise LxcError(f"cannot write {shown}: {failure}", remedy=remedy)


def _write(source: Source, fd: int, wishes: Wishes, maps: Sequence[IdMap]) -> None:
    """Write the members. maps: by which the ids that are seen here are to be understood. Raises LxcError, OSError."""
    conf = source.conf
    chosen = list_snapshots(source.name, source.lxcpath) if wishes.snapshots else []
    with (
        open(os.dup(fd), "wb", buffering=_BUFFER) as file,
        Progress(f"exporting {source.name}", quiet=wishes.quiet, in_bytes=True) as progress,
    ):
        sink = Sink(file)
        size = _size(conf)
        progress.expect(size)
        manifest = {
            "format": FORMAT,
            "made_by": f"lxctools, LXC {LXC_VERSION}",
            "name": source.name,
            "folder": source.folder,
            "size": size,
            "idmap": [str(row) for row in maps],
            "snapshots": [entry.name for entry in chosen],
        }
        sink.small(MANIFEST, json.dumps(manifest, indent=1).encode())
        sink.small(CONFIG, conf.write_text().encode("utf-8", "surrogateescape"))
        for name in _named_files(conf, source.folder):
            sink.small(f"{FILES}/{name}", _content(f"{source.folder}/{name}"))
        for entry in chosen:
            for name in SNAPSHOT_FILES:
                if os.path.isfile(f"{entry.folder}/{entry.name}/{name}"):
                    sink.small(f"{SNAPS}/{entry.name}/{name}", _content(f"{entry.folder}/{entry.name}/{name}"))
        _tree(sink, conf, ROOTFS, progress)
        for entry in chosen:
            _tree(sink, Config.read(f"{entry.folder}/{entry.name}/{CONFIG}"), f"{SNAPS}/{entry.name}/{ROOTFS}", progress)
        step("write the checksum")
        sink.end(CHECKSUM)


def _opened(conf: Config) -> place.Place:
    """The root file system of a configuration that has one. Raises LxcError."""
    path = str.__str__(conf["lxc.rootfs.path"])
    module = storage.for_config(conf)
    if not module.exists(path):
        raise LxcError(f"the root file system {path} does not exist", remedy="check lxc.rootfs.path")
    return place.opened(module, path, conf["lxc.rootfs.options"], read_only=True)


def _size(conf: Config) -> int:
    """Bytes that the root file system takes: whoever imports it into a file system of its own must know first."""
    if not conf["lxc.rootfs.path"]:
        return 0
    with _opened(conf) as folder:
        return used(folder.path)


def _tree(sink: Sink, conf: Config, name: str, progress: Progress) -> None:
    """Write the root file system of a configuration, if it has one."""
    path = str.__str__(conf["lxc.rootfs.path"])
    if not path:
        return
    step(f"write {name}")
    with _opened(conf) as folder:
        tree = opened(folder.path)
        tree.shown = path
        try:
            writer = TreeWriter(sink, tree, name, _beat(progress, progress.count))
            writer.run()
        finally:
            tree.close()
    for gone in writer.vanished[:_MOST_TOLD]:
        log.warn(f"{path}/{gone} vanished while it was exported")


def _beat(progress: Progress, before: int) -> Callable[[int], None]:
    def beat(done: int) -> None:
        step("exporting")
        progress.reached(before + done)

    return beat


def _named_files(conf: Config, folder: str) -> list[str]:
    """Regular files in the container's folder, outside of its root file systems, that the configuration names."""
    words = [line.partition(" ")[0] for line in hooks_of(conf)] + [conf["lxc.mount.fstab"] or ""]
    found = []
    for word in words:
        name = word[len(folder) + 1 :] if word.startswith(f"{folder}/") else ""
        if not name or name in found or name != os.path.normpath(name) or name.split("/")[0] in (ROOTFS, SNAPS, CONFIG):
            continue
        try:
            if stat.S_ISREG(os.lstat(word).st_mode):
                found.append(name)
        except OSError:
            continue  # the start will tell
    return found


def hooks_of(conf: Config) -> list[str]:
    """The values of the hooks in a container's own configuration."""
    values: list[str] = []

    def keep(value: str) -> str:
        values.append(value)
        return value

    conf.raw.copy().replace(lambda key: key.startswith("lxc.hook."), keep)
    return values


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_TEXT + 1)
    except OSError as error:
        raise LxcError(f"cannot read {path}: {describe(error)}") from error
    if len(data) > LARGEST_TEXT:
        raise LxcError(f"cannot export {path}: it has more than {LARGEST_TEXT} bytes")
    return data
