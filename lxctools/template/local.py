# SPDX-License-Identifier: LGPL-2.1-or-later
"""The local template: an image of two archives, root file system and metadata, as image builders make them.

Members of the metadata archive, each as NAME, NAME-system or NAME-user (for containers with id maps), and of those as it is or
with the compatibility level behind it (config-user.5):

    config          lines of configuration that belong to the distribution
    fstab           becomes the container's lxc.mount.fstab
    excludes        patterns of tar, one a line: what is not unpacked
    templates       paths in the root file system, one a line: files in which the words below are replaced
    create-message  printed at the end

Replaced in config, fstab and the files that templates lists: LXC_NAME, LXC_PATH, LXC_ROOTFS, LXC_TEMPLATE_CONFIG, LXC_HOOK_DIR.
"""

from __future__ import annotations

import os
import tempfile

from .. import files, paths
from ..errors import LxcError
from . import contract
from .rootfs import Rootfs

_LEVEL = ".5"


def run(arguments: list[str]) -> None:
    """Fill a container from an image on this machine. Raises LxcError, OSError."""
    parser = contract.parser("local", "Fill a container from an image on this machine.")
    parser.add_argument("-m", "--metadata", default="", metavar="FILE", help="archive of the metadata (meta.tar.xz)")
    parser.add_argument("-f", "--fstree", required=True, metavar="FILE", help="archive of the root file system (rootfs.tar.xz)")
    parser.add_argument("--no-dev", action="store_true", help="leave out what is in /dev")
    options = parser.parse_args(arguments)
    for path in (options.metadata, options.fstree):
        if path and not os.path.isfile(path):
            raise LxcError(f"{path}: there is no such archive")
    target = contract.Target(options)
    metadata = _metadata(options.metadata, target) if options.metadata else {}
    excludes = [line.strip() for line in metadata.get("excludes", "").splitlines() if line.strip()]
    if target.mapped or options.no_dev:
        excludes.append("./dev/*")  # device nodes cannot be made in a user namespace
    with target.rootfs as root:
        contract.unpack(options.fstree, root.path, excludes)
        root.folder("dev/pts")
        words = _words(target)
        for line in metadata.get("templates", "").splitlines():
            _fill_in(root, line.strip(), words)
    container = [f"lxc.uts.name = {target.name}"]
    if "fstab" in metadata:
        place = f"{target.folder}/fstab"
        files.write_atomic(place, _replaced(metadata["fstab"], words).encode("utf-8", "surrogateescape"))
        if target.mapped:
            os.chown(place, target.mapped_uid, target.mapped_gid)
        container.insert(0, f"lxc.mount.fstab = {place}")
    target.configure(_replaced(metadata.get("config", ""), words).splitlines(), container)
    if "create-message" in metadata:
        os.write(1, ("\n---\n" + metadata["create-message"]).encode("utf-8", "surrogateescape"))


def _metadata(path: str, target: contract.Target) -> dict[str, str]:
    """The members' text by their plain names. Raises LxcError for an archive that cannot be read or is no metadata."""
    with tempfile.TemporaryDirectory(prefix="meta.", dir=target.folder) as folder:
        contract.unpack(path, folder, [])
        with Rootfs(folder) as unpacked:
            found = {}
            for name in ("config", "fstab", "excludes", "templates", "create-message"):
                mode = "user" if target.mapped else "system"
                for candidate in (f"{name}-{mode}{_LEVEL}", f"{name}-{mode}", f"{name}{_LEVEL}", name):
                    text = unpacked.read(candidate)
                    if text is not None:
                        found[name] = text
                        break
    if "config" not in found:
        raise LxcError(f"{path} is not the metadata of an image: it holds no config")
    return found


def _words(target: contract.Target) -> tuple[tuple[str, str], ...]:
    return (
        ("LXC_NAME", target.name),
        ("LXC_PATH", target.folder),
        ("LXC_ROOTFS", target.rootfs.path),
        ("LXC_TEMPLATE_CONFIG", contract.fragments_folder()),
        ("LXC_HOOK_DIR", paths.HOOKS),
    )


def _replaced(text: str, words: tuple[tuple[str, str], ...]) -> str:
    for word, value in words:
        text = text.replace(word, value)
    return text


def _fill_in(root: Rootfs, path: str, words: tuple[tuple[str, str], ...]) -> None:
    """Replace the words in one file of the root file system; one that is not there is passed over."""
    text = root.read(path) if path.strip("/") else None
    if text is not None:
        root.rewrite(path, _replaced(text, words))


def main() -> None:
    """The template's program."""
    contract.main(run, "lxc-local")
