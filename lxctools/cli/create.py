# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-create: make a container from a template."""

from __future__ import annotations

import os

from .. import container as api
from ..container import Container
from ..errors import LxcError
from . import _out
from ._options import REQUIRED, Command, Option, Values
from ._values import size

BACKENDS = ("dir", "btrfs", "loop", "lvm", "nbd", "overlay", "overlayfs", "rbd", "zfs", "best", "none")
_BACKEND_OPTIONS = (
    (("fstype", "fssize"), ("lvm", "loop", "rbd"), "Filesystem type and size are only valid with block devices"),
    (("lvname", "vgname", "thinpool"), ("lvm",), "--lvname, --vgname and --thinpool are only valid with -B lvm"),
    (("rbdname", "rbdpool", "rbduser"), ("rbd",), "--rbdname and --rbdpool are only valid with -B rbd"),
    (("zfsroot",), ("zfs",), "zfsroot is only valid with -B zfs"),
)

_OPTIONS = ("dir", *(name for names, _backends, _message in _BACKEND_OPTIONS for name in names))

COMMAND = Command(
    "create",
    "[-n] NAME -t TEMPLATE [OPTIONS] [-- TEMPLATE-OPTIONS]",
    "Make a container: its folder, its configuration, and a root file system filled by the template.",
    (
        Option("B", "bdev", REQUIRED, "bdev", "where the root file system lives: dir, overlay, btrfs, loop, lvm, zfs, rbd, best", metavar="BACKEND"),
        Option("f", "config", REQUIRED, "config", "the configuration to begin with", metavar="FILE"),
        Option("t", "template", REQUIRED, "template", 'a template\'s name or path; "none": no root file system'),
        Option("0", "lvname", REQUIRED, "lvname", "LVM logical volume", metavar="NAME"),
        Option("1", "vgname", REQUIRED, "vgname", "LVM volume group", metavar="NAME"),
        Option("2", "thinpool", REQUIRED, "thinpool", "LVM thin pool", metavar="NAME"),
        Option("3", "fstype", REQUIRED, "fstype", "file system type on a block device", metavar="TYPE"),
        Option("4", "fssize", REQUIRED, "fssize", "size of the block device; unit b, k, m, g, t", metavar="SIZE",
               convert=size),
        Option("5", "zfsroot", REQUIRED, "zfsroot", "parent dataset of zfs", metavar="PATH"),
        Option("6", "dir", REQUIRED, "dir", "make the root file system in this folder"),
        Option("7", "rbdname", REQUIRED, "rbdname", "Ceph image", metavar="NAME"),
        Option("8", "rbdpool", REQUIRED, "rbdpool", "Ceph pool", metavar="POOL"),
        Option("9", "rbduser", REQUIRED, "rbduser", "Ceph user", metavar="USER"),
    ),
    makes=True,
    undo=True,
    rcfile=False,
)  # fmt: skip


def run(values: Values) -> int:
    """0 made, 1 not made and nothing left behind."""
    if not values.template:
        raise LxcError("A template must be specified", remedy='Use "none" if you really want a container without a rootfs')
    backend = _check_backend(values)
    container = Container(values.name, values.lxcpath)
    try:
        container.create(
            None if values.template == "none" else values.template,
            values.words,
            config_file=values.config,
            backend=backend,
            backend_options={name: str(getattr(values, name)) for name in _OPTIONS if getattr(values, name) is not None},
            quiet=values.quiet,
        )
    except LxcError as error:
        if not error.message.startswith("Container already exists"):
            error.message = f"Failed to create container {container.name}: {error.message}"
        raise
    return 0


def _check_backend(values: Values) -> str:
    if values.dir is not None and not os.path.isabs(values.dir):
        raise LxcError("--dir should use absolute path")
    asked = values.bdev or "dir"
    for names, backends, message in _BACKEND_OPTIONS:
        if any(getattr(values, name) is not None for name in names) and asked not in (*backends, "best"):
            raise LxcError(message)
    if asked not in BACKENDS:
        raise LxcError(f"{asked} is not a valid backing storage type", remedy="one of " + " ".join(BACKENDS))
    return asked


def after_help(values: Values) -> None:
    """`-t TEMPLATE -h` prints the template's help too."""
    if values.template and values.template != "none":
        _out.flush()
        api.show_template_help(values.template)
