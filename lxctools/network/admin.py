# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-net: the bridge that containers are attached to by default, with DHCP, DNS and a way out.

    lxc-net start|stop|restart|reload|force-reload

What was made is written into the mark RUN/network_up, so that stop removes that and not what the settings say by then; LXC's
own lxc-net leaves the mark empty and only looks whether it is there. Links and addresses are set by pyroute2: this is no hot path,
and its encoding of every message is better tested than one of ours would be.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import select
import signal
import time

from .. import log, process
from ..errors import LxcError, TimedOut, describe
from ..undo import Undo
from . import firewall
from .settings import DEFAULTS_FILE, NET_DEFAULTS_FILE, Settings, read, record, update

try:
    from pyroute2 import IPRoute, NetlinkError
except ImportError:  # main() says so
    IPRoute = None

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

ACTIONS = ("start", "stop", "restart", "reload", "force-reload")
RUN = "/run/lxc"
LEASES = "/var/lib/misc"
_FIREWALL = "LXC_NET_FIREWALL"  # in the mark only: which tool made the rules
_PATIENCE = 5.0  # seconds that dnsmasq has to end
_LOCK_PATIENCE = 120.0  # seconds that another lxc-net has to finish


def main(argv: list[str], defaults: str = DEFAULTS_FILE, net_defaults: str = NET_DEFAULTS_FILE, run: str = RUN) -> int:
    """The service's program; returns its exit status. The other arguments are for tests."""
    log.setup("lxc-net")
    if len(argv) != 2 or argv[1] not in ACTIONS:
        _tell(f"Usage: {argv[0]} {{{'|'.join(ACTIONS)}}}")
        return 2
    _on_signals(_interrupted)
    try:
        if os.geteuid() != 0:
            raise LxcError("only root can set up the network of the host", remedy="run it as root")
        if IPRoute is None:
            raise LxcError("the Python module pyroute2 is missing", remedy="install the package python3-pyroute2")
        network = Network(Settings(read(defaults, net_defaults)), run)
        network.lock()
        if argv[1] == "start":
            return network.start()
        status = network.stop()
        if argv[1] == "stop":
            return status
        return network.start()
    except (LxcError, OSError, NetlinkError) as error:
        log.tell(_why(error))
        return 1


def _interrupted(number: int, _frame: FrameType | None) -> None:
    """Leave by the undos, which a second signal must not cut short."""
    _on_signals(signal.SIG_IGN)
    raise SystemExit(128 + number)


def _on_signals(action: signal.Handlers | Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, action)


def _tell(text: str, fd: int = 1) -> None:
    """A line on standard output, or another one. That it cannot be written does not change the exit status, as with print()."""
    try:
        os.write(fd, f"{text}\n".encode())
    except OSError as error:
        if fd == 1:
            log.tell(f"cannot write to standard output: {describe(error)}")


def _why(error: BaseException) -> str:
    """One line for any failure; pyroute2's errors have the kernel's words as their second argument."""
    if isinstance(error, LxcError):
        return str(error)
    if isinstance(error, OSError):
        return describe(error)
    return f"the kernel refuses: {error.args[1] if len(error.args) > 1 else error}"


class Network:
    """The bridge with what belongs to it, as the settings describe it. Files are kept below run."""

    def __init__(self, settings: Settings, run: str = RUN) -> None:
        self.settings = settings
        self.run = run
        self.mark = run + "/network_up"
        self.pid_file = run + "/dnsmasq.pid"
        self._lock_fd = -1

    def lock(self) -> None:
        """One lxc-net at a time, until this process ends. Raises TimedOut, OSError."""
        os.makedirs(self.run, 0o755, exist_ok=True)
        self._lock_fd = os.open(self.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        deadline = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimedOut(f"another lxc-net is at work since {_LOCK_PATIENCE:g} s") from None
                time.sleep(0.05)

    # -- start

    def start(self) -> int:
        """Set everything up; what was set up so far is taken down again when something fails."""
        if not self.settings.wanted:
            return 0
        if os.path.exists(self.mark):
            _tell("lxc-net is already running")
            return 1
        try:
            _check_bridge(self.settings.bridge)
            # What a start that was killed, or a crash of the machine, has left.
            if self._take_down(self.settings, ""):
                raise LxcError("what an earlier lxc-net has left cannot be removed")
            with Undo() as undo:
                undo(self._take_down, self.settings, "")
                self._set_up()
                undo.commit()
        except (LxcError, OSError, NetlinkError) as error:
            _tell("Failed to setup lxc-net.", 2)
            log.tell(_why(error))
            return 1
        for doubt in self.settings.doubts():
            log.tell(f"warning: {doubt}")
        return 0

    def _set_up(self) -> None:
        settings = self.settings
        tool = firewall.choose(settings)
        if process.find("dnsmasq") is None:
            raise LxcError("dnsmasq is not installed", remedy="install the package dnsmasq-base")
        _make_bridge(settings)
        if settings.ipv6 is not None and not _add_ipv6(settings):
            settings.drop_ipv6()
        _sysctl("net/ipv4/ip_forward", "1")
        firewall.setup(tool, settings)
        self._start_dnsmasq()
        # From here the network is up, and whoever asked for its start is told so.
        _on_signals(signal.SIG_IGN)
        with open(self.mark, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(record(settings.values | {_FIREWALL: tool}))

    def _start_dnsmasq(self) -> None:
        os.makedirs(LEASES, 0o755, exist_ok=True)
        if os.path.isdir("/sys/fs/selinux/booleans") and process.find("restorecon"):
            process.run(["restorecon", self.run])
        # The parent ends when the daemon listens, or with the reason why it does not.
        result = process.run(["dnsmasq", *dnsmasq_arguments(self.settings, self.pid_file, _user())], timeout=30)
        if result.status != 0:
            raise LxcError(
                f"dnsmasq {result.why()}",
                remedy=f"is another DNS or DHCP server on {self.settings.address.ip}, or a setting wrong?",
            )

    # -- stop

    def stop(self) -> int:
        """Take down what start made; a bridge with containers on it stays."""
        recorded = self._recorded()
        if not self.settings.wanted and not recorded:
            return 0
        if recorded is None:
            _tell("lxc-net isn't running")
            return 1
        values = dict(self.settings.values) | {_FIREWALL: ""}
        update(values, recorded)
        tool = values.pop(_FIREWALL)
        return 1 if self._take_down(Settings(values), tool) else 0

    def _recorded(self) -> str | None:
        """The mark's text, "" for one that LXC's lxc-net made; None when there is no mark."""
        try:
            with open(self.mark, encoding="utf-8", errors="surrogateescape") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def _take_down(self, settings: Settings, tool: str) -> bool:
        """Remove everything that may be there; each part is tried. True when some part could not be removed (told)."""
        failed = False
        for function, arguments in (
            (self._remove_rules, (settings, tool)),
            (_stop_dnsmasq, (self.pid_file,)),
            (_remove_bridge, (settings.bridge,)),
            (_unlink, (self.mark,)),
        ):
            try:
                function(*arguments)
            except (LxcError, OSError, NetlinkError) as error:
                log.tell(_why(error))
                failed = True
        return failed

    def _remove_rules(self, settings: Settings, tool: str) -> None:
        if tool:
            firewall.remove(tool, settings)
            return
        try:
            tool = firewall.choose(settings)
        except LxcError:
            return  # there is nothing that could have made rules
        firewall.remove(tool, settings)


def dnsmasq_arguments(settings: Settings, pid_file: str, user: str) -> list[str]:
    """What dnsmasq is started with: DHCP and DNS on the bridge only; it answers for the names that DHCP clients give."""
    values = settings.values
    argv = [f"--conf-file={values['LXC_DHCP_CONFILE'] or '/dev/null'}"]
    if values["LXC_DOMAIN"]:
        argv += ["-s", values["LXC_DOMAIN"], "-S", f"/{values['LXC_DOMAIN']}/"]
    if values["LXC_DHCP_PING"] == "false":
        argv.append("--no-ping")
    argv += ["-u", user, "--strict-order", "--bind-interfaces", f"--pid-file={pid_file}"]
    argv += ["--listen-address", values["LXC_ADDR"], "--dhcp-range", values["LXC_DHCP_RANGE"]]
    argv += [f"--dhcp-lease-max={values['LXC_DHCP_MAX']}", "--dhcp-no-override", "--except-interface=lo"]
    argv += [f"--interface={settings.bridge}", f"--dhcp-leasefile={LEASES}/dnsmasq.{settings.bridge}.leases"]
    argv.append("--dhcp-authoritative")
    if settings.ipv6 is not None:
        argv += [f"--dhcp-range={settings.ipv6.ip},ra-only", "--listen-address", str(settings.ipv6.ip)]
    return argv


def _user() -> str:
    """The user that dnsmasq runs as: the first of these that exists."""
    for name in ("lxc-dnsmasq", "dnsmasq"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return "nobody"


def _stop_dnsmasq(pid_file: str) -> None:
    """End the dnsmasq that was started with this pid file, and wait for its end. Raises OSError."""
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        pidfd = os.pidfd_open(pid)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        _unlink(pid_file)
        return
    try:
        # The number may be somebody else's by now; with the pidfd open it cannot change after this look.
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            ours = f"--pid-file={pid_file}".encode() in cmdline.read().split(b"\0")
        if ours:
            for number, patience in ((signal.SIGTERM, _PATIENCE), (signal.SIGKILL, _PATIENCE)):
                signal.pidfd_send_signal(pidfd, number)
                if select.select([pidfd], [], [], patience)[0]:
                    break
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended meanwhile
    finally:
        os.close(pidfd)
    _unlink(pid_file)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


# -- the bridge


def _check_bridge(name: str) -> None:
    """Refuse an interface that is not ours to change: no bridge, or one with real hardware on it. Raises LxcError."""
    remedy = f"set LXC_BRIDGE to another name in {NET_DEFAULTS_FILE}"
    with IPRoute() as routes:
        links = list(routes.get_links())
    for link in links:
        if link.get_attr("IFLA_IFNAME") == name:
            if _kind(link) != "bridge":
                raise LxcError(f"LXC_BRIDGE={name}: an interface of this name exists and is not a bridge", remedy=remedy)
            for port in links:
                if port.get_attr("IFLA_MASTER") == link["index"] and not _kind(port):
                    raise LxcError(
                        f"LXC_BRIDGE={name}: this bridge belongs to {port.get_attr('IFLA_IFNAME')}, a network card of the host",
                        remedy=f"{remedy}, or USE_LXC_BRIDGE=false and lxc.net.0.link = {name} to use it as it is",
                    )


def _kind(link: object) -> str:
    info = link.get_attr("IFLA_LINKINFO")  # type: ignore[attr-defined]
    return (info.get_attr("IFLA_INFO_KIND") or "") if info else ""


def _make_bridge(settings: Settings) -> None:
    """The bridge, up, with its addresses; one that is there (containers are on it) is used."""
    address, name = settings.address, settings.bridge
    with IPRoute() as routes:
        if not list(routes.link_lookup(ifname=name)):
            routes.link("add", ifname=name, kind="bridge")
        (index,) = routes.link_lookup(ifname=name)
        # Without duplicate address detection the bridge's address can be listened on at once.
        _sysctl(f"net/ipv6/conf/{name}/accept_dad", "0", optional=True)
        routes.link("set", index=index, address=settings.mac)
        broadcast = {"broadcast": str(address.network.broadcast_address)} if address.network.prefixlen < 31 else {}
        routes.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **broadcast)
        routes.link("set", index=index, state="up")


def _add_ipv6(settings: Settings) -> bool:
    """The bridge's IPv6 address; False when the kernel has no IPv6, or it is switched off for the bridge."""
    assert settings.ipv6 is not None
    name = settings.bridge
    try:
        with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", encoding="ascii") as file:
            if file.read().strip() != "0":
                return False
    except FileNotFoundError:
        return False
    _sysctl("net/ipv6/conf/all/forwarding", "1")
    _sysctl(f"net/ipv6/conf/{name}/autoconf", "0", optional=True)
    with IPRoute() as routes:
        (index,) = routes.link_lookup(ifname=name)
        routes.addr("add", index=index, address=str(settings.ipv6.ip), prefixlen=settings.ipv6.network.prefixlen)
    return True


def _remove_bridge(name: str) -> None:
    """Take its addresses away and remove it, unless containers are on it."""
    with IPRoute() as routes:
        links = list(routes.get_links())
        for link in links:
            if link.get_attr("IFLA_IFNAME") != name or _kind(link) != "bridge":
                continue
            index = link["index"]
            routes.flush_addr(index=index)
            routes.link("set", index=index, state="down")
            if not any(port.get_attr("IFLA_MASTER") == index for port in links):
                routes.link("del", index=index)


def _sysctl(name: str, value: str, *, optional: bool = False) -> None:
    """Set a kernel variable where it has another value. Raises LxcError."""
    path = f"/proc/sys/{name}"
    try:
        with open(path, encoding="ascii") as file:
            if file.read().strip() == value:
                return
        with open(path, "w", encoding="ascii") as file:
            file.write(value)
    except OSError as error:
        if not optional:
            raise LxcError(f"cannot set {name.replace('/', '.')} = {value}: {describe(error)}") from error
