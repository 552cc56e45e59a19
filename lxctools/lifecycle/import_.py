# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-import: a container out of an archive of lxc-export, in one transaction.

    manifest and configuration read and understood
    LXCPATH/NAME made, `partial` in it locked
    root file system and snapshots unpacked
    checksum compared                             nothing was visible until here
    configurations written
    `partial` removed

The archive may be anybody's. Whatever its members are called, nothing is made outside of the new container's folder; but its
configuration may name hooks, which run on the host when the container starts: they are told.
"""

from __future__ import annotations

import json
import os
import stat

from .. import files, log, paths
from ..config.conf import Config
from ..errors import LxcError, describe
from ..idmap import ranges
from ..idmap.ranges import IdMap
from ..idmap.userns import run_in_userns
from ..progress import Progress
from ..storage import backend as storage
from ..storage import place
from ..storage.archive import Damaged, Member, Stream, shown
from ..storage.archive_read import TreeReader, below
from ..storage.best import refuse_unprivileged
from ..storage.clone import room_for
from ..storage.tree_meta import shift_of
from ..undo import Undo, held
from .copyconf import Move, rewrite
from .export import CHECKSUM, FILES, FORMAT, LARGEST_TEXT, MANIFEST, ROOTFS, SNAPS, SNAPSHOT_FILES, STDIO, Filter, as_its_root, compressor, hooks_of
from .folder import CONFIG, MARK
from .recover import settle
from .reserve import intend, make_parents, refuse_existing, reserve, watch
from .snapshot import place as snapshots_folder
from .steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

    from .. import locks

_BUFFER = 1 << 20
_MOST_FILES = 1000
_LARGEST = 1 << 60  # bytes of a root file system
_MOST_TOLD = 10
_TAKEN = (CONFIG, MARK, ROOTFS, SNAPS, "lxc_snapshots", "lxc_rdepends", "rootfs.kept")  # names in a container's folder


class _Manifest:
    """What an archive says of itself."""

    __slots__ = ("folder", "maps", "name", "size", "snapshots")

    def __init__(self, data: bytes) -> None:
        """Raises LxcError for one that cannot be understood."""
        try:
            facts = json.loads(data)
            if facts["format"] != FORMAT:
                raise LxcError(f"the archive's format is {facts['format']!r}, not {FORMAT}", remedy="import it with a newer lxctools")
            self.name = _text(facts["name"])
            self.folder = _text(facts["folder"])
            self.maps = [ranges.parse(row) for row in _texts(facts["idmap"])]
            self.snapshots = _texts(facts["snapshots"])
            self.size = facts.get("size", 0)  # bytes that the root file system takes; the first archives do not tell
            if type(self.size) is not int or not 0 <= self.size < _LARGEST:
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Damaged("its manifest cannot be understood") from None
        for name in (self.name, *self.snapshots):
            paths.check_name(name)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise TypeError
    return [_text(one) for one in value]


class _Root:
    """A root file system to be made. prefix: of its members; value: for lxc.rootfs.path."""

    __slots__ = ("module", "path", "prefix", "value")

    def __init__(self, prefix: str, module: ModuleType, value: str) -> None:
        self.prefix = prefix
        self.module = module
        self.value = value
        self.path = value.partition(":")[2]


class _Import:
    """What the steps share. texts: the configurations, which are written last. small: files of the archive itself."""

    __slots__ = ("conf", "folder", "lxcpath", "manifest", "name", "partial", "progress", "roots", "small", "stream", "undo")

    def __init__(self, stream: Stream, lxcpath: str, undo: Undo, progress: Progress) -> None:
        self.stream = stream
        self.lxcpath = lxcpath
        self.undo = undo
        self.progress = progress
        self.manifest = _Manifest(self.file(MANIFEST))
        self.name = self.manifest.name
        self.folder = ""
        self.conf = Config()
        self.partial: locks.PartialLock | None = None
        self.roots: list[_Root] = []
        self.small: dict[str, bytes] = {}

    def file(self, name: str) -> bytes:
        """The content of the next member, which has this name."""
        member = self.stream.member()
        if member.path != name:
            raise Damaged(f"{name} is missing")
        return self.stream.small(member, LARGEST_TEXT)

    def beat(self, _done: int) -> None:
        """Show how far the archive has been read."""
        step("importing")
        self.progress.reached(self.stream.received)


def import_container(
    source: str, name: str, lxcpath: str, *, backend: str = "dir", backend_opts: dict[str, str] | None = None, quiet: bool = False
) -> str:
    """Make a container from the file source, "-" for standard input; returns its name. Raises LxcError; then there is none.

    name: "" for the one it had; then host name and hardware addresses stay, too. backend, backend_opts: as for create(). A
    file system of its own gets room for what is imported, unless its size is given.
    """
    if name:
        paths.check_name(name)
    refuse_unprivileged(storage.plain(backend))
    argv = compressor("-d")
    what = "standard input" if source == STDIO else source
    fd = _open(source)
    try:
        unpacker = Filter(argv, fd, packs=False)
    finally:
        os.close(fd)
    before = os.umask(0o022)
    try:
        with unpacker, open(os.dup(unpacker.file), "rb", buffering=_BUFFER) as file:
            try:
                with Undo() as undo, Progress(f"importing {what}", quiet=quiet, in_bytes=True) as progress:
                    this = _Import(Stream(file), lxcpath, undo, progress)
                    configs = _read(this, name, backend, backend_opts or {})
                    said = unpacker.close()
                    if said:
                        raise Damaged(f"zstd {said}")
                    _make_visible(this, configs)
            except Damaged as error:
                file.close()
                said = unpacker.close()  # the cause of what we have seen
                if said:
                    error.message = f"the archive is damaged: zstd {said}"
                raise
    except LxcError as error:
        error.message = f"cannot import {what}: {error.message}"
        raise
    except OSError as error:
        raise LxcError(f"cannot import {what}: {describe(error)}") from error
    finally:
        os.umask(before)
    return this.name


def _open(source: str) -> int:
    if source == STDIO:
        if os.isatty(0):
            raise LxcError("refusing to read an archive from a terminal", remedy="name a file, or pipe it from a program")
        return os.dup(0)
    try:
        return os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LxcError(f"cannot read {source}: {describe(error)}") from error


def _read(this: _Import, name: str, backend: str, options: dict[str, str]) -> dict[str, tuple[Config, str]]:
    """Everything but the configurations: where those are to be written, each with its lxc.rootfs.path. Raises LxcError, OSError."""
    text = this.file(CONFIG).decode("utf-8", "surrogateescape")
    this.name = name or this.manifest.name
    this.folder = f"{this.lxcpath}/{this.name}"
    this.conf.load_text(text, f"{CONFIG} in the archive")
    maps: Sequence[IdMap] = this.conf["lxc.idmap"]
    settle(this.name, this.lxcpath)
    refuse_existing(this.name, this.lxcpath)
    make_parents(this.folder, this.undo)
    this.partial = reserve(this.name, this.lxcpath, maps, this.undo)
    first = _small_files(this)
    if this.conf["lxc.rootfs.path"]:
        module = storage.load(storage.plain(backend))
        if module.INFO.is_block and "fssize" not in options:
            options = options | {"fssize": str(room_for(this.manifest.size))}
        _make_root(this, ROOTFS, module, this.folder, this.name, options)
    configs = {f"{this.folder}/{CONFIG}": (this.conf, this.roots[-1].value if this.roots else "")}
    for snapshot in this.manifest.snapshots:
        path, conf, value = _make_snapshot(this, snapshot)
        configs[path] = conf, value
    if as_its_root(maps):
        run_in_userns(maps, _unpack, this, first, (), [IdMap(row.kind, row.nsid, row.nsid, row.count) for row in maps])
    else:
        _unpack(this, first, maps, maps)
    return configs


def _make_visible(this: _Import, configs: dict[str, tuple[Config, str]]) -> None:
    """The archive was whole: write the configurations. Raises LxcError, OSError."""
    step("write the configuration")
    same = this.name == this.manifest.name
    for path, (conf, value) in configs.items():
        own = path == f"{this.folder}/{CONFIG}"
        move = Move(this.manifest.folder, this.folder, this.name)
        _write(this, path, rewrite(conf, move, value, keep_name=same or not own, keep_mac=same, copy_files=False).encode("utf-8", "surrogateescape"))
    for value in hooks_of(this.conf)[:_MOST_TOLD]:
        log.tell(f"{this.name} will run on this host: {paths.printable(value)}")
    step("release the mark")
    assert this.partial is not None
    with held():  # interrupted from here on, it is whole
        this.partial.release()
        this.undo.commit()


def _write(this: _Import, path: str, data: bytes, mode: int = 0o660) -> None:
    this.undo(files.unlink_quietly, path)
    files.write_atomic(path, data, mode)


# -- what is not a tree -------------------------------------------------------------------------------------------------


def _small_files(this: _Import) -> Member:
    """Read the files before the trees: those of the configuration are written, those of snapshots kept. Returns what follows."""
    while True:
        member = this.stream.member()
        kind, _slash, name = member.path.partition("/")
        if kind == FILES:
            _named_file(this, name, this.stream.small(member, LARGEST_TEXT))
        elif kind == SNAPS and name.partition("/")[2] in SNAPSHOT_FILES:
            this.small[name] = this.stream.small(member, LARGEST_TEXT)
        else:
            return member
        if this.stream.members > _MOST_FILES:
            raise Damaged("too many files beside its root file system")


def _named_file(this: _Import, name: str, data: bytes) -> None:
    """Write a hook or an fstab into the container's folder, in folders of its own."""
    words = name.split("/")
    if any(word in ("", ".", "..") or "\0" in word for word in words) or words[0] in _TAKEN:
        raise Damaged(f'the file "{shown(name)}" cannot be in a container\'s folder')
    path = this.folder
    for word in words[:-1]:
        path += f"/{word}"
        try:
            with held():
                os.mkdir(path, 0o755)
                this.undo(os.rmdir, path)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise
    path += f"/{words[-1]}"
    if os.path.lexists(path):
        raise LxcError(f"{path} is there already", remedy="remove it, or choose another name")
    _write(this, path, data, 0o755 if data.startswith(b"#!") else 0o644)


def _make_root(this: _Import, prefix: str, module: ModuleType, folder: str, name: str, options: dict[str, str]) -> str:
    """An empty root file system; returns its lxc.rootfs.path. Raises LxcError."""
    step("make the root file system")
    value: str
    begun = watch(this.partial, this.conf["lxc.idmap"], this.undo)
    value, made = module.create(storage.Spec(folder, name, options, begun, intended=intend(this.partial)))
    root = _Root(prefix, module, value)
    if not made:
        raise LxcError(f"cannot unpack into {root.path}: it is there already", remedy="remove it, or choose another name")
    this.roots.append(root)
    for given in storage.places(module, root.path, folder):
        storage.give(given, this.conf["lxc.idmap"])
    return value


def _make_snapshot(this: _Import, name: str) -> tuple[str, Config, str]:
    """The folder of a snapshot with all but its tree and its configuration: (path of that, what it says, lxc.rootfs.path)."""
    folder = f"{snapshots_folder(this.name, this.lxcpath)}/{name}"
    make_parents(folder, this.undo)
    assert this.partial is not None
    with held():
        os.mkdir(folder, 0o770)
        this.undo(files.remove_tree, folder)
        this.partial.note(folder)
    storage.give(folder, this.conf["lxc.idmap"])
    for kind in SNAPSHOT_FILES:
        if kind != CONFIG and f"{name}/{kind}" in this.small:
            _write(this, f"{folder}/{kind}", this.small[f"{name}/{kind}"], 0o644)
    if f"{name}/{CONFIG}" not in this.small:
        raise Damaged(f"the configuration of {name} is missing")
    conf = Config()
    conf.load_text(this.small[f"{name}/{CONFIG}"].decode("utf-8", "surrogateescape"), f"{SNAPS}/{name}/{CONFIG} in the archive")
    value = ""
    if conf["lxc.rootfs.path"]:
        value = _make_root(this, f"{SNAPS}/{name}/{ROOTFS}", storage.load("dir"), folder, name, {})
    return f"{folder}/{CONFIG}", conf, value


# -- trees --------------------------------------------------------------------------------------------------------------


def _unpack(this: _Import, member: Member, maps: Sequence[IdMap], known: Sequence[IdMap]) -> None:
    """Read all root file systems, and the checksum. maps: that ids become; known: as the caller's user namespace sees them."""
    before = os.umask(0)
    try:
        for root in this.roots:
            member = _tree(this, member, root, maps, known)
    finally:
        os.umask(before)
    if member.path != CHECKSUM:
        raise Damaged(f"{shown(member.path)} comes out of order")
    this.stream.end(member)


def _tree(this: _Import, member: Member, root: _Root, maps: Sequence[IdMap], known: Sequence[IdMap]) -> Member:
    """Unpack one tree; returns the member that follows it."""
    step(f"unpack {root.prefix}")
    with (
        place.opened_to_fill(root.module, root.path) as folder,
        TreeReader(this.stream, folder.path, root.path, shift_of((this.manifest.maps, maps)), known, this.beat) as tree,
    ):
        while (path := below(root.prefix, member.path)) is not None:
            link = below(root.prefix, member.link) if member.link else ""
            if link is None:
                raise Damaged(f"{shown(member.path)} is a link of what is not in its tree")
            tree.member(path, member, link)
            member = this.stream.member()
        tree.finish()
    return member
