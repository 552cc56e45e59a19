# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-create: one transaction. It leaves the whole container, or nothing of what this run made.

    LXCPATH/NAME made, `partial` in it locked
    configuration read, root file system made, configuration written
    template run
    header put before the configuration; lxc.hook.create run
    `partial` removed
"""

from __future__ import annotations

import os
import sys

from .. import files, locks
from ..config.conf import Config
from ..config.system import system_value, system_values
from ..errors import LxcError, describe
from ..hooks.run import HookContext, run_line
from ..idmap.ranges import IdMap, to_host
from ..storage import backend as storage
from ..template.run import find_template, run_template
from ..undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

HOOK = "lxc.hook.create"

_HEADER = """\
# Template used to create this container: {template}
# Parameters passed to the template:{parameters}
# For additional config options, please look at lxc.container.conf(5)

# Uncomment the following line to support nesting containers:
#lxc.include = /usr/share/lxc/config/nesting.conf
# (Be aware this has security implications)

"""


def create(
    name: str,
    lxcpath: str,
    *,
    config_file: str | None,
    template: str | None,
    template_args: Sequence[str] = (),
    backend: str = "dir",
    backend_opts: dict[str, str] | None = None,
    progress: bool = True,
) -> None:
    """Create a container. Raises LxcError; then, as on every other exception, nothing of this run is left.

    config_file: the configuration to begin with; default: lxc.default_config of lxc.conf. template: a name or a path, None
    for none: then there is no root file system unless the configuration names one. progress: show the template's output.
    """
    path = find_template(template) if template is not None else ""
    hooks: dict[str, list[str]] = {HOOK: []}
    conf = _read(config_file, hooks)
    folder = f"{lxcpath}/{name}"
    _clear_abandoned(name, lxcpath, folder)
    with Undo() as undo:
        _make_folder(lxcpath, folder, undo)
        if not path and not conf["lxc.rootfs.path"]:
            undo(files.unlink_quietly, f"{folder}/config")
            _save(conf, folder)
        else:
            _fill(name, lxcpath, folder, conf, path, template_args, backend, backend_opts or {}, undo, quiet=not progress)
        _run_hooks(name, lxcpath, folder, [*system_values(HOOK), *hooks[HOOK]])
        undo.commit()


def _read(config_file: str | None, hooks: dict[str, list[str]]) -> Config:
    """The initial configuration. A missing default is an empty one; a missing -f FILE is an error."""
    path = config_file or system_value("lxc.default_config") or ""
    if not config_file and not os.path.exists(path):
        return Config()
    if config_file and not os.path.isfile(path):
        raise LxcError(f"cannot read the configuration {path}: no such file")
    conf = Config.read(path, hooks)
    conf.path = ""
    return conf


def _clear_abandoned(name: str, lxcpath: str, folder: str) -> None:
    """What a killed creation left goes; what another one is making, or somebody's container, does not."""
    found = locks.partial_state(lxcpath, name)
    if found == locks.ONGOING:
        raise LxcError(f"{folder} is being created by another lxc-create", remedy="wait for it to end")
    if found == locks.ABANDONED:
        sys.stderr.write(f"lxc-create: removing what an interrupted creation left in {folder}\n")
        files.remove_tree(folder)
    elif os.path.exists(f"{folder}/config"):
        raise LxcError(f"{name} already exists: {folder}/config", remedy="lxc-destroy removes it")


def _make_folder(lxcpath: str, folder: str, undo: Undo) -> None:
    try:
        os.makedirs(lxcpath, 0o755, exist_ok=True)
        before = os.umask(0o002)
        try:
            os.mkdir(folder, 0o770)
            undo(os.rmdir, folder)
        except FileExistsError:
            pass  # an empty one, or somebody's notes: used, and not removed by us
        finally:
            os.umask(before)
    except OSError as error:
        raise LxcError(
            f"cannot make the folder {folder}: {describe(error)}", remedy="is the lxcpath writable by this user?"
        ) from error


def _save(conf: Config, folder: str) -> None:
    try:
        conf.save(f"{folder}/config")
    except OSError as error:
        raise LxcError(f"cannot write {folder}/config: {describe(error)}") from error


def _fill(
    name: str,
    lxcpath: str,
    folder: str,
    conf: Config,
    template: str,
    words: Sequence[str],
    backend: str,
    options: dict[str, str],
    undo: Undo,
    *,
    quiet: bool,
) -> None:
    """The root file system, the configuration, the template."""
    try:
        partial = locks.PartialLock(folder)
    except OSError as error:
        raise LxcError(f"cannot mark the creation in {folder}: {describe(error)}") from error
    undo(partial.release)
    module = storage.load(backend)
    if conf["lxc.rootfs.path"]:
        rootfs = conf["lxc.rootfs.path"]
        if not os.path.exists(rootfs):
            raise LxcError(f'The rootfs "{rootfs}" does not exist', remedy="correct lxc.rootfs.path in the configuration")
    else:
        spec, made = module.create(storage.Spec(folder, name, options))
        if made:
            undo(module.destroy, spec.partition(":")[2])
        conf.set("lxc.rootfs.path", spec)
        rootfs = conf["lxc.rootfs.path"]
    undo(files.unlink_quietly, f"{folder}/config")
    _save(conf, folder)
    maps = conf["lxc.idmap"]
    if maps:
        _give_to_root(maps, folder, rootfs)
    if template:
        run_template(template, name, folder, rootfs, words, maps, quiet=quiet)
        _prepend_header(folder, template, words)
        Config.read(f"{folder}/config")  # a template that wrote something unreadable has failed
    partial.release()


def _give_to_root(maps: Sequence[IdMap], folder: str, rootfs: str) -> None:
    """The container's root owns its folder and its root file system."""
    uid, gid = to_host(maps, "u", 0), to_host(maps, "g", 0)
    if uid is None or gid is None:
        raise LxcError("lxc.idmap maps no id 0: a template cannot run", remedy="map u 0 ... and g 0 ...")
    try:
        for path in (folder, rootfs):
            os.chown(path, uid, gid)
    except OSError as error:
        raise LxcError(f'Error chowning "{rootfs}" to container root: {describe(error)}') from error


def _prepend_header(folder: str, template: str, words: Sequence[str]) -> None:
    path = f"{folder}/config"
    try:
        with open(path, "rb") as file:
            text = file.read()
        parameters = "".join(f" {word}" for word in words)
        header = _HEADER.format(template=template, parameters=parameters)
        files.write_atomic(path, os.fsencode(header) + text, 0o640)
    except OSError as error:
        raise LxcError(f"cannot write {path}: {describe(error)}") from error


def _run_hooks(name: str, lxcpath: str, folder: str, lines: list[str]) -> None:
    """lxc.hook.create: after the template has succeeded and the configuration is written; its failure undoes everything.

    Argv and variables as for the destroy hook, with the type `create`. Never written into the container's own
    configuration, which C LXC could not read any more.
    """
    if not lines:
        return
    conf = Config.read(f"{folder}/config")
    context = HookContext(name, lxcpath, conf)
    environment = {**os.environ, **context.common()}
    if conf["lxc.rootfs.path"]:
        environment["LXC_ROOTFS_MOUNT"] = conf["lxc.rootfs.path"]
    for line in lines:
        run_line(line, name, context.version, "lxc", "create", [], environment, HOOK)
