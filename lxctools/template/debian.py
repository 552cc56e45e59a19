# SPDX-License-Identifier: LGPL-2.1-or-later
"""The debian template: a minimal Debian with systemd, made by mmdebstrap or debootstrap and kept as one archive a release.

The archive is written beside its place and renamed, so it is there whole or not at all; a lock keeps two creations from
making it twice. Signatures are checked by apt.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile

from .. import paths, process
from ..errors import LxcError
from ..progress import Progress
from . import contract

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGES = (
    "systemd-sysv dbus udev ifupdown isc-dhcp-client iproute2 iputils-ping netbase ca-certificates "
    "libpam-systemd locales"
).split()
_DEFAULT_MIRROR = "http://deb.debian.org/debian"
_CODENAMES = {"stable": "bookworm", "oldstable": "bullseye", "testing": "trixie", "unstable": "sid"}
# Units that want hardware or rights that a container does not have.
_MASKED = (
    "systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service "
    "systemd-modules-load.service systemd-hwdb-update.service sys-kernel-config.mount sys-kernel-debug.mount "
    "sys-kernel-tracing.mount dev-hugepages.mount proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount "
    "systemd-timesyncd.service systemd-journald-audit.socket e2scrub_reap.service e2scrub_all.timer"
).split()


def run(arguments: list[str]) -> None:
    """Fill a container with Debian. Raises LxcError."""
    options = _options(arguments)
    target = contract.Target(options)
    cache = os.environ.get("LXC_CACHE_PATH") or (
        paths.CACHE if os.geteuid() == 0 and not target.mapped else paths.home() + "/.cache/lxc"
    )
    folder = f"{cache}/debian"
    os.makedirs(folder, 0o755, exist_ok=True)
    archive = f"{folder}/rootfs-{options.release}-{options.arch}.tar"
    with _locked(f"{folder}/lock"):
        if options.flush_cache or options.clean:
            _say(f"removing {archive}")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(archive)
            if options.clean:
                return
        if not os.path.exists(archive):
            _say(f"making Debian {options.release} for {options.arch} (kept in {archive})")
            _bootstrap(options, archive)
        else:
            os.utime(archive)
    with Progress("unpacking") as beat:
        beat()
        contract.run(
            "tar", "-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--exclude=./dev/*", "-f", archive,
            "-C", target.rootfs,
        )  # fmt: skip
    _set_up(target, options)
    target.configure(_config(target, options))


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = contract.parser("debian", "Fill a container with a minimal Debian that boots with systemd.")
    parser.add_argument("-r", "--release", default="stable", help="codename or suite; default: stable")
    parser.add_argument("-a", "--arch", default=contract.host_architecture(), help="architecture; default: the host's")
    parser.add_argument("-m", "--mirror", default=os.environ.get("MIRROR", ""),
                        help="mirror; default: the host's sources for that release, else Debian's own")
    parser.add_argument("--security-mirror", default=os.environ.get("SECURITY_MIRROR", ""), help="security mirror")
    parser.add_argument("--keyring", default=os.environ.get("KEYRING", ""), help="keyring for the signatures")
    parser.add_argument("--packages", default="", help="further packages, separated by commas")
    parser.add_argument("--enable-non-free", action="store_true", help="contrib, non-free and non-free-firmware too")
    parser.add_argument("-S", "--auth-key", default="", help="public key (*.pub) for root's authorized_keys")
    parser.add_argument("-F", "--flush-cache", action="store_true", help="make the kept archive anew")
    parser.add_argument("-c", "--clean", action="store_true", help="only remove the kept archive")
    options = parser.parse_args(arguments)
    options.release = _CODENAMES.get(options.release, options.release)
    if options.auth_key and not options.auth_key.endswith(".pub"):
        raise LxcError(f"--auth-key {options.auth_key}: not the name of a public key", remedy="name a file *.pub")
    if not options.release.replace("-", "").isalnum():
        raise LxcError(f'"{options.release}" is not the name of a release', remedy="-r bookworm, for example")
    return options


def _say(text: str) -> None:
    print(text, flush=True)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another creation that uses the same archive")
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _components(options: argparse.Namespace) -> str:
    return "main contrib non-free non-free-firmware" if options.enable_non_free else "main"


def host_sources(release: str, folder: str = "/etc/apt") -> list[str]:
    """The host's apt sources of this release's suites, as lines `deb URI SUITE COMPONENTS`; [] when it has none."""
    lines: list[str] = []
    names = [f"{folder}/sources.list"]
    with contextlib.suppress(FileNotFoundError):
        names += [f"{folder}/sources.list.d/{name}" for name in sorted(os.listdir(f"{folder}/sources.list.d"))]
    for name in names:
        try:
            with open(name, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        if name.endswith(".sources"):
            lines += _deb822(text)
        elif name.endswith(".list"):
            for line in text.splitlines():
                words = [word for word in line.split("#")[0].split() if not (word.startswith("[") or word.endswith("]"))]
                if len(words) >= 4 and words[0] == "deb":
                    lines.append(" ".join(words))
    suites = (release, f"{release}-security", f"{release}-updates", f"{release}/updates")
    return [line for line in lines if line.split()[2] in suites]


def _deb822(text: str) -> list[str]:
    """One-line sources of a deb822 file (sources.list(5))."""
    lines = []
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in plain.split("\n\n"):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t") and last:
                fields[last] += " " + line.strip()
            elif ":" in line:
                last, _, value = line.partition(":")
                last = last.strip().lower()
                fields[last] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
            for uri in fields.get("uris", "").split():
                for suite in fields.get("suites", "").split():
                    lines.append(f"deb {uri} {suite} {fields.get('components', 'main')}")
    return lines


def _sources(options: argparse.Namespace) -> list[str]:
    """The sources to build from, which are also those of the container."""
    components = _components(options)
    if not options.mirror:
        found = host_sources(options.release)
        if found:
            return [" ".join([*line.split()[:3], components]) for line in found]
    mirror = options.mirror or _DEFAULT_MIRROR
    lines = [f"deb {mirror} {options.release} {components}"]
    if options.security_mirror:
        lines.append(f"deb {options.security_mirror} {options.release}-security {components}")
    return lines


def _bootstrap(options: argparse.Namespace, archive: str) -> None:
    partial = f"{archive}.{os.getpid()}.new"
    packages = list(_PACKAGES)
    try:
        if process.find("mmdebstrap"):
            _mmdebstrap(options, packages, partial)
        elif process.find("debootstrap"):
            _debootstrap(options, packages, partial)
        else:
            raise LxcError(
                "neither mmdebstrap nor debootstrap is installed", remedy="apt-get install mmdebstrap"
            )
        os.rename(partial, archive)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _mmdebstrap(options: argparse.Namespace, packages: list[str], archive: str) -> None:
    argv = [
        "mmdebstrap", "--variant=minbase", f"--architectures={options.arch}", f"--include={','.join(packages)}",
        "--format=tar", "--skip=output/dev",
    ]  # fmt: skip
    if options.keyring:
        argv.append(f"--keyring={options.keyring}")
    proxies = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    argv += [f"--aptopt={line}" for line in proxies.splitlines() if line.lower().startswith("acquire::http") and "proxy" in line.lower()]
    contract.run(*argv, options.release, archive, *_sources(options))


def _debootstrap(options: argparse.Namespace, packages: list[str], archive: str) -> None:
    with tempfile.TemporaryDirectory(prefix="rootfs.", dir=os.path.dirname(archive)) as folder:
        argv = ["debootstrap", "--variant=minbase", f"--arch={options.arch}", f"--include={','.join(packages)}"]
        argv.append(f"--components={_components(options).replace(' ', ',')}")
        if options.keyring:
            argv.append(f"--keyring={options.keyring}")
        mirror = _sources(options)[0].split()[1]
        contract.run(*argv, options.release, folder, mirror)
        contract.run("tar", "-c", "--numeric-owner", "--xattrs", "--exclude=./dev/*", "-f", archive, "-C", folder, ".")


def _set_up(target: contract.Target, options: argparse.Namespace) -> None:
    root = target.rootfs
    target.write("etc/hostname", f"{target.name}\n")
    target.write("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {target.name}\n::1 localhost ip6-localhost ip6-loopback\n")
    target.write(
        "etc/network/interfaces",
        "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n    hostname " + target.name + "\n",
    )
    target.write("etc/apt/sources.list", "".join(f"{line}\n" for line in _sources(options)))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{root}/etc/apt/sources.list.d/0000sources.list")
    # Written by systemd at the first boot and kept; the archive must not give one to every container.
    target.write("etc/machine-id", "")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{root}/var/lib/dbus/machine-id")
    if os.path.exists(f"{root}/etc/resolv.conf"):
        os.unlink(f"{root}/etc/resolv.conf")  # apt's of the making; DHCP writes it
    for unit in _MASKED:
        target.link(f"etc/systemd/system/{unit}", "/dev/null")
    target.link("etc/systemd/system/default.target", "/lib/systemd/system/multi-user.target")
    # A getty on the console; the four ttys have theirs on demand.
    target.link(
        "etc/systemd/system/getty.target.wants/console-getty.service", "/lib/systemd/system/console-getty.service"
    )
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{root}/etc/systemd/system/getty.target.wants/getty@tty1.service")
    for number in range(1, 5):
        target.link(
            f"etc/systemd/system/getty.target.wants/container-getty@{number}.service",
            "/lib/systemd/system/container-getty@.service",
        )
    # container-getty@N is made for pts/N; LXC's ttys are /dev/ttyN.
    target.write(
        "etc/systemd/system/container-getty@.service.d/lxc.conf",
        "[Unit]\nConditionPathExists=\nConditionPathExists=/dev/tty%I\n\n[Service]\nTTYPath=/dev/tty%I\nExecStart=\n"
        "ExecStart=-/sbin/agetty --noclear --keep-baud tty%I 115200,38400,9600 vt220\n",
    )
    target.write("etc/locale.gen", "")
    target.write("etc/default/locale", "LANG=C.UTF-8\n")
    if os.path.exists("/etc/timezone"):
        shutil.copyfile("/etc/timezone", f"{root}/etc/timezone")
    if options.auth_key:
        _authorize(target, options.auth_key)
    if options.packages:
        names = [name for name in options.packages.split(",") if name]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        resolv = f"{root}/etc/resolv.conf"
        shutil.copyfile("/etc/resolv.conf", resolv)
        try:
            contract.run("chroot", root, "apt-get", "-q", "update", env=environment)
            contract.run("chroot", root, "apt-get", "-q", "-y", "--no-install-recommends", "install", *names, env=environment)
        finally:
            os.unlink(resolv)
    for key in ("rsa", "ecdsa", "ed25519"):
        path = f"{root}/etc/ssh/ssh_host_{key}_key"
        if os.path.exists(path):  # of the archive or the packages: every container gets its own
            for name in (path, path + ".pub"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
            contract.run("ssh-keygen", "-q", "-t", key, "-N", "", "-f", path)


def _authorize(target: contract.Target, path: str) -> None:
    try:
        with open(path, encoding="utf-8") as file:
            key = file.read()
    except OSError as error:
        raise LxcError(f"--auth-key {path}: {error.strerror}") from error
    os.makedirs(f"{target.rootfs}/root/.ssh", 0o700, exist_ok=True)
    target.write("root/.ssh/authorized_keys", key, 0o600)


def _config(target: contract.Target, options: argparse.Namespace) -> list[str]:
    arch = "linux32" if options.arch in ("i386", "armhf", "armel") and contract.host_architecture() != options.arch else ""
    lines = ["", contract.fragment("debian.common.conf")]
    if target.mapped:
        lines.append(contract.fragment("debian.userns.conf"))
    lines += [
        "",
        f"lxc.uts.name = {target.name}",
        f"lxc.arch = {arch or ('amd64' if options.arch == 'amd64' else os.uname().machine)}",
        "lxc.tty.max = 4",
        "lxc.pty.max = 1024",
    ]
    for net in target.conf.nets:
        if net.type == "veth" and not net["hwaddr"]:
            lines.append(f"lxc.net.{net.index}.hwaddr = 00:16:3e:{os.urandom(3).hex(':')}")
    return lines


def main() -> None:
    """The template's program."""
    contract.main(run, "lxc-debian")
