# SPDX-License-Identifier: LGPL-2.1-or-later
"""Seccomp policies: text to rules, rules to one program.

    policy   = version NEWLINE kind NEWLINE body
    version  = "1" | "2"
    kind     = ("allowlist" | "denylist" | "whitelist" | "blacklist") [ blank action ]      version 1: allowlist only
    body     = number*                                                                       version 1
             | { comment | section | rule }                                                  version 2
    section  = "[" architecture "]"          the rules below are for it only; [all]: for every one
    rule     = name [ blank action ] { blank "[" index "," value "," comparison [ "," mask ] "]" }
    action   = "kill" | "errno" blank number | "allow" | "trap" | "notify"

reject_force_umount as a name denies umount2 with MNT_FORCE.
"""

from __future__ import annotations

import errno
import os

from .. import log
from ..errors import LxcError, describe
from ..linux import seccomp as kernel
from .numbers import c_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_MNT_FORCE = 1
_ALL_BITS = (1 << 64) - 1
_COMPARISONS = {
    "SCMP_CMP_NE": kernel.CMP_NE,
    "!=": kernel.CMP_NE,
    "SCMP_CMP_LT": kernel.CMP_LT,
    "<": kernel.CMP_LT,
    "SCMP_CMP_LE": kernel.CMP_LE,
    "<=": kernel.CMP_LE,
    "SCMP_CMP_EQ": kernel.CMP_EQ,
    "==": kernel.CMP_EQ,
    "SCMP_CMP_GE": kernel.CMP_GE,
    ">=": kernel.CMP_GE,
    "SCMP_CMP_GT": kernel.CMP_GT,
    ">": kernel.CMP_GT,
    "SCMP_CMP_MASKED_EQ": kernel.CMP_MASKED_EQ,
    "&=": kernel.CMP_MASKED_EQ,
}
# Section name -> libseccomp's name of the architecture.
_SECTIONS = {
    "x86": "x86",
    "x32": "x32",
    "x86_64": "x86_64",
    "arm": "arm",
    "arm64": "aarch64",
    "ppc": "ppc",
    "ppc64": "ppc64",
    "ppc64le": "ppc64le",
    "mips": "mips",
    "mips64": "mips64",
    "mips64n32": "mips64n32",
    "mipsel": "mipsel",
    "mipsel64": "mipsel64",
    "mipsel64n32": "mipsel64n32",
    "s390": "s390",
    "s390x": "s390x",
    "loongarch64": "loongarch64",
}
_COMPANIONS = {
    "x86_64": ("x86", "x32"),
    "aarch64": ("arm",),
    "ppc64": ("ppc",),
    "mips64": ("mips", "mips64n32"),
    "mipsel64": ("mipsel", "mipsel64n32"),
}


class Rule:
    """name, or number for version 1; section: an architecture or "" for all; arguments: (index, comparison, a, b).

    line: where it stands in the policy, for messages.
    """

    __slots__ = ("action", "arguments", "line", "name", "number", "section")

    def __init__(
        self,
        name: str,
        action: int,
        section: str = "",
        arguments: list[tuple[int, int, int, int]] | None = None,
        number: int = -1,
        line: int = 0,
    ) -> None:
        self.line = line
        self.name = name
        self.action = action
        self.section = section
        self.arguments = arguments or []
        self.number = number


class Policy:
    """default: what happens to calls that no rule names."""

    __slots__ = ("default", "rules")

    def __init__(self, default: int) -> None:
        self.default = default
        self.rules: list[Rule] = []

    @property
    def notifies(self) -> bool:
        """Whether any rule asks for a user notification."""
        return any(rule.action == kernel.ACT_NOTIFY for rule in self.rules)


def parse(text: str) -> Policy:
    """A policy. Raises ValueError `LINE: reason`."""
    lines = text.splitlines()
    version = lines[0].strip() if lines else ""
    if version not in ("1", "2"):
        raise ValueError(f'1: the first line is the version, 1 or 2, not "{version}"')
    kind = lines[1] if len(lines) > 1 else ""
    if "debug" in kind:
        raise ValueError('2: "debug" is not supported in a policy')
    return _parse_1(kind, lines[2:]) if version == "1" else _parse_2(kind, lines[2:])


def _parse_1(kind: str, lines: list[str]) -> Policy:
    if "allowlist" not in kind:
        raise ValueError(f'2: a policy of version 1 is an allowlist, not "{kind}"')
    policy = Policy(kernel.ACT_KILL)
    for number, line in enumerate(lines, 3):
        if not line.strip().isdecimal():
            raise ValueError(f'{number}: "{line}" is not the number of a system call')
        policy.rules.append(Rule("", kernel.ACT_ALLOW, number=int(line), line=number))
    return policy


def _parse_2(kind: str, lines: list[str]) -> Policy:
    word, _, rest = kind.partition(" ")
    if word in ("denylist", "blacklist"):
        policy, action = Policy(kernel.ACT_ALLOW), kernel.ACT_KILL
    elif word in ("allowlist", "whitelist"):
        policy, action = Policy(kernel.ACT_KILL), kernel.ACT_ALLOW
    else:
        raise ValueError(f'2: "{kind}" is neither allowlist nor denylist')
    if rest.strip():
        policy.default = _action(rest.split(), 2)[0]
    section = ""
    for number, line in enumerate(lines, 3):
        if not line.partition("#")[0].strip():
            continue
        if line.startswith("["):
            section = _section(line.strip(), number)
        else:
            policy.rules.append(_rule(line, section, action, number))
    return policy


def _section(line: str, number: int) -> str:
    name = line.strip("[]")
    if name not in (name.lower(), name.upper()) or name.lower() not in {"all", *_SECTIONS}:
        raise ValueError(f"{number}: {line} is not an architecture: [all] or one of {' '.join(_SECTIONS)}")
    return "" if name.lower() == "all" else name.lower()


def _action(words: list[str], number: int) -> tuple[int, int]:
    """(action, how many words it took)."""
    word = words[0]
    if word == "errno":
        if len(words) < 2 or not words[1].isdecimal():
            raise ValueError(f"{number}: errno needs a number")
        return kernel.act_errno(int(words[1])), 2
    simple = {
        "kill": kernel.ACT_KILL,
        "allow": kernel.ACT_ALLOW,
        "trap": kernel.ACT_TRAP,
        "notify": kernel.ACT_NOTIFY,
    }
    if word not in simple:
        raise ValueError(f'{number}: "{word}" is not an action: kill, errno N, allow, trap or notify')
    return simple[word], 1


def _rule(line: str, section: str, action: int, number: int) -> Rule:
    words = line.split("#", 1)[0].split()
    name = words[0]
    if name == "reject_force_umount":
        arguments = [(1, kernel.CMP_MASKED_EQ, _MNT_FORCE, _MNT_FORCE)]
        return Rule("umount2", kernel.act_errno(errno.EACCES), section, arguments, line=number)
    rest = words[1:]
    explicit = bool(rest) and not rest[0].startswith("[")
    if explicit:
        action, taken = _action(rest, number)
        rest = rest[taken:]
    elif rest:
        raise ValueError(f"{number}: an action is needed before the arguments: {line.strip()}")
    return Rule(name, action, section, _arguments(" ".join(rest), number), line=number)


def _arguments(text: str, number: int) -> list[tuple[int, int, int, int]]:
    result = []
    while text:
        if not text.startswith("[") or "]" not in text:
            raise ValueError(f"{number}: {text} is not [INDEX,VALUE,COMPARISON] or [INDEX,VALUE,COMPARISON,MASK]")
        inside, _, text = text[1:].partition("]")
        text = text.strip()
        parts = [part.strip() for part in inside.split(",")]
        if len(parts) not in (3, 4) or parts[2] not in _COMPARISONS:
            raise ValueError(f"{number}: [{inside}] is not [INDEX,VALUE,COMPARISON] with a comparison like == or SCMP_CMP_EQ")
        try:
            index, value, mask = (c_number(part) for part in (parts[0], parts[1], parts[3] if len(parts) == 4 else "0"))
        except ValueError as error:
            raise ValueError(f"{number}: [{inside}]: {error}") from None
        if not 0 <= index <= 5:
            raise ValueError(f"{number}: [{inside}]: an argument's index is 0 to 5")
        if not all(-(1 << 63) <= part < 1 << 64 for part in (value, mask)):
            raise ValueError(f"{number}: [{inside}]: a number has at most 64 bits")
        value, mask = value & _ALL_BITS, mask & _ALL_BITS  # -1 is written for "all bits"
        comparison = _COMPARISONS[parts[2]]
        # The mask stands first for libseccomp.
        result.append((index, comparison, mask, value) if comparison == kernel.CMP_MASKED_EQ else (index, comparison, value, 0))
    return result


def compile_policy(policy: Policy) -> bytes:
    """One program for this machine's architecture and its companions.

    Raises OSError when there is no libseccomp, ValueError `LINE: reason` for a rule that it refuses.
    """
    library = kernel.Library()
    native = library.native()
    names = {library.arch(name): section for section, name in _SECTIONS.items()}
    names.pop(0, None)  # what this libseccomp does not know
    native_name = _SECTIONS.get(names.get(native, ""), "")
    arches = [native, *(library.arch(name) for name in _COMPANIONS.get(native_name, ()))]
    whole = 0
    try:
        for arch in arches:
            context = library.filter(policy.default, arch)
            try:
                for rule in policy.rules:
                    if rule.section in ("", names.get(arch)) and rule.action != policy.default:
                        _add(library, context, arch, rule)
                if whole:
                    library.merge(whole, context)
            except BaseException:
                library.release(context)
                raise
            whole = whole or context
        return library.export(whole)
    finally:
        if whole:
            library.release(whole)


def _add(library: kernel.Library, context: int, arch: int, rule: Rule) -> None:
    """Add a rule to an architecture's filter; left out where that has no such call."""
    native = library.native()
    if rule.name:
        # libseccomp takes the native number, or its own pseudo one, and translates it itself.
        call = library.resolve(native, rule.name)
        if call == kernel.NR_ERROR or library.resolve(arch, rule.name) < 0:
            return
    else:
        call = rule.number
    try:
        library.add(context, rule.action, call, rule.arguments)
    except OSError as error:
        if rule.name or arch == native:
            what = rule.name or f"the call with number {rule.number}"
            hint = ": two conditions on one argument" if _repeats(rule) else ""
            raise ValueError(f"{rule.line}: libseccomp refuses {what}{hint}: {describe(error)}") from None
        # A call of the native architecture, by number, that this one has not.


def _repeats(rule: Rule) -> bool:
    indices = [argument[0] for argument in rule.arguments]
    return len(set(indices)) < len(indices)


# The last policy and its program: a reboot, and containers started together, mostly have the same one.
_compiled: dict[str, tuple[bytes, bool]] = {}


def compile_for(conf: Config) -> tuple[bytes, bool] | None:
    """(program, whether it notifies) of lxc.seccomp.profile, or None. Raises LxcError naming file, line and reason.

    Nothing when this process is confined already, unless lxc.seccomp.allow_nesting, and on kernels without seccomp.
    """
    path = conf["lxc.seccomp.profile"]
    if not path:
        return None
    state = _own_state()
    if state is None:
        log.warn("lxc.seccomp.profile is passed over: this kernel has no seccomp")
        return None
    if state and not conf["lxc.seccomp.allow_nesting"]:
        log.warn("lxc.seccomp.profile is passed over: this process is confined by a policy already")
        return None
    try:
        with open(path, "rb", buffering=0) as file:
            text = os.fsdecode(file.readall())
    except OSError as error:
        raise LxcError(f"lxc.seccomp.profile: cannot read the policy {path}: {describe(error)}") from error
    if text in _compiled:
        return _compiled[text]
    try:
        policy = parse(text)
        code = compile_policy(policy)
    except ValueError as error:
        raise LxcError(f"lxc.seccomp.profile: {path}:{error}") from None
    except OSError as error:
        raise LxcError(
            f"lxc.seccomp.profile: cannot compile {path}: {describe(error)}", remedy="is libseccomp2 installed?"
        ) from error
    if policy.notifies and not conf["lxc.seccomp.notify.proxy"]:
        log.debug("the policy has notify rules, and lxc.seccomp.notify.proxy is not set")
    _compiled.clear()
    _compiled[text] = code, policy.notifies
    return code, policy.notifies


def _own_state() -> int | None:
    with open("/proc/self/status", "rb", buffering=0) as file:
        for line in file.readall().splitlines():
            if line.startswith(b"Seccomp:"):
                return int(line.split()[1])
    return None
