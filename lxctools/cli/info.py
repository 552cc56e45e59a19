# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-info: what is known of one container. Scripts read every line of this; the formats are LXC's."""

from __future__ import annotations

from .. import states
from ..container import Container, as_json
from ..errors import LxcError
from . import _figures, _out
from ._options import NONE, REQUIRED, Command, Option, Values

COMMAND = Command(
    "info",
    "[-n] NAME [-s] [-p] [-i] [-S] [-H] [-c KEY]...",
    "Print the state of the container, its init's process id, its addresses and what it uses.",
    (
        Option("c", "config", REQUIRED, "keys", "print this configuration item, as on disk", "append", metavar="KEY"),
        Option("i", "ips", NONE, "ips", "print the addresses", "count"),
        Option("s", "state", NONE, "state", "print the state", "count"),
        Option("p", "pid", NONE, "pid", "print the process id of init", "count"),
        Option("S", "stats", NONE, "stats", "print CPU, memory, block I/O and network use", "count"),
        Option("H", "no-humanize", NONE, "raw", "print bare numbers, and a single value without its label"),
        Option("", "json", NONE, "json", "print what is asked for as a JSON object"),
    ),
    most_words=0,
)
# -S counts as five when it is decided whether one value was asked for: it always prints labels.
_STATS_WEIGHT = 5
_PATIENCE = 2.0


def run(values: Values) -> int:
    """0 unless there is no such container; an unknown -c key is told and is no failure."""
    container = Container(values.name, values.lxcpath, timeout=_PATIENCE, rcfile=values.rcfile)
    asked = values.state + values.pid + values.ips + _STATS_WEIGHT * values.stats
    everything = not asked and not values.keys
    state = _state(container)
    if values.json:
        _out.line(as_json(_as_data(container, state, values, everything)))
        return 0
    bare = values.raw and asked == 1

    def show(label: str, value: object) -> None:
        _out.line(str(value) if bare else f"{label:<15} {value}")

    if everything:
        show("Name:", container.name)
    if everything or values.state:
        show("State:", states.name(state))
    if state != states.STOPPED:
        if everything or values.pid:
            pid = container.init_pid
            if pid > 0:
                show("PID:", pid)
        if everything or values.ips:
            for address in container.get_ips():
                show("IP:", address)
        if everything or values.stats:
            _stats(container, values.raw)
    for key in values.keys:
        _config_item(container, key, values.raw and len(values.keys) == 1)
    return 0


def _state(container: Container) -> int:
    """The state's number. A stopped container must be defined and have a configuration that can be read."""
    state = container.state_number
    if state == states.STOPPED:
        container.require_defined()
        container.config  # noqa: B018  reading it is the check
    return state


def _as_data(container: Container, state: int, values: Values, everything: bool) -> dict[str, object]:
    """See docs/json.md."""
    data: dict[str, object] = {"name": container.name}
    runs = state != states.STOPPED
    if everything or values.state:
        data["state"] = states.name(state)
    if everything or values.pid:
        pid = container.init_pid if runs else -1
        data["pid"] = pid if pid > 0 else None
    if everything or values.ips:
        data["ips"] = list(container.get_ips()) if runs else []
    if (everything or values.stats) and runs:
        data["cpu_ns"] = _figures.cpu(container)
        moved = _figures.block_io(container)
        data["blkio_bytes"] = moved[2] if moved else None
        data["memory_bytes"] = _figures.number(container, "memory.usage_in_bytes", "memory.current")
        data["kmem_bytes"] = _figures.kernel_memory(container)
        data["links"] = [
            {"name": link, "tx_bytes": _figures.counter(link, "rx_bytes"), "rx_bytes": _figures.counter(link, "tx_bytes")}
            for link in _links(container)
        ]
    config: dict[str, object] = {}
    for key in values.keys:
        try:
            config[key] = container.get_config_item(key)
        except LxcError as error:
            _out.complain(f"{key} invalid: {error}\n")
            config[key] = None
    return data | ({"config": config} if config else {})


def _config_item(container: Container, key: str, bare: bool) -> None:
    try:
        value = container.get_config_item(key)
    except LxcError as error:
        _out.flush()
        _out.complain(f"{key} invalid: {error}\n")
        return
    if bare:
        _out.line(value)
    else:
        _out.line(f"{key} = {value}" if value else f"{key} =")


def _stats(container: Container, raw: bool) -> None:
    def show(label: str, value: int | None) -> None:
        if value is not None:
            _out.line(f"{label:<15} {value if raw else _figures.size_text(value)}")

    cpu = _figures.cpu(container)
    if cpu is not None:
        _out.line(f"{'CPU use:':<15} {cpu if raw else _figures.cpu_text(cpu)}")
    moved = _figures.block_io(container)
    show("BlkIO use:", moved[2] if moved else None)
    show("Memory use:", _figures.number(container, "memory.usage_in_bytes", "memory.current"))
    show("KMem use:", _figures.kernel_memory(container))
    for link in _links(container):
        _link(link, show)


def _links(container: Container) -> list[str]:
    """The host's sides of its interfaces."""
    links = []
    index = 0
    while kind := container.get_running_config_item(f"lxc.net.{index}.type"):
        subkey = "veth.pair" if kind == "veth" else "link"
        link = container.get_running_config_item(f"lxc.net.{index}.{subkey}")
        if link:
            links.append(link)
        index += 1
    return links


def _link(link: str, show: object) -> None:
    """Counters of the host's side: what it received is what the container sent."""
    assert callable(show)
    _out.line(f"{'Link:':<15} {link}")
    sent, received = (_figures.counter(link, name) for name in ("rx_bytes", "tx_bytes"))
    show(" TX bytes:", sent)
    show(" RX bytes:", received)
    show(" Total bytes:", (sent or 0) + (received or 0))
