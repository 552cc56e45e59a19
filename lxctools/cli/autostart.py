# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-autostart: start, reboot, shut down or kill the containers that are to follow the host."""

from __future__ import annotations

import os
import sys
import time

from .. import container as api
from .. import log
from ..config.peek import Peek
from ..container import Container
from ..errors import ConfigError, Denied, LxcError, TimedOut
from ..lifecycle import autostart as plan
from ..paths import printable
from ..runtime import crowd
from . import _out, _overrides
from ._options import NONE, REQUIRED, BadValue, Command, Option, Values
from ._values import signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..lifecycle.autostart import Candidate
    from ..runtime.daemon import Report

PATIENCE = 60
SOME_FAILED = 2
# A start is work, and waits for the kernel now and then; an end is waiting for others.
_STARTS_AT_ONCE = 4
_ENDS_AT_ONCE = 250


def _check(values: Values) -> None:
    if values.json and not values.list:
        raise BadValue("--json needs -L")


COMMAND = Command(
    "autostart",
    "[-k | -s | -r] [-L] [-a] [-A] [-g GROUP[,GROUP...]]... [-t SECONDS]",
    "Start the containers whose configuration says lxc.start.auto = 1; or reboot, shut down or kill them.",
    (
        Option("k", "kill", NONE, "kill", "kill the running ones"),
        Option("L", "list", NONE, "list", "print which containers, with the delay after a start or reboot, and do nothing"),
        Option("r", "reboot", NONE, "reboot", "reboot the running ones"),
        Option("s", "shutdown", NONE, "shutdown", "shut the running ones down; kill those that do not stop in time"),
        Option("a", "all", NONE, "all", "whatever their groups (lxc.group)"),
        Option("A", "ignore-auto", NONE, "ignore_auto", "whether or not lxc.start.auto is set"),
        Option("g", "groups", REQUIRED, "groups", "the groups, in this order; an empty one: those in no group", "append",
               metavar="GROUP,..."),
        Option("t", "timeout", REQUIRED, "timeout", f"for -s: wait that long, not {PATIENCE}; -1: for ever",
               metavar="SECONDS", default=PATIENCE, convert=signed),
        Option("", "json", NONE, "json", "with -L: print it as JSON, in the order of the action"),
    ),
    named=False,
    most_words=0,
    surplus="-a, -A and -g choose the containers; lxc-start and lxc-stop take a name",
    undo=True,
    check=_check,
)  # fmt: skip


class _Action:
    """What is done. starts: to those that do not run, else to those that do. rests: lxc.start.delay follows each."""

    def __init__(self, words: str, do: Callable[[Container, Values, Report], object], *, starts: bool = False, rests: bool = False) -> None:
        self.words = words
        self.do = do
        self.starts = starts
        self.rests = rests


def run(values: Values) -> int:
    """0 all done, 2 some containers failed, 1 all of them, or nothing could be begun."""
    action = _action(values)
    if values.all and values.groups:
        log.error("Specifying -a (all) with -g (groups) doesn't make sense. All option overrides")
    found, broken = _candidates(values.lxcpath)
    waves = plan.waves(
        found,
        [group for text in values.groups for group in text.split(",")],
        everything=values.all,
        ignore_auto=values.ignore_auto,
        backwards=action in (_SHUTDOWN, _KILL),
    )
    failed = list(broken)
    tried = len(broken)
    listed = []
    warm = not action.starts
    for number, wave in enumerate(waves):
        failed_before = len(failed)
        ready = [one for one in wave if _is_ready(one, values, action, failed)]
        tried += len(failed) - failed_before
        if values.list:
            listed += [_as_data(one, number) for one in ready]
            for one in ready if not values.json else ():
                _out.line(f"{one.name} {one.delay}" if action.rests else one.name)
            continue
        tried += len(ready)
        if ready and not warm:
            api.preload_for_starting(Container(ready[0].name, values.lxcpath))
            warm = True
        failed += _do(ready, action, values)
    if values.json:
        _out.line(api.as_json(listed))
    _out.flush()
    if not failed:
        return 0
    log.error(f"{len(failed)} of {tried} containers failed: {' '.join(map(printable, failed))}")
    return 1 if len(failed) >= len(found) + len(broken) else SOME_FAILED


def _as_data(one: Candidate, wave: int) -> dict[str, object]:
    """See docs/json.md."""
    return {"name": one.name, "wave": wave, "order": one.order, "delay": one.delay, "groups": list(one.groups)}


def _candidates(lxcpath: str) -> tuple[list[Candidate], list[str]]:
    """The defined containers, and the names of those whose configuration cannot be read (told here)."""
    if not os.path.isdir(lxcpath):
        raise LxcError(f"cannot list the containers of {lxcpath}: there is no such folder", remedy="-P names the lxcpath")
    read = Peek(frozenset(plan.KEYS)).read
    found, broken = [], []
    for name in api.list_containers(active=False, config_path=lxcpath):
        path = f"{lxcpath}/{name}/config"
        try:
            found.append(plan.Candidate(name, read(path)))
        except ConfigError as error:
            # LXC behaviour: a container of somebody else's is none of ours.
            if os.access(path, os.R_OK):
                log.error(f"Failed to load config for {printable(name)}: {error}")
                broken.append(name)
    return found, broken


def _is_ready(one: Candidate, values: Values, action: _Action, failed: list[str]) -> bool:
    """Whether it is in the state to act on. Somebody else's is not; one that does not answer has failed."""
    try:
        return Container(one.name, values.lxcpath).running != action.starts
    except Denied:
        return False
    except TimedOut as error:
        log.error(f"{action.words}: {printable(one.name)}: {error}")
        failed.append(one.name)
        return False


def _do(wave: list[Candidate], action: _Action, values: Values) -> list[str]:
    """Act on all of them at the same time, and rest as long as the longest delay asks for; the names that failed."""
    if not wave:
        return []
    failed = []
    rest_until = 0.0

    def job(one: Candidate) -> Callable[[Report], object]:
        def doing(report: Report) -> None:
            log.set_name(printable(one.name))
            action.do(Container(one.name, values.lxcpath), values, report)

        return doing

    at_once = _STARTS_AT_ONCE * (os.cpu_count() or 1) if action.starts else _ENDS_AT_ONCE
    for number, reason in crowd.run([job(one) for one in wave], at_once, stay=action.starts):
        one = wave[number]
        if reason is not None:
            log.error(f"{action.words}: {printable(one.name)}: {reason}")
            failed.append(one.name)
        elif action.rests:
            rest_until = max(rest_until, time.monotonic() + one.delay)
    time.sleep(max(0.0, rest_until - time.monotonic()))
    return failed


def _action(values: Values) -> _Action:
    """LXC's order where several are given."""
    if values.shutdown:
        return _SHUTDOWN
    return _KILL if values.kill else _REBOOT if values.reboot else _START


def _start(container: Container, values: Values, report: Report) -> None:
    # A start that must run from a read-only view (a start hook) executes its command line again: that of lxc-start.
    folder = os.path.dirname(os.path.realpath(sys.argv[0]))
    log_options = [word for option, text in (("-o", values.logfile), ("-l", values.logpriority)) if text for word in (option, text)]
    quiet = ["-q"] if values.quiet else []
    sys.argv[:] = [f"{folder}/lxc-start", *quiet, *log_options, "-P", container.lxcpath, "-n", container.name]
    _overrides.use_log_of(container, values)
    container.start(report=report)


def _shutdown(container: Container, values: Values, _report: Report) -> None:
    try:
        stopped = container.shutdown(values.timeout) or values.timeout == 0
    except LxcError:
        stopped = False
    if not stopped:
        container.stop()


_START = _Action("Error starting container", _start, starts=True, rests=True)
_REBOOT = _Action("Error rebooting container", lambda container, *_: container.reboot(), rests=True)
_SHUTDOWN = _Action("Error shutting down container", _shutdown)
_KILL = _Action("Error killing container", lambda container, *_: container.stop())
