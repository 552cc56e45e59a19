# SPDX-License-Identifier: LGPL-2.1-or-later
"""Value types about mounts: lxc.mount.auto, lxc.rootfs.path, lxc.rootfs.options. See values.py for what a type is."""

from __future__ import annotations

from .values import BadValue, Type, nearest, simplify, split_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# -- lxc.mount.auto ----------------------------------------------------------------------------------------------------


class MountAuto:
    """What lxc.mount.auto asks for.

    proc: "", "rw", "mixed". sys: "", "rw", "ro", "mixed". cgroup: "", "ro", "rw", "mixed", or "noSpec" for the bare word,
    which means rw where the container keeps CAP_SYS_ADMIN and mixed elsewhere. cgroup_kind: "cgroup", "cgroup-full",
    "cgroup2". force: mount cgroups even where the kernel has cgroup namespaces. shmounts: (folder on the host, folder in
    the container) or None.
    """

    __slots__ = ("cgroup", "cgroup_kind", "force", "proc", "shmounts", "sys")

    def __init__(self) -> None:
        self.proc = ""
        self.sys = ""
        self.cgroup = ""
        self.cgroup_kind = "cgroup"
        self.force = False
        self.shmounts: tuple[str, str] | None = None

    def __bool__(self) -> bool:
        return bool(self.proc or self.sys or self.cgroup or self.shmounts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MountAuto) and all(getattr(self, n) == getattr(other, n) for n in self.__slots__)

    __hash__ = None  # type: ignore[assignment]


# Word -> (field, its value). The cgroup family follows from its parts.
_PLAIN = {
    "proc": ("proc", "mixed"),
    "proc:mixed": ("proc", "mixed"),
    "proc:rw": ("proc", "rw"),
    "sys": ("sys", "mixed"),
    "sys:mixed": ("sys", "mixed"),
    "sys:ro": ("sys", "ro"),
    "sys:rw": ("sys", "rw"),
}
_MODES = {"cgroup": ("mixed", "ro", "rw"), "cgroup-full": ("mixed", "ro", "rw"), "cgroup2": ("ro",)}
AUTO_WORDS = (
    *_PLAIN,
    *(
        kind + mode + force
        for kind, modes in _MODES.items()
        for mode in ("", *(f":{mode}" for mode in modes))
        for force in ("", ":force")
    ),
)
_DEFAULT_SHMOUNTS = "/dev/.lxc-mounts"


def _automount(text: str) -> list[str]:
    words = split_words(text)
    for word in words:
        if word in AUTO_WORDS:
            continue
        if word.startswith("shmounts:"):
            if word[9:].partition(":")[0]:
                continue
            raise BadValue(f'"{word}" names no folder', "write shmounts:HOST-FOLDER[:CONTAINER-FOLDER]", word)
        hint = nearest(word, AUTO_WORDS)
        raise BadValue(f'Invalid filesystem to automount "{word}"', f"did you mean {hint}?" if hint else "", word)
    return words


def _join_auto(old: MountAuto | None, words: list[str]) -> MountAuto:
    """Each family keeps its last word."""
    result = MountAuto()
    if old:
        for name in MountAuto.__slots__:
            setattr(result, name, getattr(old, name))
    for word in words:
        if word in _PLAIN:
            setattr(result, *_PLAIN[word])
        elif word.startswith("shmounts:"):
            host, _, container = word[9:].partition(":")
            result.shmounts = (host, container or _DEFAULT_SHMOUNTS)
        else:
            kind, *rest = word.split(":")
            result.cgroup_kind = kind
            result.force = kind == "cgroup2" or "force" in rest
            modes = [part for part in rest if part != "force"]
            result.cgroup = modes[0] if modes else "rw" if kind == "cgroup2" else "noSpec"
    return result


def _auto_text(auto: MountAuto) -> str:
    """As liblxc prints it; what liblxc leaves out (force, cgroup2, shmounts) is printed too, so that it reads back."""
    words = [f"{family}:{mode}" for family, mode in (("proc", auto.proc), ("sys", auto.sys)) if mode]
    if auto.cgroup:
        plain = auto.cgroup == "noSpec" or (auto.cgroup_kind == "cgroup2" and auto.cgroup == "rw")
        force = ":force" if auto.force and auto.cgroup_kind != "cgroup2" else ""
        words.append(auto.cgroup_kind + ("" if plain else ":" + auto.cgroup) + force)
    if auto.shmounts:
        words.append("shmounts:" + ":".join(auto.shmounts))
    return " ".join(words)


# -- lxc.rootfs.path ---------------------------------------------------------------------------------------------------

STORAGE_TYPES = ("aufs", "btrfs", "dir", "loop", "lvm", "nbd", "overlay", "overlayfs", "rbd", "zfs")


class RootfsPath(str):
    """The path of lxc.rootfs.path without the storage type before it, which is `type` ("" when it is to be detected)."""

    type: str = ""

    @classmethod
    def of(cls, kind: str, path: str) -> RootfsPath:
        """A path with its storage type."""
        result = cls(path)
        result.type = kind
        return result


def _rootfs(text: str) -> RootfsPath:
    """[TYPE:]PATH. Only before a known type does the colon separate; C LXC splits /a:b too."""
    kind, colon, path = text.partition(":")
    if colon and kind in STORAGE_TYPES:
        return RootfsPath.of(kind, simplify(path))
    return RootfsPath.of("", simplify(text))


# -- lxc.rootfs.options ------------------------------------------------------------------------------------------------

_NOT_FOR_ROOTFS = ("create=dir", "create=file", "optional", "relative")


def _options(text: str) -> str:
    """Whole words, unlike C LXC, which finds its own words inside others."""
    for word in text.split(","):
        if word in _NOT_FOR_ROOTFS:
            raise BadValue("Invalid LXC specific mount option for rootfs mount", f"remove {word}", word)
        if word == "idmap=":
            raise BadValue('Missing idmap path for "idmap=<path>" LXC specific mount option', "idmap=container, or a file", word)
    return text


def _text(value: Any) -> str:
    return str(value)


AUTOMOUNT = Type("automount", "of: " + " ".join(AUTO_WORDS) + " shmounts:HOST[:CONTAINER]", _automount, _auto_text,
                 default=MountAuto(), join=_join_auto, words=AUTO_WORDS)  # fmt: skip
ROOTFS = Type("rootfs-spec", "[TYPE:]PATH, with TYPE one of: " + " ".join(STORAGE_TYPES), _rootfs, _text,
              default=RootfsPath())  # fmt: skip
MOUNT_OPTIONS = Type("mountopts", "options of mount(8) with commas between them, idmap=container or idmap=PATH", _options)
