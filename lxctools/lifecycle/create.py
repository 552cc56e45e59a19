# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-create: one transaction. It leaves the whole container, or nothing of what this run made.

    initial configuration read, template found
    LXCPATH/NAME made, `partial` in it locked                     (under the container's lock)
    root file system made, configuration written
    template run; header put before the configuration
    lxc.hook.create run
    `partial` removed

What exists before is never removed: an exception undoes exactly what was made, and `partial` says the same to whoever finds
it after a kill -9.
"""

from __future__ import annotations

import os

from .. import files, locks, log, process
from ..config import grammar, writer
from ..config.conf import Config
from ..config.system import system_value
from ..errors import LxcError, describe
from ..hooks.run import HookContext, run_line
from ..linux import propagation, sched
from ..storage import backend as storage
from ..storage import place
from ..storage.best import refuse_unprivileged, resolve_best
from ..storage.place import opened_to_fill
from ..template.run import find_template, run_template
from ..undo import Undo, held
from . import child
from .folder import CONFIG, keep_rootfs
from .reserve import give, intend, make_parents, refuse_existing, reserve, watch
from .steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

HOOK = "lxc.hook.create"


class _Creation:
    """What the steps share."""

    __slots__ = ("conf", "folder", "hooks", "lxcpath", "module", "name", "partial", "quiet", "rootfs", "template", "undo", "words")

    def __init__(self, name: str, lxcpath: str, undo: Undo) -> None:
        self.name = name
        self.lxcpath = lxcpath
        self.folder = f"{lxcpath}/{name}"
        self.undo = undo
        self.conf = Config()
        self.hooks: list[str] = []  # values of lxc.hook.create
        self.template = ""  # its path; "" for none
        self.words: Sequence[str] = ()
        self.quiet = False
        self.rootfs = ""
        self.module: ModuleType | None = None  # of the root file system
        self.partial: locks.PartialLock | None = None


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
    for none: then there is no root file system unless the configuration names one. backend: a type, "best", or
    "none", which means dir. progress: show the template's output.
    """
    before = os.umask(0o022)
    try:
        with Undo() as undo:
            this = _Creation(name, lxcpath, undo)
            this.template = template or ""
            this.words = template_args
            this.quiet = not progress
            _create(this, config_file, _backend(backend, lxcpath), backend_opts or {})
    finally:
        os.umask(before)


def _backend(wanted: str, lxcpath: str) -> str:
    """The type to make. Raises LxcError for one that the caller may not make."""
    wanted = wanted or "dir"
    if wanted == "best":
        place = lxcpath
        while not os.path.isdir(place) and place != "/":
            place = os.path.dirname(place)
        return resolve_best(place)
    refuse_unprivileged(storage.plain(wanted))
    return storage.plain(wanted)


def _create(this: _Creation, config_file: str | None, backend: str, options: dict[str, str]) -> None:
    refuse_existing(this.name, this.lxcpath)
    if this.template:
        this.template = find_template(this.template)
    _read(this, config_file)
    module = storage.load(backend)
    make_parents(this.folder, this.undo)
    this.partial = reserve(this.name, this.lxcpath, this.conf["lxc.idmap"], this.undo)
    if this.template or this.conf["lxc.rootfs.path"]:
        step("make the root file system")
        _make_rootfs(this, module, options)
    this.undo(files.unlink_quietly, f"{this.folder}/{CONFIG}")
    step("write the configuration")
    _write_first(this)
    if this.template:
        step("run the template")
        _run_template(this)
    step("create hooks")
    _run_hooks(this)
    step("release the mark")
    assert this.partial is not None
    with held():  # interrupted from here on, it is whole
        this.partial.release()
        this.undo.commit()


# -- the initial configuration ------------------------------------------------------------------------------------------


def _read(this: _Creation, config_file: str | None) -> None:
    """The configuration to begin with, and the create hooks. A missing default is an empty one. Raises ConfigError."""
    always = system_value(HOOK)
    if always:
        this.hooks.append(always)
    path = config_file or system_value("lxc.default_config") or ""
    if not config_file and not os.path.exists(path):
        log.warn(f"there is no default configuration {path}: the container begins with an empty one")
        return
    text = grammar.read(grammar.Source(path, None))
    this.conf.load_text("".join(_without_hooks(this, line) for line in grammar.split_lines(text)), path)
    this.conf.path = ""


def _without_hooks(this: _Creation, line: str) -> str:
    """The line; in the place of a lxc.hook.create a comment: C LXC could not read the container's configuration with it."""
    try:
        found = grammar.parse_line(line)
    except ValueError:
        return line  # load_text() tells
    if found is None or found[0] != HOOK:
        return line
    if found[1]:
        this.hooks.append(found[1])
    else:
        this.hooks.clear()
    return f"# run by lxc-create: {line.strip()}\n"


# -- root file system ---------------------------------------------------------------------------------------------------


def _make_rootfs(
    this: _Creation,
    module: ModuleType,
    options: dict[str, str],
) -> None:
    conf = this.conf
    path = conf["lxc.rootfs.path"]
    made = False
    if path:
        if conf.rootfs_type:
            module = storage.for_config(conf)
        if not (module.exists(path) if conf.rootfs_type else os.path.exists(path)):
            raise LxcError(
                f'The rootfs "{path}" of the configuration does not exist', remedy="make it, or correct lxc.rootfs.path"
            )
    else:
        if options.get("dir"):
            make_parents(options["dir"], this.undo)
        begun = watch(this.partial, conf["lxc.idmap"], this.undo)
        value, made = module.create(storage.Spec(this.folder, this.name, options, begun, intended=intend(this.partial)))
        path = value.partition(":")[2]
        conf.set("lxc.rootfs.path", value)
    if not made and module.INFO.is_folder and not files.is_below(path, this.folder):
        this.undo(files.unlink_quietly, keep_rootfs(this.folder, path))
    if made and module.INFO.host_only:
        with opened_to_fill(module, path) as inside:
            os.chown(inside.path, *storage.container_root(conf["lxc.idmap"]))
    this.module = module
    for folder in storage.places(module, path, this.folder):
        give(folder, conf["lxc.idmap"], this.undo)
    this.rootfs = path


def _write_first(this: _Creation) -> None:
    """The configuration as the template finds it. Not synced: until `partial` goes, a crash undoes the whole creation."""
    path = f"{this.folder}/{CONFIG}"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660), "wb") as file:
            file.write(this.conf.write_text().encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise LxcError(f"cannot write the configuration {path}: {describe(error)}") from error


# -- template and hooks -------------------------------------------------------------------------------------------------


def _run_template(this: _Creation) -> None:
    path = f"{this.folder}/{CONFIG}"
    assert this.module is not None
    with opened_to_fill(this.module, this.rootfs) as inside:
        run_template(
            this.template,
            this.name,
            this.folder,
            this.rootfs if inside.fd < 0 else this.conf["lxc.rootfs.mount"],
            this.words,
            this.conf["lxc.idmap"],
            quiet=this.quiet,
            tree=inside.fd,
        )
    conf = Config.read(path)  # a template that wrote something unreadable has failed
    if not conf["lxc.rootfs.path"]:
        raise LxcError(f"the template {this.template} has removed lxc.rootfs.path from {path}")
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise LxcError(f"cannot read {path}: {describe(error)}") from error
    # A line end in an argument would turn the rest of it into a setting.
    words = [word.replace("\n", " ").replace("\r", " ") for word in this.words]
    writer.save(path, writer.creation_header(this.template, words) + text)


def _run_hooks(this: _Creation) -> None:
    """lxc.hook.create: argv and variables as for the destroy hook, with the type `create`. Raises LxcError.

    LXC_ROOTFS_MOUNT names the root file system, as for the clone hook: what is no folder is mounted for the hooks alone.
    """
    if not this.hooks:
        return
    conf = Config.read(f"{this.folder}/{CONFIG}")
    context = HookContext(this.name, this.lxcpath, conf, process.callers_environment())
    environment = context.outside()
    if this.rootfs and this.module is not None:
        environment["LXC_ROOTFS_MOUNT"] = this.rootfs

    def run_all() -> None:
        for line in this.hooks:
            run_line(line, this.name, context.version, "lxc", "create", [], environment, HOOK)

    module = this.module
    if not this.rootfs or module is None or module.INFO.is_folder:
        run_all()
        return
    target = environment["LXC_ROOTFS_MOUNT"] = conf["lxc.rootfs.mount"]

    def run_mounted() -> None:
        sched.unshare(sched.CLONE_NEWNS)
        propagation.slave_all()
        place.attach(module.open_to_fill(this.rootfs), target, this.rootfs)
        run_all()

    child.run(run_mounted, "ran the create hooks")
