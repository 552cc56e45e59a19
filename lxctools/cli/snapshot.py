# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-snapshot: make, list, restore and remove snapshots of a container."""

from __future__ import annotations

from ..container import Container, as_json
from ..errors import LxcError, NotDefined
from . import _out
from ._options import NONE, REQUIRED, BadValue, Command, Option, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..lifecycle.snapshot import Snapshot

CREATE, LIST, RESTORE, DESTROY = "create", "list", "restore", "destroy"
ALL = "ALL"


def _restore(values: Values, argument: str) -> None:
    values.task, values.snapshot = RESTORE, argument


def _destroy(values: Values, argument: str) -> None:
    values.task, values.snapshot = DESTROY, argument


def _check(values: Values) -> None:
    task = values.task or CREATE
    for given, needed, text in (
        (values.comment is not None, CREATE, "-c is for making a snapshot"),
        (values.newname is not None, RESTORE, "-N needs -r"),
        (values.showcomments, LIST, "-C needs -L"),
        (values.json, LIST, "--json needs -L"),
    ):
        if given and task != needed:
            raise BadValue(text)


COMMAND = Command(
    "snapshot",
    "[-n] NAME [-c FILE | -L [-C | --json] | -r SNAPSHOT [-N NEWNAME] | -d SNAPSHOT|ALL]",
    "Make a snapshot of a container; list, restore or remove its snapshots.",
    (
        Option("L", "list", NONE, "task", "list the snapshots", "const", const=LIST),
        Option("r", "restore", REQUIRED, "snapshot", "make the container again from a snapshot", "call", metavar="SNAPSHOT", convert=_restore),
        Option("N", "newname", REQUIRED, "newname", "with -r: make another container of it"),
        Option("d", "destroy", REQUIRED, "snapshot", "remove a snapshot; ALL: every one", "call", metavar="SNAPSHOT", convert=_destroy),
        Option("c", "comment", REQUIRED, "comment", "keep a copy of FILE with the snapshot", metavar="FILE"),
        Option("C", "showcomments", NONE, "showcomments", "with -L: show the comments too"),
        Option("", "json", NONE, "json", "with -L: print it as JSON, comments included"),
    ),
    undo=True,
    rcfile=False,
    check=_check,
)  # fmt: skip


def run(values: Values) -> int:
    """0 done, 1 not done; a failed one changes nothing."""
    task = values.task or CREATE
    container = Container(values.name, values.lxcpath)
    if len(values.words) > (1 if task == RESTORE and values.newname is None else 0):
        raise LxcError("Too many arguments", remedy=f"not expected: {values.words[-1]}")
    if not container.defined:
        raise NotDefined(
            f"No container config specified: {container.name} is not defined", remedy=f"lxc-ls -P {container.lxcpath} lists what is"
        )
    container.require_control()
    if task == LIST:
        if values.json:
            _out.line(as_json(list(map(_as_data, container.snapshot_list()))))
        else:
            _list(container, values.showcomments)
    elif task == CREATE:
        _told("Error creating a snapshot", lambda: container.snapshot(values.comment or "", quiet=values.quiet))
    elif task == RESTORE:
        new = values.newname if values.newname is not None else values.words[0] if values.words else None
        _told(f"Error restoring snapshot {values.snapshot}", lambda: container.snapshot_restore(values.snapshot, new, quiet=values.quiet))
    elif values.snapshot == ALL:
        _told(f"Error destroying snapshot {ALL}", container.snapshot_destroy_all)
    else:
        _told(f"Error destroying snapshot {values.snapshot}", lambda: container.snapshot_destroy(values.snapshot))
    return 0


def _told(what: str, call: object) -> None:
    assert callable(call)
    try:
        call()
    except LxcError as error:
        error.message = f"{what}: {error.message}"
        raise


def _list(container: Container, comments: bool) -> None:
    found = container.snapshot_list()
    if not found:
        _out.text("No snapshots\n")
    for snapshot in found:
        _out.text(f"{snapshot.name} ({snapshot.folder}) {snapshot.time or '(null)'}\n")
        if comments:
            _out.text(snapshot.comment)


def _as_data(snapshot: Snapshot) -> dict[str, str | None]:
    """See docs/json.md."""
    return {
        "name": snapshot.name, "path": f"{snapshot.folder}/{snapshot.name}", "time": snapshot.time or None,
        "comment": snapshot.comment or None,
    }  # fmt: skip
