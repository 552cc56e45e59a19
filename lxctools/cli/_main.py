# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run one lxc-* command: options, log, the command's run(), and every failure as one line and liblxc's exit code.

    lxc-start: NAME: what was attempted: why it failed (remedy)

No traceback reaches a user, unless LXCTOOLS_DEBUG is set in the environment.
"""

from __future__ import annotations

import _signal
import errno
import os
import sys

from .. import LXC_VERSION, load_module, log, paths
from ..errors import ConfigError, Denied, LxcError, describe, os_path
from . import _options, _out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, ModuleType
    from typing import NoReturn

    from ._options import Command, Values

_REMEDIES = {errno.EMFILE: "the limit of open files is too low: `ulimit -n` shows and raises it"}
_EXPLAINED = ("start", "execute")  # which say all that is wrong with a configuration, as lxc-config check does


class Interrupted(BaseException):
    """A signal that ends the command after what was begun has been undone."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(name: str, argv: list[str] | None = None) -> NoReturn:
    """Run lxc-NAME with sys.argv and exit."""
    if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _repair_standard_descriptors()
    code = 1
    try:
        code = _guarded(name, sys.argv if argv is None else argv)
        _out.flush()
    except BrokenPipeError:
        _die_of(_signal.SIGPIPE)
    except LxcError as error:
        _say(str(error))
        code = code or error.exit_code
    except Interrupted as error:
        _die_of(error.number)
    # Nothing is left to be done by an orderly end of the interpreter, which takes as long as a whole lxc-info.
    os._exit(code)


def _repair_standard_descriptors() -> None:
    """A closed 0, 1 or 2 would be taken by the next file we open; /dev/null takes it."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open("/dev/null", os.O_RDWR), True)


def _guarded(name: str, argv: list[str]) -> int:
    """The command's exit code; every failure is told here."""
    log.setup("lxc-" + name)
    if os.environ.get("LXCTOOLS_DEBUG"):
        return _run(name, argv)
    try:
        return _run(name, argv)
    except LxcError as error:
        _say(str(error))
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        _say(str(LxcError(describe(error), remedy=_REMEDIES.get(error.errno or 0, ""))))
        return 1
    except Interrupted:
        raise
    except BaseException as error:
        _say(_bug(error))
        return 1


def _run(name: str, argv: list[str]) -> int:
    module = _module(name)
    command: Command = module.COMMAND
    called = _called(argv, command)
    try:
        if hasattr(module, "parse"):
            values = _own_reading(module, argv[1:], called)
            _let_signals_undo(command)
            return int(module.run(values))
        values = read_common(command, argv[1:], called)
    except _options.Ended as end:
        return _ended(module, end)
    _let_signals_undo(command)
    try:
        code: int = module.run(values)
    except ConfigError as error:
        if command.name in _EXPLAINED and not values.quiet:
            from . import _check

            path = values.rcfile or f"{values.lxcpath}/{values.name}/config"
            _check.refuse(path, error, values.lxcpath, values.name)
        raise
    except Denied as error:
        raise Denied(
            f"Insufficent privileges to control {paths.printable(values.name)}: {error.message}",
            remedy="the user who started it may, and root",
        ) from error
    return code


def read_common(command: Command, words: list[str], called: str) -> Values:
    """The values of a command with the common options, which are obeyed: the log is as they say. Raises Ended, LxcError."""
    values = _options.read(command, words, called=called, version=LXC_VERSION)
    if not values.lxcpaths:
        values.lxcpaths = [_options.lxcpath(_default_lxcpath())]
    values.lxcpath = values.lxcpaths[0]
    shown = paths.printable(values.name) if command.named else ""
    log.setup(command.prog.partition(" ")[0], shown, level=_level(values), to_stderr=not values.quiet)
    if command.named:
        _check_name(command, values)
    _open_log_file(values)
    return values


def _own_reading(module: ModuleType, words: list[str], called: str) -> Values:
    """The values of a command that reads its command line itself; --help and --version are every command's. Raises Ended."""
    if words[:1] == ["--version"]:
        raise _options.Ended(0, stdout=f"{LXC_VERSION}\n")
    values: Values = module.parse(["-h"] if words[:1] == ["--help"] else words, called)
    return values


def _module(name: str) -> ModuleType:
    """lxctools.cli.NAME."""
    return load_module(f"{__package__}.{name.replace('-', '_')}")


def _called(argv: list[str], command: Command) -> str:
    """The program name as typed. A script found in PATH gets its full path, where a C program has the bare name."""
    typed = argv[0] if argv and argv[0] else command.prog
    folder, _slash, bare = typed.rpartition("/")
    return os_path(bare if folder in os.environ.get("PATH", "").split(":") else typed)


def _ended(module: ModuleType, end: _options.Ended) -> int:
    _out.text(end.stdout)
    _out.complain(end.stderr)
    after_help = getattr(module, "after_help", None)
    if after_help is not None and end.values is not None:
        after_help(end.values)
    return end.code


def _default_lxcpath() -> str:
    from ..config.system import system_value

    return system_value("lxc.lxcpath") or paths.default_lxcpath()


def _level(values: Values) -> int:
    return log.level_number(values.logpriority) if values.logpriority is not None else log.ERROR


def _check_name(command: Command, values: Values) -> None:
    """Refuse names that cannot be a container's folder. A folder that exists all the same can be worked on."""
    new = command.makes or not os.path.lexists(f"{values.lxcpath}/{values.name}")
    paths.check_name(values.name, new=new, exit_code=command.bad_name)


def _open_log_file(values: Values) -> None:
    """-o and -l, as LXC picks the file; but no folder is made for a container that does not exist."""
    given: str | None = values.logfile
    if given == "none" or (given is None and values.logpriority is None):
        return
    if given is not None:
        try:
            log.open_file(given)
        except OSError as error:
            raise LxcError(f'Failed to enable logfile "{os_path(given)}": {describe(error)}') from error
        return
    if not values.name:
        return
    for path in log.default_files(values.lxcpath, values.name):
        try:
            log.open_file(path)
            return
        except OSError:
            pass  # LXC behaviour: a default file that cannot be opened is no error


def _say(message: str) -> None:
    log.error(message)


def _let_signals_undo(command: Command) -> None:
    if command.undo:
        for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
            if _signal.getsignal(number) != _signal.SIG_IGN:
                _signal.signal(number, _interrupt)
        sys.unraisablehook = _not_lost


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _signal.signal(number, _signal.SIG_IGN)  # a second one must not interrupt the undoing
    raise Interrupted(number)


def _not_lost(lost: sys.UnraisableHookArgs) -> None:
    """A signal that came in a callback of the interpreter's, where an exception goes nowhere, comes once more in a moment."""
    error = lost.exc_value
    if not isinstance(error, Interrupted):
        sys.__unraisablehook__(lost)
        return
    number = error.number
    _signal.signal(_signal.SIGALRM, lambda _alarm, frame: _interrupt(number, frame))
    _signal.setitimer(_signal.ITIMER_REAL, 0.001)


def _die_of(number: int) -> None:
    """End by this signal, so that the caller sees what it would see of a C program."""
    _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (number,))
    os.kill(os.getpid(), number)


def _bug(error: BaseException) -> str:
    """One line for an exception that nobody expected: what, and in which line of ours it happened."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        package = code.co_filename.rpartition("/lxctools/")[2]
        if package != code.co_filename:
            where = f" in lxctools/{package}:{trace.tb_lineno} ({code.co_name})"
        trace = trace.tb_next
    return (
        f"this is a bug in lxctools: {type(error).__name__}: {os_path(describe(error))}{where} "
        "(set LXCTOOLS_DEBUG=1 and run it again for the whole story, and report that)"
    )
