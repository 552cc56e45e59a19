# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-file: files into a container, out of it, and through an editor."""

from __future__ import annotations

import _signal
import os
import stat

from .. import log, process
from ..errors import LxcError, describe
from . import reach, transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from ..config.conf import Config

    Use = Callable[[BinaryIO], None]

STANDARD = "-"


class Container:
    """Whose files: what reach.start() needs of it."""

    __slots__ = ("conf", "lxcpath", "name")

    def __init__(self, name: str, lxcpath: str, conf: Config) -> None:
        self.name = name
        self.lxcpath = lxcpath
        self.conf = conf


def push(
    container: Container,
    sources: Sequence[str],
    path: str,
    owner: transfer.Owner,
    *,
    recursive: bool = False,
    parents: bool = False,
) -> None:
    """Copy files of the host ("-": standard input) to a path in the container. Raises LxcError.

    An existing file keeps mode and owner unless they are given; a new one belongs to the container's root.
    """
    several = len(sources) > 1
    names = [_name_of(source) for source in sources]

    def work(root: int, stream: BinaryIO) -> None:
        for name in names:
            try:
                parent, entry = transfer.place(root, path, name, folder=several, parents=parents)
                transfer.receive(stream, parent, entry, owner)
            except OSError as error:
                remedy = "-p makes the folders that are missing" if isinstance(error, FileNotFoundError) and not parents else ""
                raise LxcError(f"cannot write to {path} in {container.name}: {describe(error)}", remedy=remedy) from error
            os.close(parent)

    def use(stream: BinaryIO) -> None:
        for source in sources:
            if source == STANDARD:
                transfer.send_stream(0, stream)
            else:
                _send(source, stream, recursive)

    for source in sources:
        if source != STANDARD and not os.path.exists(source):
            raise LxcError(f"cannot read {source}: no such file")
    _exchange(container, work, use, inward=True)


def _name_of(source: str) -> str:
    return "stdin" if source == STANDARD else os.path.basename(os.path.abspath(source)) or "root"


def _send(source: str, stream: BinaryIO, recursive: bool) -> None:
    folder, name = os.path.split(os.path.realpath(source))
    try:
        parent = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            transfer.send_path(parent, name or ".", stream, recursive=recursive, told=log.tell)
        finally:
            os.close(parent)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LxcError(f"cannot read {source}: {describe(error)}") from error


def pull(container: Container, paths: Sequence[str], target: str, *, mode: int | None = None, recursive: bool = False) -> None:
    """Copy files of the container to a path of the host ("-": standard output). They belong to the caller. Raises LxcError."""
    into = os.path.isdir(target)
    if target != STANDARD and not into and (len(paths) > 1 or target.endswith("/")):
        raise LxcError(f"{target} is no folder", remedy="make it first")

    def use(stream: BinaryIO) -> None:
        for path in paths:
            _receive(path, stream)

    def _receive(path: str, stream: BinaryIO) -> None:
        real = os.path.realpath(target)
        try:
            if target == STANDARD:
                transfer.receive_stream(stream, 1)
            elif not into and os.path.exists(real) and not stat.S_ISREG(os.stat(real).st_mode):
                fd = os.open(real, os.O_WRONLY | os.O_CLOEXEC)
                transfer.receive_stream(stream, fd)
                os.close(fd)
            else:
                folder, name = (real, os.path.basename(path.rstrip("/")) or container.name) if into else os.path.split(real)
                parent = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                transfer.receive(stream, parent, name, transfer.Owner(mode))
                os.close(parent)
        except OSError as error:
            raise LxcError(f"cannot write {target}: {describe(error)}") from error

    _exchange(container, _sender(container, paths, recursive=recursive), use, inward=False)


def _sender(container: Container, paths: Sequence[str], *, recursive: bool, missing: bool = False) -> Callable[[int, BinaryIO], None]:
    def work(root: int, stream: BinaryIO) -> None:
        for path in paths:
            try:
                parent, name = transfer.resolve(root, path)
                if missing and (not name or transfer.is_folder(parent, name)):
                    raise LxcError(f"{path} is a folder, and no file to edit")
                transfer.send_path(parent, name or ".", stream, recursive=recursive, told=log.tell)
                os.close(parent)
            except BrokenPipeError:
                raise
            except OSError as error:
                if missing and isinstance(error, FileNotFoundError):
                    transfer.send_nothing(stream)
                    continue
                raise LxcError(f"cannot read {path} in {container.name}: {error.strerror}") from error

    return work


def _exchange(container: Container, work: Callable[[int, BinaryIO], None], use: Use, *, inward: bool) -> None:
    """work in the container and use on the host, with a stream between them."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    theirs, ours = (reader, writer) if inward else (writer, reader)

    def inside(root: int) -> None:
        with open(theirs, "rb" if inward else "wb") as stream:
            work(root, stream)

    try:
        child = reach.start(container.name, container.lxcpath, container.conf, inside, {theirs})
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    failure: LxcError | None = None
    try:
        with open(ours, "wb" if inward else "rb") as stream:
            use(stream)
    except BrokenPipeError:
        pass  # the other side says why
    except LxcError as error:
        failure = error
    try:
        child.wait()
    except LxcError as error:
        # Who broke off has the reason; the other one only misses the rest.
        if failure is None or "the other side ended" in failure.message:
            raise
        if "the other side ended" not in error.message and "Broken pipe" not in error.message:
            log.debug(f"the other side: {error.message}")
    if failure is not None:
        raise failure


def edit(container: Container, path: str, editor: str, folder: str) -> bool:
    """Let the user edit a file of the container; whether it was changed. It keeps owner and mode; a new one belongs to root.

    editor: a shell command. folder: an empty private one of the host, which has what was typed in it when anything fails.
    Raises LxcError.
    """
    name = os.path.basename(path.rstrip("/")) or "file"
    copy = f"{folder}/{name}"
    parent = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _exchange(
            container,
            _sender(container, [path], recursive=False, missing=True),
            lambda stream: transfer.receive(stream, parent, name, transfer.Owner(0o600)),
            inward=False,
        )
    finally:
        os.close(parent)
    before = _content(copy)
    status = _let_edit(editor, copy)
    if status != 0:
        if before is not None and _content(copy) == before:
            os.unlink(copy)
        raise LxcError(f"{path} is left as it was: the editor ({editor}) ended with status {status}")
    after = _content(copy)
    if after is None or after == before:
        return False
    mode = 0o644 if before is None else None
    if mode is not None:
        os.chmod(copy, mode)
    push(container, [copy], path, transfer.Owner())
    return True


def _let_edit(editor: str, copy: str) -> int:
    """The editor's status. What is typed at the terminal reaches the editor, which may live on with it; so do we."""
    before = {}
    try:
        for number in (_signal.SIGINT, _signal.SIGQUIT):
            before[number] = _signal.signal(number, _signal.SIG_IGN)
    except ValueError:
        pass  # in a thread of somebody's program: its signals are not ours
    try:
        pid = process.spawn(["/bin/sh", "-c", f'{editor} "$1"', "sh", copy])
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        for number, handler in before.items():
            _signal.signal(number, handler)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
