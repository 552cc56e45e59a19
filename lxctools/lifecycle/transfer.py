# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files and folders between the host and a container, as a stream of records from one process to another.

One of the two sees the host's files, the other the container's (reach.py), and neither the other's. A record is a tuple that
marshal(3) writes: (kind, path below what is sent, mode, mtime in ns, target of a link); a file's content follows as byte strings,
the last of them empty; END ends the stream. Both sides work below descriptors and follow no link that they find there.
"""

from __future__ import annotations

import errno
import marshal
import os
import stat

from ..errors import LxcError
from ..linux import open as linux_open
from ..linux import statfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

FILE, FOLDER, LINK, END = "file", "folder", "link", "end"
_CONFINED = linux_open.RESOLVE_IN_ROOT | linux_open.RESOLVE_NO_MAGICLINKS
_PATH = os.O_PATH | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_MOST_LINKS = 40
_DEEPEST = 200  # folders in folders; each holds a descriptor
# File systems whose files are switches of the kernel: a link of the container's may point to one of theirs.
_KERNEL = frozenset((
    statfs.PROC_SUPER_MAGIC, 0x62656572, 0x27E0EB, 0x63677270, 0x64626720, 0x74726163, 0x73636673, 0xCAFE4A11, 0x62656570,
    0xDE5E81E4, 0x6165676C, 0x1CD1, 0x19800202, 0xF97CFF8C, 0x42494E4D,
))  # fmt: skip


class Owner:
    """What a receiver gives what it makes; None: the mode as sent, the owner that makes it."""

    __slots__ = ("gid", "mode", "uid")

    def __init__(self, mode: int | None = None, uid: int | None = None, gid: int | None = None) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid


# -- the sending side


def send_path(parent: int, name: str, out: BinaryIO, *, recursive: bool, told: Callable[[str], None]) -> None:
    """Send the entry `name` of a folder, everything in it when recursive. told: gets a word for what is left out.

    Raises OSError, LxcError.
    """
    _send(parent, name, "", out, recursive, told, 0)
    send_nothing(out)


def _send(parent: int, name: str, below: str, out: BinaryIO, recursive: bool, told: Callable[[str], None], depth: int) -> None:
    # Looked at before it is opened, by one descriptor: the opening of a device or a FIFO already does something.
    found = os.open(name, _PATH | os.O_NOFOLLOW, dir_fd=parent)
    try:
        status = os.fstat(found)
        record = (below, status.st_mode & 0o7777, status.st_mtime_ns)
        if stat.S_ISLNK(status.st_mode):
            marshal.dump((LINK, *record, os.readlink("", dir_fd=found)), out)
        elif stat.S_ISREG(status.st_mode):
            _refuse_kernel(found, name)
            with open(_again(found, os.O_RDONLY), "rb", buffering=0) as file:
                marshal.dump((FILE, *record, ""), out)
                send_data(file.fileno(), out)
        elif stat.S_ISDIR(status.st_mode):
            if not recursive:
                raise LxcError(f"{name} is a folder", remedy="-r copies it with everything in it")
            if depth > _DEEPEST:
                raise LxcError(f"{below} lies too deep")
            _refuse_kernel(found, name)
            marshal.dump((FOLDER, *record, ""), out)
            for entry in sorted(_entries(found)):
                _send(found, entry, f"{below}/{entry}" if below else entry, out, recursive, told, depth + 1)
        elif below:
            told(f"{below} is left out: it is neither file, folder nor link")
        else:
            raise LxcError(f"{name} is neither file, folder nor link")
    finally:
        os.close(found)


def _entries(folder: int) -> list[str]:
    fd = os.open(".", _DIRECTORY, dir_fd=folder)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _again(fd: int, flags: int) -> int:
    """Open what an O_PATH descriptor of a regular file is of."""
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def send_data(fd: int, out: BinaryIO) -> None:
    """Everything that can be read from a descriptor, as byte strings."""
    while data := os.read(fd, _CHUNK):
        marshal.dump(data, out)
    marshal.dump(b"", out)


def send_stream(fd: int, out: BinaryIO) -> None:
    """What can be read from a descriptor, such as standard input, as a single file."""
    marshal.dump((FILE, "", 0o644, -1, ""), out)
    send_data(fd, out)
    send_nothing(out)


def send_nothing(out: BinaryIO) -> None:
    """The end of what is sent."""
    marshal.dump((END, "", 0, 0, ""), out)
    out.flush()


# -- the receiving side


def receive(source: BinaryIO, parent: int, name: str, owner: Owner) -> None:
    """Make in a folder, under this name, what send_path() sends. A file replaces a file at once, or not at all.

    A folder is added to one that is there. Raises OSError, LxcError.
    """
    stack: list[_Folder] = []
    try:
        while True:
            kind, below, mode, mtime, target = _load(source)
            if kind == END:
                break
            above, _slash, last = below.rpartition("/")
            while stack and (not below or stack[-1].below != above):
                stack.pop().finish(owner)
            at, entry = (stack[-1].fd, last) if below else (parent, name)
            if kind == FOLDER:
                stack.append(_Folder(at, entry, below, mode, mtime))
            elif kind == LINK:
                _make_link(at, entry, target)
                if owner.uid is not None or owner.gid is not None:
                    os.chown(entry, _or(owner.uid), _or(owner.gid), dir_fd=at, follow_symlinks=False)
            else:
                _make_file(source, at, entry, mode, mtime, owner)
        while stack:
            stack.pop().finish(owner)
    finally:
        for folder in stack:
            os.close(folder.fd)


def _load(source: BinaryIO) -> Any:
    try:
        return marshal.load(source)
    except (EOFError, ValueError, TypeError):
        raise LxcError("the other side ended before everything was there") from None


class _Folder:
    """A folder that is being filled; one that was there already keeps its mode, owner and time."""

    __slots__ = ("below", "fd", "made", "mode", "mtime")

    def __init__(self, parent: int, name: str, below: str, mode: int, mtime: int) -> None:
        self.below = below
        self.mode = mode
        self.mtime = mtime
        self.made = True
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            self.made = False
        self.fd = os.open(name, _DIRECTORY, dir_fd=parent)

    def finish(self, owner: Owner) -> None:
        """Close it, with what it is to have in the end."""
        try:
            if self.made:
                _finish(self.fd, self.mode, self.mtime, Owner(None, owner.uid, owner.gid))
        finally:
            os.close(self.fd)


def receive_stream(source: BinaryIO, fd: int) -> None:
    """Write the content of a single file to a descriptor. Raises OSError, LxcError."""
    kind = _load(source)[0]
    if kind != FILE:
        raise LxcError("only the content of a file can be written there, not a folder", remedy="name a folder to copy it into")
    while data := _load(source):
        _write(fd, data)
    _load(source)  # END


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _make_link(parent: int, name: str, target: str) -> None:
    temporary = _temporary(name)
    os.symlink(target, temporary, dir_fd=parent)
    try:
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        os.unlink(temporary, dir_fd=parent)
        raise


def _temporary(name: str) -> str:
    return f".{name[:200]}.{os.urandom(4).hex()}"


def _make_file(source: BinaryIO, parent: int, name: str, mode: int, mtime: int, owner: Owner) -> None:
    _refuse_kernel(parent, name)
    before = _kept(parent, name)
    temporary = _temporary(name)
    fd = os.open(temporary, _MAKE, 0o600, dir_fd=parent)
    try:
        try:
            _take_data(source, fd)
            if before is not None and owner.uid is None and owner.gid is None:
                os.fchown(fd, before.st_uid, before.st_gid)
            if before is not None and owner.mode is None:
                mode = stat.S_IMODE(before.st_mode)
            _finish(fd, mode, mtime, owner)
            try:
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                _pour(parent, temporary, name)  # something is mounted on it: only its content can be replaced
                os.unlink(temporary, dir_fd=parent)
        except BaseException:
            os.unlink(temporary, dir_fd=parent)
            raise
    finally:
        os.close(fd)


def _kept(parent: int, name: str) -> os.stat_result | None:
    """What has the name. Raises LxcError for what no file may replace."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise LxcError(f"{name} is a folder, and no file can take its place")
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
        raise LxcError(f"{name} is no regular file", remedy="remove it first")
    fd = os.open(name, _PATH | os.O_NOFOLLOW, dir_fd=parent)
    try:
        _refuse_kernel(fd, name)
    finally:
        os.close(fd)
    return status if stat.S_ISREG(status.st_mode) else None


def _take_data(source: BinaryIO, fd: int) -> None:
    while data := _load(source):
        _write(fd, data)


def _pour(parent: int, temporary: str, name: str) -> None:
    there = os.open(name, _PATH | os.O_NOFOLLOW, dir_fd=parent)
    try:
        if not stat.S_ISREG(os.fstat(there).st_mode):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
        source = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        with open(source, "rb") as original, open(_again(there, os.O_WRONLY), "wb") as target:
            target.truncate(0)
            while os.sendfile(target.fileno(), original.fileno(), None, _CHUNK):
                pass
    finally:
        os.close(there)


def _finish(fd: int, mode: int, mtime: int, owner: Owner) -> None:
    if owner.uid is not None or owner.gid is not None:
        os.fchown(fd, _or(owner.uid), _or(owner.gid))
    # A program of one side is not to be set-id on the other unless that is asked for.
    os.fchmod(fd, mode & 0o1777 if owner.mode is None else owner.mode)
    if mtime >= 0:
        os.utime(fd, ns=(mtime, mtime))


def _or(number: int | None) -> int:
    return -1 if number is None else number


def _refuse_kernel(fd: int, name: str) -> None:
    if statfs.fs_type(fd) in _KERNEL:
        raise LxcError(f"{name} lies in a file system of the kernel's", remedy="lxc-attach and cat or sh reach it")


# -- paths in the container


def resolve(root: int, path: str) -> tuple[int, str]:
    """(descriptor of the folder, name in it) of a path in the container, the links at its end followed inside it.

    The name is "" for the root itself. Raises OSError with the path in the container.
    """
    for _ in range(_MOST_LINKS):
        path = path.rstrip("/") or "/"
        folder, _slash, name = path.rpartition("/")
        if name in ("", ".", ".."):
            return open_at(root, path), ""
        parent = open_at(root, folder or "/")
        try:
            target = os.readlink(name, dir_fd=parent)
        except OSError:
            return parent, name  # no link, or nothing there
        os.close(parent)
        path = target if target.startswith("/") else f"{folder}/{target}"
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def is_folder(parent: int, name: str) -> bool:
    """Whether an entry of a folder is a folder itself; False also when there is none."""
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def open_at(root: int, path: str) -> int:
    """A descriptor of a folder in the container. Raises OSError with the path in the container."""
    try:
        return linux_open.openat2(root, path.lstrip("/") or ".", _PATH | os.O_DIRECTORY, 0, _CONFINED)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def place(root: int, path: str, name: str, *, folder: bool, parents: bool) -> tuple[int, str]:
    """Where something called name goes that is sent to path in the container: (folder, name there).

    A folder that is there, or a path that ends with a slash, gets it as an entry. folder: path must be a folder. parents:
    make what is missing of it. Raises OSError, LxcError.
    """
    into = folder or path.endswith("/")
    if parents:
        _make_parents(root, path if into else path.rpartition("/")[0])
    parent, last = resolve(root, path)
    if not last:
        return parent, name
    try:
        status = os.stat(last, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        if into:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        return parent, last
    if not stat.S_ISDIR(status.st_mode):
        if into:
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return parent, last
    fd = os.open(last, _PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    os.close(parent)
    return fd, name


def _make_parents(root: int, path: str) -> None:
    done = ""
    for part in path.split("/"):
        if part in ("", "."):
            continue
        done += f"/{part}"
        try:
            os.close(open_at(root, done))
        except FileNotFoundError:
            parent, last = resolve(root, done)
            try:
                os.mkdir(last, 0o755, dir_fd=parent)
            finally:
                os.close(parent)
