# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system in an image of qemu's, attached as a network block device by qemu-nbd. The value is FILE or FILE:PARTITION.

The image is made by hand, with qemu-img(1): LXC never makes, copies to or removes one. Unlike a loop device this one does not go
with its last user. So whoever attaches one leaves a keeper behind: a process that waits for the end of the attaching one
(a monitor, or a command), however it ends, and then until nothing has the device mounted, and detaches it.
"""

from __future__ import annotations

import _signal
import errno
import os
import select
import time

from .. import log
from ..errors import LxcError, describe
from ..linux import prctl
from . import lvm as device_backend
from .backend import Info, Spec
from .device import open_filesystem, tool
from .place import attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..idmap.ranges import IdMap

INFO = Info("nbd", is_block=True, can_backup=False, by_monitor=True)
BLOCK = "/sys/block"
DEV = "/dev"
_PATIENCE = 5.0  # seconds for a device, a partition, a predecessor's end
_STEP = 0.02
# What the images of qemu's other formats begin with; anything else is a raw one. Left to itself qemu-nbd guesses "raw" too, but
# then refuses to write its first block.
_FORMATS = (b"QFI\xfb", b"QED\0", b"KDMV", b"COWD", b"vhdxfile", b"conectix", b"<<< ", b"WithoutFreeSpace", b"WithouFreSpacExt")
_attached: dict[str, str] = {}  # by this process: image -> device, for a reboot


def split(path: str) -> tuple[str, int]:
    """The image, and the number of the partition: a digit from 1 to 9, 0 for the whole (lxc.container.conf(5))."""
    file, colon, part = path.rpartition(":")
    if colon and len(part) == 1 and part in "123456789":
        return file, int(part)
    return path, 0


def create(spec: Spec) -> tuple[str, bool]:
    """Raises LxcError: there are none but those made by hand."""
    raise LxcError(
        "a root file system of the type nbd cannot be made",
        remedy="make the image with qemu-img(1), and name it: lxc.rootfs.path = nbd:FILE",
    )


def destroy(path: str, beat: Callable[[], object] | None = None, maps: Sequence[IdMap] = ()) -> None:
    """The image is not the container's: it stays, and that is said."""
    if exists(path):
        log.tell(f"kept {split(path)[0]}: images of the type nbd are made by hand, and removed by hand")


def exists(path: str) -> bool:
    """Whether the image is there."""
    return os.path.isfile(split(path)[0])


def belongings(path: str) -> list[str]:
    """Nothing: see destroy()."""
    return []


folders = device_backend.folders


def mount(path: str, target: str) -> None:
    """Mount it on a folder. Raises LxcError."""
    attach(open_mount(path), target, f"nbd:{path}")


def open_mount(path: str, options: str = "", *, read_only: bool = False) -> int:
    """Mount it detached. Raises LxcError."""
    device, fd = _open(path)
    try:
        return open_filesystem(device, fd, f"nbd:{path}", options, read_only=read_only)
    finally:
        os.close(fd)


def _open(path: str) -> tuple[str, int]:
    """The device of the image, attached, and a descriptor of it: while that is open a partition stays. Raises LxcError.

    The kernel may look for partitions more than once: one that was there is gone for a moment.
    """
    device = _device(path)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return device, os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENXIO) or time.monotonic() > deadline:
                raise LxcError(f"cannot open {device}, where nbd:{path} is attached: {describe(error)}") from error
        time.sleep(_STEP)


open_to_fill = open_mount


def size_and_type(path: str) -> tuple[int, str]:
    """Bytes and type of its file system. Raises LxcError."""
    _device_path, fd = _open(path)
    try:
        return device_backend.size_and_type(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


# -- devices --------------------------------------------------------------------------------------------------------------


def _device(path: str) -> str:
    """Attach the image, unless this process has; the device's path, or its partition's. Raises LxcError."""
    file, part = split(path)
    file = os.path.realpath(file)
    name = _attached.get(file, "")
    if not name or not _pid(name):
        name = _attached[file] = _attach(file)
    device = f"{DEV}/{name}p{part}" if part else f"{DEV}/{name}"
    if not _until(lambda: os.path.exists(device)):
        raise LxcError(f"{file} has no partition {part}: there is no {device}", remedy=f"`qemu-nbd -r -c` and fdisk -l show those of {file}")
    return device


def _attach(file: str) -> str:
    """The name of the device that the image is attached to from now on. Raises LxcError."""
    if not _until(lambda: not _serving(file)):
        name, pid = _serving(file)[0]
        raise LxcError(
            f"cannot attach {file}: it is attached to {DEV}/{name} by process {pid}, and in use", remedy=f"qemu-nbd -d {DEV}/{name}"
        )
    last = ""
    for name in _free():
        argv = ["qemu-nbd", *_format(file), "-c", f"{DEV}/{name}", file]
        result = tool(argv)
        if result.status == 0:
            _keep(name)
            if _until(lambda name=name: _pid(name) and _sectors(name)):  # type: ignore[misc]
                return name
            _detach(name)
            raise LxcError(f"cannot attach {file}: {DEV}/{name} has not got ready within {_PATIENCE:g} s", remedy="look at the kernel's log")
        last = f"{' '.join(argv)} {result.why()}"
        if not _pid(name) and "busy" not in last.lower():
            break  # not that somebody else was faster
    if last:
        raise LxcError(f"cannot attach {file}: {last}")
    what = "all network block devices are in use" if _names() else "this kernel has no network block devices"
    raise LxcError(f"cannot attach {file}: {what}", remedy="modprobe nbd nbds_max=32")


def _format(file: str) -> list[str]:
    try:
        with open(file, "rb", buffering=0) as image:
            head = image.read(80)
    except OSError as error:
        raise LxcError(f"cannot read the image {file}: {describe(error)}", remedy="check lxc.rootfs.path") from error
    known = head.startswith(_FORMATS) or head[64:68] == b"\x7f\x10\xda\xbe"  # the last one is VirtualBox's
    return [] if known else ["-f", "raw"]


def _names() -> list[str]:
    try:
        found = [name for name in os.listdir(BLOCK) if name.startswith("nbd") and name[3:].isdigit()]
    except OSError:
        return []
    return sorted(found, key=lambda name: int(name[3:]))


def _free() -> Iterator[str]:
    return (name for name in _names() if not _pid(name) and not _sectors(name))


def _number(name: str, what: str) -> int:
    try:
        with open(f"{BLOCK}/{name}/{what}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _pid(name: str) -> int:
    """The process that serves a device, 0 for none: the file is there while it is connected."""
    return _number(name, "pid")


def _sectors(name: str) -> int:
    return _number(name, "size")


def _serving(file: str) -> list[tuple[str, int]]:
    """The devices that qemu-nbd serves from this image, with its process. One that nobody uses, left by a crash, is detached."""
    found = []
    for name in _names():
        pid = _pid(name)
        if pid and _image_of(pid) == file:
            if not _in_use(name) and not _has_keeper(name):
                log.tell(f"detached {DEV}/{name}, which a killed command had left attached to {file}")
                _detach(name)
            found.append((name, pid))
    return found


def _image_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    return os.path.realpath(os.fsdecode(words[-1])) if os.path.basename(words[0]) == b"qemu-nbd" else ""


def _in_use(name: str) -> bool:
    """Whether something has it, or a partition of it, mounted: then nobody gets it for himself."""
    try:
        os.close(os.open(f"{DEV}/{name}", os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _detach(name: str) -> None:
    result = tool(["qemu-nbd", "-d", f"{DEV}/{name}"])
    if result.status != 0:
        log.warn(f"qemu-nbd -d {DEV}/{name} {result.why()}")


def _until(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP)
    return True


# -- the keeper -----------------------------------------------------------------------------------------------------------


def _title(name: str) -> str:
    return f"[lxc nbd] {DEV}/{name}"


def _has_keeper(name: str) -> bool:
    wanted = _title(name).encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if file.read().rstrip(b"\0") == wanted:
                        return True
            except OSError:
                continue  # it has just ended
    return False


def _keep(name: str) -> None:
    """Fork the keeper of a device. It holds nothing of ours, neither descriptors nor locks, and loads nothing."""
    owner = os.pidfd_open(os.getpid())
    pid = _pid(name)
    keeper = os.fork()
    if keeper:
        os.close(owner)
        return
    try:
        _signal.pthread_sigmask(_signal.SIG_BLOCK, range(1, 32))
        os.setsid()
        os.chdir("/")
        prctl.set_title(_title(name))
        kept = 3
        null = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        if owner != kept:
            os.dup2(owner, kept)
        os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
        poller = select.poll()
        poller.register(kept, select.POLLIN)
        poller.poll()
        step = _STEP
        while _pid(name) == pid and _in_use(name):
            time.sleep(step)
            step = min(2 * step, 1.0)
        if _pid(name) == pid:
            _detach(name)
    finally:
        os._exit(0)
