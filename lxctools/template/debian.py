# SPDX-License-Identifier: LGPL-2.1-or-later
"""The debian template: a minimal Debian that boots with systemd.

mmdebstrap, or else debootstrap, makes one archive for each choice of release, architecture, components and packages, which is
kept (cache.py) and unpacked into each container. apt checks the signatures. What differs between containers is written after
unpacking: name, network, the sources of packages; and what must not be the same in two of them (machine id, ssh host keys)
is made inside at the first boot.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex

from .. import process
from ..errors import LxcError, describe
from ..linux import prctl
from . import apt, contract
from .cache import Cache, base_folder

_PACKAGES = "systemd-sysv dbus libpam-systemd iproute2 iputils-ping netbase ca-certificates procps"
_NO_RESOLVED = ("buster", "bullseye", "oldoldstable")  # systemd-resolved is in the package systemd there
_SERVER = "openssh-server"
_APT_HELPER = "/usr/lib/apt/apt-helper"
_ENABLED = "systemd-networkd.service systemd-resolved.service"
_LAST_WITH_V1 = 12  # the last Debian whose systemd starts with the legacy cgroup hierarchy
_RECIPE = "1"  # to be counted up when archives that were made before must not be used any more
_TTYS = 4
# File systems of the kernel that a user namespace may not mount, and a privileged container should not.
_MASKED = (
    "sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount dev-hugepages.mount "
    "proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount"
)
# Debian's name of an architecture -> the kernel's, which lxc.arch has.
_MACHINES = {
    "amd64": "x86_64",
    "i386": "i686",
    "arm64": "aarch64",
    "armhf": "armv7l",
    "armel": "arm",
    "ppc64el": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}

_NETWORK = """\
[Match]
Name=eth*

[Network]
DHCP=yes
# An address that LXC has given (lxc.net.0.ipv4.address) stays.
KeepConfiguration=static

[DHCPv4]
# The same lease each time, and after a reinstallation.
ClientIdentifier=mac
UseDomains=yes
UseHostname=no
"""

# A container that is `running` has its address; one whose bridge has no DHCP server is not kept from it for long.
_ONLINE = """\
[Unit]
ConditionPathExists=/sys/class/net/eth0

[Service]
ExecStart=
ExecStart=-/lib/systemd/systemd-networkd-wait-online --interface=eth0 --timeout=15
"""

# Other containers are asked for by their bare names, which the bridge's DNS server knows.
_RESOLVED = """\
[Resolve]
ResolveUnicastSingleLabel=yes
LLMNR=no
MulticastDNS=no
"""

# systemd makes these units for pts/N where LXC names the ttys in $container_ttys; C LXC does not name them to init.
_GETTY = """\
[Unit]
ConditionPathExists=
ConditionPathExists=/dev/tty%I

[Service]
TTYPath=/dev/tty%I
ExecStart=
ExecStart=-/sbin/agetty --noclear --keep-baud tty%I 115200,57600,38400,9600 vt220
"""

_SSH_KEYS = """\
[Unit]
Description=Host keys of this container
Before=ssh.service ssh.socket
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""


def run(arguments: list[str]) -> None:
    """Fill a container with Debian. Raises LxcError, OSError."""
    options = _options(arguments)
    target = contract.Target(options)
    if target.mapped:
        # /bin/mount belongs to the host's root, which has another number here: its set-user-id bit would take privileges away.
        prctl.set_no_new_privs()
    key = _key(options)
    owner = (target.mapped_uid, target.mapped_gid) if target.mapped else (-1, -1)
    with Cache(f"{base_folder()}/debian", _say, owner) as cache:
        if options.clean:
            cache.clear()
            raise LxcError(f"the archives in {cache.folder} are removed, as --clean asks, and no container is made")
        if options.flush_cache:
            cache.remove(key)
        archive = cache.open(key)
        if archive < 0:
            _say(f"Making Debian {options.release} for {options.arch}, kept in {cache.folder} for the next container")
            cache.make(key, lambda folder, path: _bootstrap(options, folder, path))
            archive = cache.open(key)
    try:
        contract.unpack("-", target.rootfs.path, ["./dev/*"], stdin=archive)
    finally:
        os.close(archive)
    with target.rootfs:
        version = _set_up(target, options)
        target.configure(_distribution(target, version), _container(target, options))
    if not options.auth_key:
        _say(f"root has no password: lxc-attach -n {target.name} -- passwd sets one")


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode("utf-8", "backslashreplace"))


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = contract.parser("debian", "Fill a container with a minimal Debian that boots with systemd.")
    add = parser.add_argument
    add("-r", "--release", default="stable", metavar="SUITE", help="such as bookworm; default: stable")
    add("-a", "--arch", default="", help="architecture, by Debian's or the kernel's name; default: this machine's")
    add("-m", "--mirror", default=os.environ.get("MIRROR", ""), metavar="URL",
        help="default: the one that this machine has its Debian from, else " + apt.MIRROR)
    add("--security-mirror", default=os.environ.get("SECURITY_MIRROR", ""), metavar="URL",
        help="default: as for --mirror, else " + apt.SECURITY_MIRROR)
    add("--keyring", default=os.environ.get("KEYRING", ""), metavar="FILE", help=f"keys of the mirrors; default: {apt.KEYRING}")
    add("--packages", default="", metavar="A,B", help="further packages; kept with the archive")
    add("--enable-non-free", action="store_true", help="contrib and non-free too")
    add("-S", "--auth-key", default="", metavar="FILE.pub", help="a public key that may log in as root; installs the ssh server")
    add("-I", "--interpreter-path", default="", metavar="FILE", help=argparse.SUPPRESS)
    add("-F", "--flush-cache", action="store_true", help="do not use a kept archive, make it anew")
    add("-c", "--clean", action="store_true", help="remove all kept archives, and make no container")
    options = parser.parse_args(arguments)  # fmt: skip
    if options.interpreter_path:
        raise LxcError("-I is not needed", remedy="apt-get install qemu-user-static: it registers the interpreter with the F flag")
    options.arch = contract.debian_architecture(options.arch or os.uname().machine)
    for name, value in (("--release", options.release), ("--arch", options.arch)):
        if not value or not value.replace("-", "").replace(".", "").isalnum() or not value.isascii() or value[0] in "-.":
            raise LxcError(f'{name} "{value}" is not a name', remedy="-r bookworm -a amd64, for example")
    options.packages = sorted({name for name in options.packages.replace(" ", ",").split(",") if name})
    if options.auth_key:
        if not options.auth_key.endswith(".pub") or not os.path.isfile(options.auth_key):
            raise LxcError(f"--auth-key {options.auth_key}: there is no such public key", remedy="name a file FILE.pub")
        options.packages = sorted({*options.packages, _SERVER})
    options.components = apt.components(options.release, non_free=options.enable_non_free)
    options.sources = _sources_of(options, options.release)
    return options


def _sources_of(options: argparse.Namespace, release: str) -> list[apt.Source]:
    return apt.choose(
        release,
        options.components,
        apt.host_sources(),
        mirror=options.mirror,
        security_mirror=options.security_mirror,
        keyring=options.keyring,
    )


def _key(options: argparse.Namespace) -> str:
    """The archive's name: release and architecture, and a digest of whatever else makes a difference."""
    recipe = " ".join((_RECIPE, *_wanted(options), *options.components, _ENABLED))
    return f"rootfs-{options.release}-{options.arch}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


# -- making the archive -------------------------------------------------------------------------------------------------


def _bootstrap(options: argparse.Namespace, folder: str, archive: str) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TMPDIR": folder}
    environment.pop("LANGUAGE", None)
    if options.release in apt.ALIASES:
        codename = _codename(options, f"{folder}/InRelease")
        if codename:
            _say(f"{options.release} is {codename}")
            options = argparse.Namespace(**vars(options))
            options.release, options.sources = codename, _sources_of(options, codename)
    if process.find("mmdebstrap"):
        _mmdebstrap(options, archive, environment)
    elif process.find("debootstrap"):
        _debootstrap(options, f"{folder}/rootfs", archive, environment)
    else:
        raise LxcError("neither mmdebstrap nor debootstrap is installed", remedy="apt-get install mmdebstrap")


def _codename(options: argparse.Namespace, path: str) -> str:
    """The codename that an alias such as stable stands for at its mirror; "" when it cannot be learnt.

    Only a name is taken from the file: apt checks the signature of what that name leads to.
    """
    url = f"{options.sources[0].uri}/dists/{options.release}/InRelease"
    if not os.path.exists(_APT_HELPER) or process.run([_APT_HELPER, "download-file", url, path]).status:
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        found = [line.partition(":")[2].strip() for line in file if line.startswith("Codename:")]
    return found[0] if found and found[0].isalnum() and found[0].isascii() else ""


def _wanted(options: argparse.Namespace) -> list[str]:
    resolved = [] if options.release in _NO_RESOLVED else ["systemd-resolved"]
    return [*_PACKAGES.split(), *resolved, *options.packages]


def _remedy(options: argparse.Namespace) -> str:
    names = ", ".join(sorted({source.uri for source in options.sources}))
    return f"its own messages tell why; {options.release} is asked of {names}"


def _mmdebstrap(options: argparse.Namespace, archive: str, environment: dict[str, str]) -> None:
    proxies = process.run(["apt-config", "dump"], env=environment).text().splitlines()
    contract.run(
        "mmdebstrap", "--variant=minbase", "--mode=root", "--format=tar", f"--architectures={options.arch}",
        f"--include={','.join(_wanted(options))}", "--skip=output/dev",
        *(f"--aptopt={line}" for line in proxies if line.startswith("Acquire::") and "::proxy" in line.lower()),
        # Of this machine's network, not of the container's.
        '--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap',
        f'--customize-hook=chroot "$1" systemctl enable --quiet {_ENABLED}',
        options.release, archive, *(source.line() for source in options.sources),
        env=environment, remedy=_remedy(options),
    )  # fmt: skip


def _debootstrap(options: argparse.Namespace, root: str, archive: str, environment: dict[str, str]) -> None:
    main = options.sources[0]
    if not main.keyring:
        raise LxcError(f"there is no keyring to check {main.uri} with", remedy="apt-get install debian-archive-keyring")
    # The packages come in a second step: debootstrap itself knows the main suite only, without its security updates.
    contract.run(
        "debootstrap", "--variant=minbase", f"--arch={options.arch}", f"--keyring={main.keyring}",
        f"--components={','.join(main.components)}", options.release, root, main.uri, env=environment, remedy=_remedy(options),
    )  # fmt: skip
    environment = {**environment, "DEBIAN_FRONTEND": "noninteractive", "TMPDIR": "/tmp", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with open(f"{root}/etc/apt/sources.list", "w", encoding="utf-8") as file:
        file.write("".join(f"{source.line(_inside_keyring(source))}\n" for source in options.sources))
    with open(f"{root}/usr/sbin/policy-rc.d", "x", encoding="utf-8") as file:
        file.write("#!/bin/sh\nexit 101\n")  # no service is started on this machine
    os.chmod(f"{root}/usr/sbin/policy-rc.d", 0o755)
    apt_get = ("chroot", root, "apt-get", "-q", "-y", "-o", "APT::Install-Recommends=false")
    contract.run(*apt_get, "update", env=environment)
    contract.run(*apt_get, "dist-upgrade", env=environment)
    contract.run(*apt_get, "install", *_wanted(options), env=environment, remedy=_remedy(options))
    contract.run(*apt_get, "clean", env=environment)
    os.unlink(f"{root}/usr/sbin/policy-rc.d")
    contract.run("chroot", root, "systemctl", "enable", "--quiet", *_ENABLED.split(), env=environment)
    excludes = "./dev/* ./var/lib/apt/lists/* ./var/cache/apt/*.bin ./var/log/*.log ./var/log/apt/* ./etc/resolv.conf".split()
    contract.run(
        "tar", "-c", "--numeric-owner", "--xattrs", "--anchored", *(f"--exclude={name}" for name in excludes), "-f", archive,
        "-C", root, ".",
    )  # fmt: skip


def _inside_keyring(source: apt.Source) -> str:
    """The keyring that a source names inside the container: Debian's own package has brought it, another one is not there."""
    return source.keyring if source.keyring == apt.KEYRING else ""


# -- filling the container ----------------------------------------------------------------------------------------------


def _set_up(target: contract.Target, options: argparse.Namespace) -> int:
    """What this container has for itself; returns the number of the Debian release, 0 for one that has none yet."""
    root = target.rootfs
    facts = dict(shlex.split(line)[0].split("=", 1) for line in (root.read("etc/os-release") or "").splitlines() if "=" in line)
    name = target.name
    root.write("etc/hostname", f"{name}\n")
    root.write("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost ip6-localhost ip6-loopback\n")
    root.write("etc/apt/sources.list", _sources(target, options, facts.get("VERSION_CODENAME", "")))
    root.remove("etc/apt/sources.list.d/0000sources.list")
    root.write("etc/default/locale", "LANG=C.UTF-8\n")
    _set_timezone(target)
    root.write("etc/machine-id", "")
    root.remove("var/lib/dbus/machine-id")
    root.write("etc/systemd/network/lxc-eth.network", _NETWORK)
    online = "systemd-networkd-wait-online.service"
    root.write(f"etc/systemd/system/{online}.d/lxc.conf", _ONLINE)
    root.link(f"etc/systemd/system/multi-user.target.wants/{online}", f"/lib/systemd/system/{online}")
    root.write("etc/systemd/resolved.conf.d/lxc.conf", _RESOLVED)
    root.link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
    root.write("etc/systemd/system/container-getty@.service.d/lxc.conf", _GETTY)
    wants = "etc/systemd/system/getty.target.wants"
    for number in range(1, _TTYS + 1):
        root.link(f"{wants}/container-getty@{number}.service", "/lib/systemd/system/container-getty@.service")
    root.remove(f"{wants}/getty@tty1.service")
    for unit in _MASKED.split():
        root.link(f"etc/systemd/system/{unit}", "/dev/null")
    if root.exists("usr/sbin/sshd"):
        _set_up_ssh(target, options)
    number_text = facts.get("VERSION_ID", "")
    return int(number_text) if number_text.isdecimal() else 0


def _sources(target: contract.Target, options: argparse.Namespace, codename: str) -> str:
    """sources.list. A container of "stable" stays with the release it was made from."""
    lines = []
    for source in options.sources:
        suite = source.suite
        if codename and options.release not in apt.ROLLING:
            suite = codename + suite.removeprefix(options.release)
        keyring = _inside_keyring(source)
        keyring = keyring if target.rootfs.exists(keyring) else ""
        lines.append(apt.Source(source.uri, suite, source.components).line(keyring) + "\n")
    return "".join(lines)


def _set_timezone(target: contract.Target) -> None:
    """That of this machine, where the container has its rules."""
    try:
        zone = os.readlink("/etc/localtime").partition("/zoneinfo/")[2]
    except OSError:
        return
    if zone and target.rootfs.exists(f"usr/share/zoneinfo/{zone}"):
        target.rootfs.link("etc/localtime", f"/usr/share/zoneinfo/{zone}")
        target.rootfs.write("etc/timezone", f"{zone}\n")


def _set_up_ssh(target: contract.Target, options: argparse.Namespace) -> None:
    """Host keys of its own, made at the first boot; the user's key."""
    root = target.rootfs
    for kind in ("rsa", "ecdsa", "ed25519", "dsa"):
        for suffix in ("", ".pub"):
            root.remove(f"etc/ssh/ssh_host_{kind}_key{suffix}")
    root.write("etc/systemd/system/lxc-ssh-keys.service", _SSH_KEYS)
    root.link("etc/systemd/system/multi-user.target.wants/lxc-ssh-keys.service", "/etc/systemd/system/lxc-ssh-keys.service")
    if options.auth_key:
        try:
            with open(options.auth_key, encoding="utf-8") as file:
                key = file.read()
        except OSError as error:
            raise LxcError(f"cannot read --auth-key: {describe(error)}") from error
        root.folder("root/.ssh", 0o700)
        root.write("root/.ssh/authorized_keys", key, 0o600)


# -- configuration ------------------------------------------------------------------------------------------------------


def _distribution(target: contract.Target, version: int) -> list[str]:
    lines = [contract.fragment("debian.common.conf")]
    if not 0 < version <= _LAST_WITH_V1:
        lines += [
            "# Its systemd knows the unified cgroup hierarchy only, which every host has, if only beside the legacy one.",
            "lxc.mount.auto =",
            "lxc.mount.auto = proc:mixed sys:mixed",
            "lxc.mount.entry = cgroup2 sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime 0 0",
        ]
    if target.mapped:
        lines += [
            contract.fragment("debian.userns.conf"),
            "# With a writable /sys systemd-networkd would wait for udev, which has no devices to manage here.",
            "lxc.mount.auto = sys:mixed",
        ]
    return [*lines, f"lxc.tty.max = {_TTYS}", "lxc.pty.max = 1024"]


def _container(target: contract.Target, options: argparse.Namespace) -> list[str]:
    return [f"lxc.uts.name = {target.name}", f"lxc.arch = {_MACHINES.get(options.arch, options.arch)}"]


def main() -> None:
    """The template's program."""
    contract.main(run, "lxc-debian")
