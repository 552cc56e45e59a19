# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mount hook of unprivileged containers: lets nvidia-container-cli mount the host's driver and devices into the container.

What is wanted is said as in the images that NVIDIA makes, by variables that lxc.environment sets. A container that asks for
no device is left alone.
"""

from __future__ import annotations

import getopt
import os
import re

from ..errors import LxcError, describe
from ..linux import proc
from ..process import find
from . import invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "nvidia"
_CAPABILITIES = ("compute", "compat32", "display", "graphics", "utility", "video")
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_APPARMOR = "/sys/kernel/security/apparmor"
_LONG = ["help", "no-load-kmods", "disable-require", "debug=", "ldcache=", "root=", "ldconfig="]
_USAGE = f"""\
lxc.hook.mount = .../{NAME} [OPTIONS]

  --no-load-kmods     load no kernel modules (an unprivileged container never does)
  --disable-require   ignore the conditions in NVIDIA_REQUIRE_*
  --debug FILE        log of nvidia-container-cli
  --ldcache FILE      cache of the host's dynamic linker
  --root FOLDER       where the driver is installed
  --ldconfig FILE     ldconfig of the container, with @ before it of the host
"""


def run(words: list[str], environment: Mapping[str, str], uid_map: str = "/proc/self/uid_map") -> int:
    """Become nvidia-container-cli; returns 0 when there is nothing to do. Raises LxcError, OSError."""
    try:
        options, rest = getopt.getopt(words, "h", _LONG)
    except getopt.GetoptError as error:
        raise LxcError(str(error), remedy=f"{NAME} --help lists the options") from error
    given = dict(options)
    if "-h" in given or "--help" in given:
        print(_USAGE, end="")
        return 0
    wanted = _wanted(environment)
    if wanted is None:
        return 0
    call = invocation.Invocation(rest, environment)
    call.expect("mount")
    path = f"{environment.get('PATH') or os.defpath}:/usr/sbin:/usr/bin:/sbin:/bin"
    program = find("nvidia-container-cli", path)
    if program is None:
        raise LxcError(
            "cannot give the container a GPU: nvidia-container-cli is missing",
            remedy="install libnvidia-container-tools, or unset NVIDIA_VISIBLE_DEVICES",
        )
    if _privileged(uid_map):
        raise LxcError("cannot give a privileged container a GPU: nvidia-container-cli needs a user namespace", remedy="set lxc.idmap")
    if not _module_loaded():
        invocation.say(NAME, "the kernel module nvidia_uvm is not loaded: this may fail; modprobe nvidia_uvm on the host")
    argv = [program, *_general(given, call), "--user", "configure", "--no-cgroups"]
    argv += _configure(given, wanted, path) + [call.variable("LXC_ROOTFS_MOUNT")]
    if os.path.isdir(_APPARMOR):
        _leave_profile()
    return os.execve(program, argv, dict(environment))


def _module_loaded() -> bool:
    try:
        return b"nvidia_uvm" in proc.read("/proc/modules")
    except OSError:
        return False  # a kernel without modules


def _wanted(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The NVIDIA_* variables, completed; None when the container wants no device."""
    wanted = {key: value for key, value in environment.items() if key.startswith("NVIDIA_")}
    version = environment.get("CUDA_VERSION", "")
    if version and not wanted.get("NVIDIA_REQUIRE_CUDA"):
        # An image from before these variables: every device, every capability.
        wanted.setdefault("NVIDIA_VISIBLE_DEVICES", "all")
        wanted["NVIDIA_DRIVER_CAPABILITIES"] = wanted.get("NVIDIA_DRIVER_CAPABILITIES") or "all"
        if number := re.match(r"[0-9]+\.[0-9]+", version):
            wanted["NVIDIA_REQUIRE_CUDA"] = f"cuda>={number[0]}"
    return None if wanted.get("NVIDIA_VISIBLE_DEVICES", "") in ("", "void") else wanted


def _privileged(uid_map: str) -> bool:
    """Whether this user namespace is the host's, or that of an outer container as a whole."""
    mine = proc.id_map(uid_map)
    if mine == [(0, 0, 0xFFFFFFFF)]:
        return True
    try:
        return mine == proc.id_map("/proc/1/uid_map")
    except OSError:
        return False


def _general(given: Mapping[str, str], call: invocation.Invocation) -> list[str]:
    debug = given.get("--debug", "")
    if not debug and call.verbose():
        folder = os.path.join(call.folder(), "hook")
        try:
            os.makedirs(folder, exist_ok=True)
            debug = os.path.join(folder, "nvidia.log")
        except OSError as error:
            invocation.say(NAME, f"no log of nvidia-container-cli: {describe(error)}")
    pairs = (("--debug", debug), ("--ldcache", given.get("--ldcache", "")), ("--root", given.get("--root", "")))
    return [f"{option}={value}" for option, value in pairs if value]


def _configure(given: Mapping[str, str], wanted: Mapping[str, str], path: str) -> list[str]:
    words = []
    ldconfig = given.get("--ldconfig") or next((f"@{p}" for p in (find("ldconfig.real", path), find("ldconfig", path)) if p), "")
    if ldconfig:
        words.append(f"--ldconfig={ldconfig}")
    if wanted["NVIDIA_VISIBLE_DEVICES"] != "none":
        words.append(f"--device={wanted['NVIDIA_VISIBLE_DEVICES']}")
    capabilities = wanted.get("NVIDIA_DRIVER_CAPABILITIES", "").replace(",", " ").split() or ["utility"]
    for capability in _CAPABILITIES if "all" in capabilities else capabilities:
        if capability not in _CAPABILITIES:
            known = ", ".join(_CAPABILITIES)
            raise LxcError(f"NVIDIA_DRIVER_CAPABILITIES: unknown capability {capability!r}", remedy=f"known are {known}, all")
        words.append(f"--{capability}")
    if "--disable-require" in given or _true(wanted.get("NVIDIA_DISABLE_REQUIRE", "")):
        return words
    return words + [f"--require={wanted[key]}" for key in sorted(wanted) if key.startswith("NVIDIA_REQUIRE_")]


def _true(text: str) -> bool:
    if text and text not in _TRUE + _FALSE:
        invocation.say(NAME, f"NVIDIA_DISABLE_REQUIRE: {text!r} is neither true nor false, taken as false")
    return text in _TRUE


def _leave_profile() -> None:
    """Leave AppArmor's profile of a start, which permits no mounts of this kind; where that is not allowed, go on in it."""
    try:
        with open("/proc/self/attr/current", "wb", buffering=0) as file:
            file.write(b"changeprofile unconfined")
    except OSError:
        pass


def main() -> None:
    """The hook's program."""
    invocation.main(run, NAME)
