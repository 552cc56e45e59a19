# SPDX-License-Identifier: LGPL-2.1-or-later
"""The local template: an image of two archives, metadata and root file system, as image builders make them.

The metadata archive holds config (for all) and config-user (with id maps), each with LXC_CONTAINER_NAME, LXC_CONTAINER_CONFIG and
LXC_TEMPLATE_CONFIG to be replaced, excludes-user, and templates: files of the root file system in which LXC_CONTAINER_NAME and
LXC_CONTAINER_HOSTNAME are to be replaced.
"""

from __future__ import annotations

import os
import tarfile

from .. import paths
from ..errors import LxcError
from ..progress import Progress
from . import contract


def run(arguments: list[str]) -> None:
    """Fill a container from an image. Raises LxcError."""
    parser = contract.parser("local", "Fill a container from an image on this machine.")
    parser.add_argument("-m", "--metadata", required=True, help="the metadata archive (meta.tar.xz)")
    parser.add_argument("-f", "--fstree", required=True, help="the archive of the root file system (rootfs.tar.xz)")
    parser.add_argument("--no-dev", action="store_true", help="leave out /dev")
    options = parser.parse_args(arguments)
    target = contract.Target(options)
    for path in (options.metadata, options.fstree):
        if not os.path.isfile(path):
            raise LxcError(f"{path}: no such file")
    metadata = _read(options.metadata)
    excludes = ["--exclude=./dev/*"] if target.mapped or options.no_dev else []
    if target.mapped and "excludes-user" in metadata:
        excludes += [f"--exclude={line.strip()}" for line in metadata["excludes-user"].splitlines() if line.strip()]
    with Progress("unpacking") as beat:
        beat()
        contract.run(
            "tar", "-x", "-p", "--numeric-owner", "--anchored", *excludes, "--xattrs", "--xattrs-include=*",
            "-f", options.fstree, "-C", target.rootfs,
        )  # fmt: skip
    os.makedirs(f"{target.rootfs}/dev/pts", 0o755, exist_ok=True)
    for path in metadata.get("templates", "").splitlines():
        _fill_in(target, path.strip())
    wanted = "config-user" if target.mapped and "config-user" in metadata else "config"
    lines = [_replaced(target, line) for line in metadata.get(wanted, "").splitlines()]
    target.configure(["", "# Distribution configuration", *lines, "", f"lxc.uts.name = {target.name}"])


def _read(path: str) -> dict[str, str]:
    """The text files of the metadata archive by name. Raises LxcError."""
    result: dict[str, str] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    result[os.path.basename(member.name)] = file.read().decode("utf-8", "surrogateescape")
    except (tarfile.TarError, OSError) as error:
        raise LxcError(f"{path} cannot be read as an archive: {error}") from error
    if "config" not in result:
        raise LxcError(f"{path} is not the metadata of an image: it holds no config")
    return result


def _replaced(target: contract.Target, text: str) -> str:
    for word, value in (
        ("LXC_CONTAINER_NAME", target.name),
        ("LXC_CONTAINER_HOSTNAME", target.name),
        ("LXC_CONTAINER_CONFIG", target.config),
        ("LXC_TEMPLATE_CONFIG", paths.CONFIG),
        ("LXC_HOOK_DIR", paths.HOOKS),
    ):
        text = text.replace(word, value)
    return text


def _fill_in(target: contract.Target, path: str) -> None:
    """Replace the names in one file of the root file system; links are not followed."""
    if not path or ".." in path.split("/"):
        return
    place = f"{target.rootfs}/{path.lstrip('/')}"
    if not os.path.isfile(place) or os.path.islink(place):
        return
    with open(place, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    with open(place, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(_replaced(target, text))


def main() -> None:
    """The template's program."""
    contract.main(run, "lxc-local")
