# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-copy: a new container from another one, in one transaction.

    LXCPATH2/NEW made, `partial` in it locked
    root file system copied, under the source's lock
    lxc_rdepends and the lxc_snapshots of those it needs written, on disk
    configuration written                        from here on it is a container, marked as being made
    clone hooks run, host name written
    `partial` removed
"""

from __future__ import annotations

import os

from .. import files, locks, log, paths
from ..config.conf import Config
from ..errors import LxcError, NotDefined, describe
from ..progress import Progress
from ..protocol import client
from ..storage import backend as storage
from ..storage.clone import Cloned, clone_rootfs
from ..undo import Undo, held
from . import clonehook, dependants
from .copyconf import Move, rewrite
from .folder import CONFIG
from .recover import settle
from .reserve import intend, reserve, watch
from .steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Source:
    """The container that is copied."""

    __slots__ = ("conf", "folder", "lxcpath", "name")

    def __init__(self, name: str, lxcpath: str, conf: Config | None = None) -> None:
        self.name = name
        self.lxcpath = lxcpath
        self.folder = f"{lxcpath}/{name}"
        settle(name, lxcpath)
        self.conf = Config() if conf is None else conf
        if conf is None:
            self.read()

    def read(self) -> None:
        """Its configuration, anew: each rewriting needs its own. Raises NotDefined, ConfigError."""
        path = self.conf.path or f"{self.folder}/{CONFIG}"
        if not os.path.exists(path):
            raise NotDefined(
                f"Container {self.name} is not defined: there is no {path}", remedy=f"lxc-ls -P {self.lxcpath} lists those that are"
            )
        self.conf = Config.read(path)

    def refuse_running(self) -> None:
        """Raise LxcError when it runs."""
        if client.state(self.name, self.lxcpath) is not None:
            raise LxcError(
                f"error: Original container ({self.name}) is running. Use --allowrunning if you want to force a snapshot of the "
                "running container."
            )


class Wishes:
    """How to copy: the options of lxc-copy."""

    __slots__ = ("allow_running", "backend", "keep_mac", "keep_name", "keep_type", "maybe_snapshot", "options", "quiet", "snapshot", "words")

    def __init__(
        self,
        *,
        snapshot: bool = False,
        backend: str = "",
        options: dict[str, str] | None = None,
        keep_name: bool = False,
        keep_mac: bool = False,
        keep_type: bool = False,
        maybe_snapshot: bool = False,
        allow_running: bool = False,
        words: Sequence[str] = (),
        quiet: bool = False,
    ) -> None:
        """words: extra arguments of the clone hooks. maybe_snapshot: a full copy where the storage makes no snapshots."""
        self.snapshot = snapshot
        self.backend = backend
        self.options = options or {}
        self.keep_name = keep_name
        self.keep_mac = keep_mac
        self.keep_type = keep_type
        self.maybe_snapshot = maybe_snapshot
        self.allow_running = allow_running
        self.words = words
        self.quiet = quiet


def copy(
    source: Source,
    new_name: str,
    new_path: str,
    wishes: Wishes,
    complete: Callable[[str], None] | None = None,
    reserved: tuple[locks.PartialLock, Undo] | None = None,
) -> None:
    """Make NEW_PATH/NEW_NAME from source. Raises LxcError; then nothing of it is left.

    complete: called with the new container's folder before it counts as made. reserved: its mark, where the caller has reserved
    it, and what undoes that: in one step with the release of the mark it is committed.
    """
    paths.check_name(new_name)
    if not wishes.allow_running:
        source.refuse_running()
    folder = f"{new_path}/{new_name}"
    if reserved is None:
        refuse_target(new_name, new_path)
    before = os.umask(0o022)
    try:
        with Undo() as own:
            partial, undo = reserved or (reserve(new_name, new_path, source.conf["lxc.idmap"], own), own)
            build(source, new_name, new_path, folder, wishes, undo, partial)
            if complete is not None:
                complete(folder)
            step("release the mark")
            with held():  # interrupted from here on, it is whole
                partial.release()
                undo.commit()
    finally:
        os.umask(before)


def refuse_target(name: str, lxcpath: str) -> None:
    """Raise LxcError where there is such a container, or no such lxcpath."""
    folder = f"{lxcpath}/{name}"
    if os.path.lexists(f"{folder}/{CONFIG}") and locks.partial_state(lxcpath, name) == locks.ABSENT:
        raise LxcError(f"error: clone: {folder}/{CONFIG} exists", remedy="choose another name, or destroy it first")
    if not os.path.isdir(lxcpath):
        raise LxcError(f"cannot make {folder}: there is no folder {lxcpath}", remedy="make it, or name another with -p")


def build(
    source: Source,
    name: str,
    lxcpath: str,
    work: str,
    wishes: Wishes,
    undo: Undo,
    partial: locks.PartialLock | None,
    held: Sequence[tuple[str, str]] = (),
    before_hooks: Callable[[], None] | None = None,
) -> Config:
    """Fill the folder work with a copy that is going to be LXCPATH/NAME; returns its configuration. Raises LxcError.

    held: containers whose lock the caller has. before_hooks: called when only the hooks are left.
    """
    final = f"{lxcpath}/{name}"
    with locks.ContainerLock(source.lxcpath, source.name), Progress(f"copying {source.name}", quiet=wishes.quiet, in_bytes=True) as progress:
        if not wishes.allow_running:
            source.refuse_running()  # it may have been started meanwhile
        source.read()  # and restored, or moved to another storage
        spec = storage.Spec(work, name, wishes.options, watch(partial, source.conf["lxc.idmap"], undo), final, intend(partial))
        made = _clone(source, spec, wishes, progress)
        for path in made.vanished[:10]:
            log.warn(f"{path} vanished while it was copied")
        value = made.value.replace(f"{work}/", f"{final}/") if work != final else made.value
        pairs = _needed(source, lxcpath, name, made.depends, wishes.snapshot)
        if pairs:
            undo(_forget, lxcpath, name, pairs, held)
            dependants.record(work, lxcpath, name, pairs, (*held, (source.lxcpath, source.name)))
    move = Move(source.folder, final, name, work)
    step("copy the files that the configuration names")
    text = rewrite(source.conf, move, value, keep_name=wishes.keep_name, keep_mac=wishes.keep_mac)
    for copied in move.copied.values():
        undo(files.unlink_quietly, f"{work}/{copied}")
    undo(files.unlink_quietly, f"{work}/{CONFIG}")
    step("write the configuration")
    _write_new(f"{work}/{CONFIG}", text)
    conf = Config.read(f"{work}/{CONFIG}")
    conf.path = f"{final}/{CONFIG}"
    if before_hooks is not None:
        before_hooks()
    told = clonehook.Copy(name, source.name, final, work, value)
    told.made = made.value
    told.words = wishes.words
    told.hostname = "" if wishes.keep_name else name
    clonehook.finish(conf, told)
    return conf


def _clone(source: Source, spec: storage.Spec, wishes: Wishes, progress: Progress) -> Cloned:
    step("copy the root file system")

    def beat(done: int) -> None:
        step("copying")
        progress.reached(done)

    return clone_rootfs(
        source.conf,
        spec,
        backend=wishes.backend,
        snapshot=wishes.snapshot,
        maybe_snapshot=wishes.maybe_snapshot,
        keep_type=wishes.keep_type,
        beat=beat,
        expect=progress.expect,
    )


def _needed(source: Source, lxcpath: str, name: str, depends: bool, snapshot: bool) -> list[tuple[str, str]]:
    """Whom the copy needs: whom the source of a snapshot needs, and the source itself where the storage says so.

    Not between a container and its own snapshots: those go together (LXC behaviour).
    """
    pairs = dependants.needs(source.folder) if snapshot or depends else []
    own = _is_snapshot_place(lxcpath, source.lxcpath, source.name) or _is_snapshot_place(source.lxcpath, lxcpath, name)
    if depends and not own:
        pairs.append((source.lxcpath, source.name))
    return pairs


def _is_snapshot_place(inner: str, lxcpath: str, name: str) -> bool:
    return inner in (f"{lxcpath}/{name}/snaps", f"{lxcpath}snaps/{name}")


def _forget(lxcpath: str, name: str, pairs: list[tuple[str, str]], held: Sequence[tuple[str, str]]) -> None:
    dependants.forget(lxcpath, name, pairs, held)


def _write_new(path: str, text: str) -> None:
    try:
        files.write_atomic(path, text.encode("utf-8", "surrogateescape"), 0o660)
    except OSError as error:
        raise LxcError(f"cannot write the configuration {path}: {describe(error)}") from error
