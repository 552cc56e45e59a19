# SPDX-License-Identifier: LGPL-2.1-or-later
"""Completions for bash, zsh and fish from the option tables, and from what is here: which argument means what.

Each file is for one command and needs no other. Names of containers come from lxc-ls, of the -P that is typed already, and only
those that the command can do something with; snapshots from lxc-snapshot -L; templates from their folder; keys from the key table.
"""

from lxctools import log, states
from lxctools.cli import attach, ls, start
from lxctools.cli import config as config_command
from lxctools.cli._options import NONE, OPTIONAL
from lxctools.config import keys, net
from lxctools.storage import backend

TEMPLATE_FOLDER = "/usr/share/lxc/templates"
HEAD = "# SPDX-License-Identifier: LGPL-2.1-or-later\n"
CONTAINERS, FILES, FOLDERS, TEMPLATES, SNAPSHOTS, EVERY_SNAPSHOT, USERS, INTERFACES, PROGRAMS, NOTHING = (
    "containers", "files", "folders", "templates", "snapshots", "every snapshot", "users", "interfaces", "programs", "nothing",
)  # fmt: skip

# Which containers a command can do something with: an option of lxc-ls.
STATE = {
    **dict.fromkeys("attach cgroup console device freeze stop top".split(), "--running"),
    **dict.fromkeys("start execute".split(), "--stopped"),
    "unfreeze": "--frozen",
    **dict.fromkeys("copy clone create destroy export snapshot".split(), "--defined"),
}
# Commands whose arguments are all another's.
WRAPPED = {"unpriv-start": start.COMMAND, "unpriv-attach": attach.COMMAND}
# Commands whose name is that of a container to come.
NEW_NAME = {"create", "import"}
NAMESPACES = {"attach": "MOUNT PID UTSNAME IPC USER NETWORK CGROUP", "unshare": "MOUNT PID UTSNAME IPC USER NETWORK CGROUP"}
_KEYS = [row.name for row in keys.KEYS if "*" not in row.name] + [f"lxc.net.0.{row.name}" for row in net.KEYS]
_FILESYSTEMS = "ext2 ext3 ext4 xfs btrfs"
# (command, long option or dest) -> what its argument is; "" for every command.
ARGUMENTS = {
    ("", "name"): CONTAINERS,
    ("", "lxcpath"): FOLDERS,
    ("", "logfile"): FILES,
    ("", "rcfile"): FILES,
    ("", "logpriority"): " ".join(log.LEVELS[:9]),
    ("", "define"): " ".join(f"{key}=" for key in _KEYS),
    ("", "groups"): NOTHING,
    ("", "uid"): NOTHING,
    ("", "gid"): NOTHING,
    ("", "timeout"): NOTHING,
    ("", "newpath"): FOLDERS,
    ("", "fssize"): NOTHING,
    ("", "fstype"): _FILESYSTEMS,
    ("attach", "elevated-privileges"): "CGROUP CAP LSM",
    ("attach", "arch"): "x86_64 amd64 i386 x86 i686 arm64 aarch64 armhf arm linux64 linux32 ppc64el s390x riscv64",
    ("attach", "pty-log"): FILES,
    ("attach", "keep-var"): "$variables",
    ("checkpoint", "checkpoint-dir"): FOLDERS,
    ("checkpoint", "predump-dir"): FOLDERS,
    ("checkpoint", "action-script"): FILES,
    ("clone", "orig"): CONTAINERS,
    ("clone", "backingstore"): " ".join(backend.names()),
    ("console", "tty"): "0 1 2 3 4",
    ("console", "escape"): "^a ^b ^o",
    ("copy", "backingstorage"): " ".join(backend.names()),
    ("copy", "mount"): "bind= overlay=",
    ("create", "bdev"): " ".join([*backend.names(), "best", "none"]),
    ("create", "config"): FILES,
    ("create", "template"): TEMPLATES,
    ("create", "dir"): FOLDERS,
    ("import", "bdev"): " ".join([*backend.names(), "best"]),
    ("info", "config"): " ".join(_KEYS),
    ("ls", "fancy-format"): " ".join(ls._rows.COLUMNS),
    ("ls", "filter"): NOTHING,
    ("snapshot", "restore"): SNAPSHOTS,
    ("snapshot", "destroy"): EVERY_SNAPSHOT,
    ("snapshot", "comment"): FILES,
    ("start", "console"): FILES,
    ("start", "console-log"): FILES,
    ("start", "pidfile"): FILES,
    ("start-ephemeral", "orig"): CONTAINERS,
    ("start-ephemeral", "name"): NOTHING,
    ("start-ephemeral", "lxcpath"): FOLDERS,
    ("start-ephemeral", "bdir"): FOLDERS,
    ("start-ephemeral", "cdir"): FOLDERS,
    ("start-ephemeral", "key"): FILES,
    ("start-ephemeral", "user"): USERS,
    ("start-ephemeral", "storage-type"): "tmpfs dir",
    ("start-ephemeral", "union-type"): "overlayfs aufs",
    ("top", "sort"): "n c b m s k",
    ("unshare", "namespaces"): NAMESPACES["unshare"],
    ("attach", "namespaces"): NAMESPACES["attach"],
    ("unshare", "user"): USERS,
    ("unshare", "ifname"): INTERFACES,
    ("update-config", "config"): FILES,
    ("wait", "state"): " ".join(states.STATES),
    **{("", f"share-{kind}"): CONTAINERS for kind in ("net", "ipc", "uts", "pid")},
}
# What the words after the name (or, for a command without one, all words) are: one entry a place, the last one repeats.
WORDS = {
    "attach": [PROGRAMS],
    "execute": [PROGRAMS],
    "start": [PROGRAMS],
    "start-ephemeral": [PROGRAMS],
    "unshare": [PROGRAMS],
    "usernsexec": [PROGRAMS],
    "cgroup": ["memory.max memory.high memory.current pids.max cpu.max cpu.weight cpuset.cpus io.max devices.allow devices.deny"],
    "clone": [CONTAINERS, NOTHING],
    "config": [" ".join(["-l", "check", *config_command.LISTED]), CONTAINERS],
    "device": ["add del", INTERFACES, NOTHING],
    "export": [FILES],
    "file": ["push pull edit", FILES],
    "import": [FILES, NOTHING],
    "ls": [CONTAINERS],
    "net": ["start stop restart reload force-reload", NOTHING],
}


def argument(command, row):
    """What the argument of an option is."""
    return ARGUMENTS.get((command.name, row.long)) or ARGUMENTS.get(("", row.long)) or NOTHING


def spellings(row):
    return [f"-{row.short}" if row.short else "", f"--{row.long}" if row.long else ""]


def given(row):
    return [word for word in spellings(row) if word]


def lister(command):
    """The words of lxc-ls that give the names of the containers in question."""
    state = STATE.get(command.name, "")
    return f"lxc-ls -1 {state}".rstrip()


# -- bash

_BASH = """{function}()
{{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} name= word i count=0 after=
    local -a path=()
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        [[ ${{COMP_WORDS[i + 1]}} == = ]] && ((i++))
        case $word in
        --) after=yes ;;
        -P | --lxcpath) path=(-P "${{COMP_WORDS[++i]}}") ;;
        -n | --name) name=${{COMP_WORDS[++i]}} ;;
{takers}        -*) ;;
        *)
            if [[ {named} && -z $name ]]; then name=$word; else ((count++)); fi ;;
        esac
    done
    if [[ -z $after ]]; then
        case $prev in
{arguments}        esac
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "{options}" -- "$cur")
            return
        fi
    fi
    if [[ {named} && -z $name ]]; then
        {of_name}
        return
    fi
    case $count in
{words}    esac
}}
complete -F {function} {prog}
"""


# Not `compgen -W`: it would expand, and so run, what stands in the name of a container.
_BASH_FILTER = """ 2>/dev/null | while IFS= read -r word; do [[ $word == "$cur"* ]] && printf '%q\\n' "$word"; done)"""


def _bash_reply(kind, command):
    if kind == NOTHING:
        return "return"
    snapshots = """lxc-snapshot "${path[@]}" -n "$name" -L 2>/dev/null | sed -n 's/^\\([^ ]*\\) (.*/\\1/p'"""
    listed = {
        CONTAINERS: f'lxc-ls "${{path[@]}}" {lister(command).removeprefix("lxc-ls ")}',
        INTERFACES: "{ command ls /sys/class/net; compgen -f; }",
        TEMPLATES: f"{{ echo none; command ls {TEMPLATE_FOLDER} | sed 's/^lxc-//'; compgen -f -- \"$cur\"; }}",
        SNAPSHOTS: snapshots,
        EVERY_SNAPSHOT: f"{{ {snapshots}; echo ALL; }}",
    }
    if kind in listed:
        text = f"mapfile -t COMPREPLY < <({listed[kind]}{_BASH_FILTER}"
    else:
        how = {FILES: "-f", FOLDERS: "-d", PROGRAMS: "-c", USERS: "-u", "$variables": "-e"}.get(kind) or f'-W "{kind}"'
        text = f'mapfile -t COMPREPLY < <(compgen {how} -- "$cur")'
    if kind in (FILES, FOLDERS):
        text += "; compopt -o filenames"
    elif kind.endswith("="):
        text += "; compopt -o nospace"
    return text


def bash(command):
    function = "_" + command.prog.replace("-", "_")
    rows = list(command.table())
    takers = [word for row in rows if row.arg not in (NONE, OPTIONAL) and row.long not in ("name", "lxcpath") for word in given(row)]
    arguments = []
    for row in rows:
        if row.arg in (NONE, OPTIONAL):
            continue
        kind = NOTHING if row.long == "name" and command.name in NEW_NAME else argument(command, row)
        arguments.append(f"        {' | '.join(given(row))}) {_bash_reply(kind, command)}; return ;;\n".replace("return; return", "return"))
    places = WORDS.get(command.name, [NOTHING])
    words = []
    for number, kind in enumerate(places):
        pattern = "*" if number == len(places) - 1 else str(number)
        words.append(f"    {pattern}) {_bash_reply(kind, command)} ;;\n")
    return HEAD + _BASH.format(
        function=function,
        prog=command.prog,
        named="yes" if command.named else "''",
        takers=f"        {' | '.join(takers)}) ((i++)) ;;\n" if takers else "",
        arguments="".join(arguments) or "        *) ;;\n",
        options=" ".join(sorted({word for row in rows for word in given(row) if word != "-?"})),
        of_name=_bash_reply(NOTHING if command.name in NEW_NAME else CONTAINERS, command),
        words="".join(words),
    )


# -- zsh


def _zsh_text(text):
    for letter in "\\[]:'":
        text = text.replace(letter, "'\\''" if letter == "'" else "\\" + letter)
    return text


def _zsh_action(kind, command):
    simple = {
        NOTHING: " ", FILES: "_files", FOLDERS: "_files -/", USERS: "_users", INTERFACES: "_net_interfaces", PROGRAMS: "_command_names -e",
        CONTAINERS: "_lxc_containers",
        TEMPLATES: "_lxc_templates", SNAPSHOTS: "_lxc_snapshots", EVERY_SNAPSHOT: "_lxc_snapshots ALL",
        "$variables": '_parameters -g "*export*"',
    }  # fmt: skip
    return simple.get(kind) or f"({kind})"


_ZSH = """#compdef {prog}
{head}
_lxc_path() {{
    local at=${{words[(I)-P|--lxcpath]}}
    (( at )) && reply=(-P "${{words[at + 1]}}") || reply=()
}}
_lxc_containers() {{
    local -a reply names
    _lxc_path
    names=("${{(@f)$(_call_program containers {lister} "${{(q@)reply}}" 2>/dev/null)}}")
    compadd -- ${{(@)names:#}}
}}
_lxc_snapshots() {{
    local -a reply names
    local at=${{words[(I)-n|--name]}} name
    _lxc_path
    name=${{words[at ? at + 1 : 2]}}
    names=("${{(@f)$(_call_program snapshots lxc-snapshot "${{(q@)reply}}" -n "${{(q)name}}" -L 2>/dev/null | sed -n 's/^\\([^ ]*\\) (.*/\\1/p')}}")
    compadd -- ${{(@)names:#}} $*
}}
_lxc_templates() {{
    local -a names
    names=({templates}/lxc-*(N:t:s/lxc-//) none)
    compadd -- $names
    _files
}}
_arguments -s -S \\
{specs}
"""


def zsh(command):
    specs = []
    for row in command.table():
        if row.short == "?":
            continue
        names = given(row)
        text = f"[{_zsh_text(row.help)}]"
        star = "*" if row.kind == "append" and row.long != "lxcpath" else ""
        excluded = "" if star else f"({' '.join(names)})"
        tail = ""
        if row.arg != NONE:
            kind = NOTHING if row.long == "name" and command.name in NEW_NAME else argument(command, row)
            colon = "::" if row.arg == OPTIONAL else ":"
            tail = f"{colon}{_zsh_text(row.metavar)}:{_zsh_action(kind, command)}"
        # An optional argument is glued; a required one may be.
        glue = {NONE: ("", ""), OPTIONAL: ("-", "=-")}.get(row.arg, ("+", "="))
        for name in names:
            mark = glue[1] if name.startswith("--") else glue[0]
            specs.append(f"    '{star or excluded}{name}{mark}{text}{tail}'")
    places = WORDS.get(command.name, [])
    if command.named:
        places = [NOTHING if command.name in NEW_NAME else CONTAINERS, *places]
    for number, kind in enumerate(places, 1):
        place = "*" if number == len(places) and (number > 1 or not command.named) else str(number)
        specs.append(f"    '{place}::word:{_zsh_action(kind, command)}'" if place != "*" else f"    '*:word:{_zsh_action(kind, command)}'")
    return _ZSH.format(
        prog=command.prog, head=HEAD.rstrip("\n"), lister=lister(command), specs=" \\\n".join(specs), templates=TEMPLATE_FOLDER
    )


# -- fish


def _fish_quote(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_FISH_SNAPSHOTS = "(lxc-snapshot -n (__lxc_name) -L 2>/dev/null | string replace -rf '^(\\S+) \\(.*' '$1')"


def _fish_argument(kind, command):
    if kind == FILES:
        return "-r -F"
    how = {
        NOTHING: "",
        FOLDERS: "(__fish_complete_directories)",
        USERS: "(__fish_complete_users)",
        INTERFACES: "(command ls /sys/class/net)",
        PROGRAMS: "(__fish_complete_command)",
        CONTAINERS: f"({lister(command)} 2>/dev/null)",
        TEMPLATES: f"none (command ls {TEMPLATE_FOLDER} 2>/dev/null | string replace -r '^lxc-' '')",
        SNAPSHOTS: _FISH_SNAPSHOTS,
        EVERY_SNAPSHOT: f"{_FISH_SNAPSHOTS} ALL",
        "$variables": "(set -nx)",
    }.get(kind, kind)
    return "-x" + (f" -a {_fish_quote(how)}" if how else "")


_FISH_NAME = """function __lxc_name
    set -l words (commandline -opc)
    for at in (seq (count $words))
        contains -- $words[$at] -n --name; and echo $words[(math $at + 1)]; and return
    end
    echo $words[2]
end
"""


def fish(command):
    lines = [HEAD.rstrip("\n")]
    if command.name == "snapshot":
        lines.append(_FISH_NAME.rstrip("\n"))
    for row in command.table():
        if row.short == "?":
            continue
        names = (f" -s {row.short}" if row.short else "") + (f" -l {row.long}" if row.long else "")
        kind = NOTHING if row.long == "name" and command.name in NEW_NAME else argument(command, row)
        what = "" if row.arg in (NONE, OPTIONAL) else f" {_fish_argument(kind, command)}"
        lines.append(f"complete -c {command.prog}{names}{what} -d {_fish_quote(row.help)}")
    places = WORDS.get(command.name, [])
    if command.named:
        places = [NOTHING if command.name in NEW_NAME else CONTAINERS, *places]
    for number, kind in enumerate(places):
        if kind == NOTHING:
            continue
        last = number == len(places) - 1 and number > 0
        test = f"test (count (commandline -opc)) {'-ge' if last else '-eq'} {number + 1}"
        argument_ = _fish_argument(kind, command).replace("-r -F", "-F").replace("-x", "-f", 1)
        lines.append(f"complete -c {command.prog} -n {_fish_quote(test)} {argument_}")
    if FILES not in places and PROGRAMS not in places:
        lines.append(f"complete -c {command.prog} -f")
    return "\n".join(lines) + "\n"


def files(command):
    """(path below the completions' folder, text) of one command; one that passes all on to another completes as that one."""
    prog = command.prog
    command = WRAPPED.get(command.name, command)

    def own(text):
        function = "_" + command.prog.replace("-", "_")
        return text.replace(function, "_" + prog.replace("-", "_")).replace(command.prog, prog) if command.prog != prog else text

    yield prog, own(bash(command))
    yield f"zsh/_{prog}", own(zsh(command))
    yield f"fish/{prog}.fish", own(fish(command))
