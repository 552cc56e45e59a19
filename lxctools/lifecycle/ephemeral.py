# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-copy -e: a snapshot that is made, started, and removed by its monitor when it ends.

It is copied as any other, and before it counts as made its configuration gets, in LXC's words and order:

    lxc.hook.pre-mount = LXCPATH/NAME/pre-start-XXXXXX     with tmpfs; the script mounts one on LXCPATH/NAME/overlay
    lxc.ephemeral = 1                                      unless its data is to be kept
    lxc.mount.entry = ...                                  for each mount; an overlay's folders are delta#XXXXXX, work#XXXXXX
"""

from __future__ import annotations

import os
import stat

from .. import files, locks, log, paths
from ..config.conf import Config
from ..errors import LxcError, NotDefined, describe
from ..protocol import client
from ..storage import backend as storage
from ..storage import overlay
from ..undo import Undo, held
from .copy import copy, refuse_target
from .destroy import destroy
from .folder import CONFIG
from .reserve import reserve
from .steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap
    from .copy import Source, Wishes

BIND, OVERLAY = "bind", "overlay"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_KEPT = "lower"  # what a copy has of its own already when a tmpfs is put over it
_OWN = ("/proc", "/sys")  # binds of these in an fstab are no data

_MOUNT_TMPFS = """\
#! /bin/sh
# Made by lxc-copy --tmpfs: what the container writes is kept in memory, and gone at its end and at its reboot.
set -e
place="${0%/*}/overlay"
mount -n -t tmpfs -o mode=0755 none "$place"
"""
_WRITE_NAME = """\
umask 022
mkdir -p "$place/delta/etc"
printf '%s\\n' "$LXC_NAME" > "$place/delta/etc/hostname"
"""


class Mount:
    """A folder or file of the host for the container. kind: BIND, or OVERLAY: what is written stays in the container.

    target: without a slash at its begin. option: "rw" or "ro", of a bind.
    """

    __slots__ = ("kind", "option", "source", "target")

    def __init__(self, kind: str, source: str, target: str, option: str = "rw") -> None:
        self.kind = kind
        self.source = source
        self.target = target
        self.option = option


class Extras:
    """What makes a copy ephemeral. tmpfs: what it writes goes to memory. keep_data: it stays when it has ended.

    layer_fstab: what lxc.mount.fstab binds of the host is not written to, as lxc-start-ephemeral has it.
    """

    __slots__ = ("keep_data", "layer_fstab", "mounts", "tmpfs")

    def __init__(
        self, *, mounts: Sequence[Mount] = (), tmpfs: bool = False, keep_data: bool = False, layer_fstab: bool = False
    ) -> None:
        self.mounts = mounts
        self.tmpfs = tmpfs
        self.keep_data = keep_data
        self.layer_fstab = layer_fstab


def free_name(prefix: str, folder: str, length: int = 6) -> str:
    """A name that nothing in a folder has: prefix and that many random letters and digits."""
    while True:
        name = prefix + "".join(_LETTERS[byte % len(_LETTERS)] for byte in os.urandom(length))
        if not os.path.lexists(f"{folder}/{name}"):
            return name


def lend(source: Source, name: str, lxcpath: str, wishes: Wishes, extras: Extras, use: Callable[[], int]) -> int:
    """Make LXCPATH/NAME, and return what use() returns, which starts it. Raises LxcError.

    When anything fails or a signal comes it is ended and removed; with extras.keep_data it stays once use() was called.
    """
    paths.check_name(name)
    _refuse(source, wishes, extras)
    refuse_target(name, lxcpath)
    progress: list[str] = []
    try:
        _make(source, name, lxcpath, wishes, extras, progress)
        progress.append("lent")
        return use()
    except BaseException:
        if progress:
            _take_back(name, lxcpath, keep=extras.keep_data and "lent" in progress)
        raise


def _refuse(source: Source, wishes: Wishes, extras: Extras) -> None:
    """Raise LxcError for what cannot be, before anything is made."""
    if extras.tmpfs and (
        extras.keep_data or storage.plain(wishes.backend) not in ("", "overlay") or _kind(source) not in ("dir", "overlay")
    ):
        raise LxcError(
            "A container can only be placed on a tmpfs when the overlay storage driver is used, and nothing is to be kept",
            remedy="leave out -t, or -D and -B",
        )
    for mount in extras.mounts:
        if mount.kind == OVERLAY:
            _check_layer(mount.source)
        elif not os.path.exists(mount.source):
            log.tell(f"{mount.source} does not exist: it is mounted in the container only once it does")


def _kind(source: Source) -> str:
    return storage.plain(storage.type_of(source.conf)) if source.conf["lxc.rootfs.path"] else ""


def _check_layer(folder: str) -> None:
    if not os.path.isdir(folder):
        raise LxcError(f"cannot mount an overlay over {folder}: there is no such folder", remedy="bind=, if it is a file")
    _check_name(folder)


def _check_name(folder: str) -> None:
    if any(letter in folder for letter in ",:\\"):
        raise LxcError(
            f"cannot mount an overlay with {folder}: its name has a comma, a colon or a backslash", remedy="use another folder"
        )


def _take_back(name: str, lxcpath: str, *, keep: bool) -> None:
    """End it, and remove it unless it is to be kept. Tells what it cannot do: the caller has an error of its own."""
    try:
        if client.state(name, lxcpath) is not None:
            client.stop(name, lxcpath)  # its monitor removes it
        if keep:
            log.tell(f"{name} is kept: lxc-destroy -n {name} removes it")
            return
        destroy(name, lxcpath, hooks=False)
    except NotDefined:
        pass
    except (LxcError, OSError) as error:
        log.error(f"{name} could not be removed: {describe(error)}")


# -- making it ------------------------------------------------------------------------------------------------------------


class _Job:
    """What the steps share. maps: of the copy. conf: its configuration, as it is going to be."""

    __slots__ = ("conf", "extras", "folder", "maps", "partial", "undo")

    def __init__(self, folder: str, extras: Extras, partial: locks.PartialLock, undo: Undo) -> None:
        self.folder = folder
        self.extras = extras
        self.partial = partial
        self.undo = undo
        self.conf = Config.read(f"{folder}/{CONFIG}")
        self.maps: Sequence[IdMap] = self.conf["lxc.idmap"]

    def made(self, folder: str) -> None:
        """A folder that goes with a copy that fails, also where the container's folder was there before."""
        self.undo(files.remove_tree, folder)
        self.partial.note(folder)


def _make(source: Source, name: str, lxcpath: str, wishes: Wishes, extras: Extras, progress: list[str]) -> None:
    layered = _kind(source) == "overlay" or bool(source.conf["lxc.hook.clone"])
    with Undo() as undo:
        partial = reserve(name, lxcpath, source.conf["lxc.idmap"], undo)

        def complete(folder: str) -> None:
            step("make it ephemeral")
            try:
                _complete(_Job(folder, extras, partial, undo), layered, named=not wishes.keep_name)
            except OSError as error:
                raise LxcError(f"cannot make {folder} ephemeral: {describe(error)}") from error
            progress.append("whole")

        copy(source, name, lxcpath, wishes, complete, (partial, undo))


def _complete(job: _Job, layered: bool, *, named: bool) -> None:
    """layered: the copy has changes of its own, which a tmpfs must not hide. named: it gets its name as host name."""
    conf, extras = job.conf, job.extras
    if extras.tmpfs:
        if layered:
            _keep_changes(job)
        _write_hook(job, _MOUNT_TMPFS + (_WRITE_NAME if named else ""))
    if not extras.keep_data:
        conf.replace("lxc.ephemeral", ["1"])
        if not conf["lxc.rootfs.managed"]:
            conf.replace("lxc.rootfs.managed", ["1"])  # this root file system is the copy's own
    elif conf["lxc.ephemeral"]:
        conf.replace("lxc.ephemeral", ["0"])
    for mount in extras.mounts:
        conf.set("lxc.mount.entry", _entry(job, mount))
    if extras.layer_fstab and conf["lxc.mount.fstab"]:
        _layer_fstab(job)
    conf.save(f"{job.folder}/{CONFIG}")


def _keep_changes(job: _Job) -> None:
    """Make what the copy has in its upper folder its topmost lower one."""
    lowers, upper = overlay.split(str.__str__(job.conf["lxc.rootfs.path"]))
    kept = f"{job.folder}/{_KEPT}"
    with held():
        os.rename(upper, kept)
        job.made(kept)
    job.conf.replace("lxc.rootfs.path", [f"overlay:{':'.join((kept, *lowers))}:{upper}"])


def _write_hook(job: _Job, text: str) -> None:
    path = f"{job.folder}/{free_name('pre-start-', job.folder)}"
    job.undo(files.unlink_quietly, path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o755)
    with open(fd, "w") as file:
        file.write(text)
    job.conf.set("lxc.hook.pre-mount", _for_shell(path))


def _for_shell(path: str) -> str:
    """A hook is a command of the shell."""
    if all(letter.isalnum() or letter in "_./-+@%=," for letter in path):
        return path
    return "'" + path.replace("'", "'\\''") + "'"


def _entry(job: _Job, mount: Mount) -> str:
    source, target = _field(mount.source), _field(mount.target)
    if mount.kind == OVERLAY:
        return f"{source} {target} overlay {_layer(job, mount.source)},create=dir"
    kind = "dir" if os.path.isdir(mount.source) else "file"
    return f"{source} {target} none bind,optional,{mount.option},create={kind} 0 0"


def _layer(job: _Job, source: str) -> str:
    """The options of an overlay over a folder; makes its upper and work folders.

    What is written to is as the folder itself: its mode and its owner, or the container's root with id maps.
    """
    _check_layer(source)
    _check_name(job.folder)
    upper, work = (f"{job.folder}/{free_name(what, job.folder)}" for what in ("delta#", "work#"))
    for folder in (upper, work):
        with held():
            os.mkdir(folder, 0o700)
            job.made(folder)
    status = os.stat(source)
    os.chmod(upper, stat.S_IMODE(status.st_mode))
    if job.maps:
        storage.give(upper, job.maps)
        storage.give(work, job.maps)
    elif os.geteuid() == 0:
        os.chown(upper, status.st_uid, status.st_gid)
    return f"lowerdir={_field(source)},upperdir={_field(upper)},workdir={_field(work)}"


def _field(text: str) -> str:
    """As fstab(5) has it."""
    return text.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")


def _layer_fstab(job: _Job) -> None:
    """Put an overlay over each folder that the fstab binds; a file is bound read-only. Lines without four fields go."""
    path = str(job.conf["lxc.mount.fstab"])
    if not files.is_below(path, job.folder):
        return  # there is no such file
    lines = []
    for line in files.read_text(path).splitlines():
        fields = line.split()
        if len(fields) < 4 or fields[0].startswith("#"):
            continue
        source, options = fields[0], fields[3].split(",")
        of_the_kernel = any(source == place or source.startswith(f"{place}/") for place in _OWN)
        if not {"bind", "rbind"} & set(options) or of_the_kernel:
            lines.append(line)
        elif os.path.isdir(source):
            others = [word for word in options if word in ("optional", "create=dir", "ro")]
            lines.append(" ".join((source, fields[1], "overlay", ",".join((_layer(job, source), *others)), "0 0")))
        else:
            lines.append(" ".join((*fields[:3], ",".join((*(word for word in options if word != "rw"), "ro")), "0 0")))
    files.write_atomic(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
