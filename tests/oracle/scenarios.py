# SPDX-License-Identifier: LGPL-2.1-or-later
"""The scenarios that are run by C LXC and by lxctools, as data.

A scenario is a state to begin with and commands. {P} is the folder of containers, {N} the container, {T} the folder of the
tools, {I} the init of application containers; a command that is none of ours is one of the host's. Of the last command standard output, exit status and the class of standard error (empty or not) are compared, of the ones before
the exit status only. `words` must be in both error outputs. `stderr=False` leaves the class of standard error out,
`differs` names the entry of docs/differences.md that allows ours to be different, with what ours answers.
"""

from __future__ import annotations

ABSENT, STOPPED, RUNNING, FROZEN = "absent", "stopped", "running", "frozen"


class Scenario:
    """One row."""

    def __init__(
        self,
        name: str,
        state: str,
        *commands: str,
        words: tuple[str, ...] = (),
        stderr: bool = True,
        config: str = "",
        ours: tuple[int, str] | None = None,
        differs: str = "",
        numbers: bool = False,
        unordered: bool = False,
        stdin: bytes = b"",
        timeout: float = 30,
        more: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
        theirs: tuple[str, ...] = (),
        also: str = "",
    ) -> None:
        self.name = name
        self.state = state
        self.commands = commands
        self.words = words
        self.stderr = stderr
        self.config = config
        self.ours = ours  # (exit status, part of the error output) where we differ on purpose
        self.differs = differs  # heading in docs/differences.md
        self.numbers = numbers  # replace numbers in the output before comparing
        self.unordered = unordered
        self.stdin = stdin
        self.timeout = timeout
        self.more = more or {}  # further containers, stopped: name -> configuration
        self.files = files or {}  # files in {P}: name -> text
        self.theirs = theirs  # the commands of C LXC, where it has others
        self.also = also  # how a line begins that is only in our output


S = Scenario
AUTO = "lxc.start.auto = 1\nlxc.start.delay = 1\n"

# With c1 in no group and without lxc.start.auto.
SEVERAL = {
    "c2": "lxc.start.auto = 1\nlxc.start.order = 30\nlxc.group = web db\n",
    "c3": "lxc.start.auto = 1\nlxc.start.order = 10\nlxc.start.delay = 1\nlxc.group = db\n",
    "c4": "lxc.start.auto = 0\nlxc.start.order = 20\nlxc.group = onboot\n",
    "c5": "lxc.start.auto = 1\nlxc.start.order = 20\n",
    "c6": "lxc.start.auto = 1\nlxc.start.order = 30\nlxc.group = onboot,web\n",
}
STATES = "lxc-ls -P {P} -f -F NAME,STATE"
LEGACY = """# made by hand
lxc.utsname = c1
lxc.rootfs = /var/lib/lxc/c1/rootfs
lxc.rootfs.backend = dir
lxc.tty = 4
lxc.pts = 1024
lxc.mount = /etc/fstab.c1
lxc.network.type = veth
lxc.network.link = lxcbr0
lxc.network.flags = up
lxc.network.type = empty
lxc.seccomp = /x
lxc.id_map = u 0 100000 65536
lxc.haltsignal = SIGPWR
lxc.cgroup.memory.limit_in_bytes = 1G
lxc.aa_profile = unconfined
lxc.init_cmd = /sbin/init
lxc.start.auto = 1
"""
NO_HOST = "unshare -m -p -f --propagation private"  # init mounts what is missing, and kills all it sees

SCENARIOS = [
    # lxc-autostart
    S("autostart-list", STOPPED, "lxc-autostart -P {P} -L", config=AUTO),
    S("autostart-list-not-auto", STOPPED, "lxc-autostart -P {P} -L"),
    S("autostart-list-ignore-auto", STOPPED, "lxc-autostart -P {P} -LA"),
    S("autostart-list-kill", RUNNING, "lxc-autostart -P {P} -Lk", config=AUTO),
    S("autostart-list-reboot", RUNNING, "lxc-autostart -P {P} -Lr", config=AUTO),
    S("autostart-list-running", RUNNING, "lxc-autostart -P {P} -L", config=AUTO),
    S("autostart-list-shutdown-stopped", STOPPED, "lxc-autostart -P {P} -Ls", config=AUTO),
    S("autostart-list-group", STOPPED, "lxc-autostart -P {P} -L -g web", config=AUTO + "lxc.group = web db\n"),
    S("autostart-list-other-group", STOPPED, "lxc-autostart -P {P} -L -g nosuch,", config=AUTO + "lxc.group = web\n"),
    S("autostart-list-all", STOPPED, "lxc-autostart -P {P} -La", config=AUTO + "lxc.group = web\n"),
    S("autostart-start", STOPPED, "lxc-autostart -P {P}", "lxc-info -P {P} -n {N} -sH", config=AUTO),
    S("autostart-kill", RUNNING, "lxc-autostart -P {P} -k", "lxc-info -P {P} -n {N} -sH", config=AUTO),
    S("autostart-shutdown", RUNNING, "lxc-autostart -P {P} -s", "lxc-info -P {P} -n {N} -sH", config=AUTO),
    S("autostart-bad-timeout", STOPPED, "lxc-autostart -P {P} -s -t soon"),
    S("autostart-no-argument", STOPPED, "lxc-autostart -P {P} -g"),
    S("autostart-empty", ABSENT, "lxc-autostart -P {P}", ours=(0, ""), differs="exit 1 for a folder without containers"),
    S("autostart-no-folder", ABSENT, "lxc-autostart -P {P}/nosuch", stderr=False),
    *[S(f"autostart-several-{name}", STOPPED, f"lxc-autostart -P {{P}} -L {words}", more=SEVERAL, stderr=False) for name, words in (
        ("list", ""), ("all", "-a"), ("ignore-auto", "-A"), ("all-ignore-auto", "-aA"), ("group", "-g web"), ("two-groups", "-g db,web"),
        ("two-options", "-g web -g db"), ("groupless-too", "-g onboot,"), ("groupless", "-g ,"), ("group-ignore-auto", "-A -g onboot"),
        ("other-group", "-g nosuch"), ("kill", "-k -a"), ("shutdown", "-s -aA"), ("all-and-group", "-a -g web"))],
    *[S(f"autostart-several-{name}", STOPPED, "lxc-autostart -P {P} -aA", f"lxc-autostart -P {{P}} {words}", STATES, more=SEVERAL, timeout=90)
      for name, words in (("kill-group", "-k -g web"), ("kill-all", "-k -aA"), ("shutdown-order", "-s -a -t 10"),
                          ("shutdown-group", "-s -g db -t 10"), ("reboot", "-r -g db"), ("start-again", "-aA"))],
    *[S(f"autostart-several-running-{words[1:2]}", STOPPED, "lxc-autostart -P {P} -aA", f"lxc-autostart -P {{P}} {words}", more=SEVERAL, timeout=90)
      for words in ("-kLaA", "-rLaA", "-sLaA", "-LaA")],
    S("autostart-several-start", STOPPED, "lxc-autostart -P {P} -g web,onboot", STATES, more=SEVERAL),
    S("autostart-surplus-option", ABSENT, "lxc-autostart -P {P} -x", words=("invalid option -- 'x'",)),
    # lxc-unshare
    S("unshare-nothing", ABSENT, "lxc-unshare", words=("A command to execute in the new namespace is required",)),
    S("unshare-no-namespace", ABSENT, "lxc-unshare true", words=("A namespace to execute command is required",)),
    S("unshare-bad-namespace", ABSENT, "lxc-unshare -s bad -- true", words=("could not parse command line",)),
    S("unshare-empty-namespace", ABSENT, "lxc-unshare -s '' -- true"),
    S("unshare-lower", ABSENT, "lxc-unshare -s 'uts|net' -H box -- hostname"),
    S("unshare-interface-alone", ABSENT, "lxc-unshare -s UTSNAME -i x -- true", words=("needs -s NETWORK option",)),
    S("unshare-remount-alone", ABSENT, "lxc-unshare -s PID -M -- true", words=("-M needs -s MOUNT option",)),
    S("unshare-hostname-alone", ABSENT, "lxc-unshare -s PID -H x -- true", words=("needs -s UTSNAME option",)),
    S("unshare-pid", ABSENT, "lxc-unshare -s PID -- sh -c 'echo $$'"),
    S("unshare-user", ABSENT, "lxc-unshare -s USER -u 0 -- id -u"),
    S("unshare-unmapped", ABSENT, "lxc-unshare -s USER -- id -u"),
    S("unshare-false", ABSENT, "lxc-unshare -s NET -- false", stderr=False),
    S("unshare-code", ABSENT, "lxc-unshare -s NET -- sh -c 'exit 7'", ours=(7, ""), differs="the command's exit status and signal are lost"),
    S("unshare-absent", ABSENT, "lxc-unshare -s NET -- /nosuch", words=("Failed to exec: '/nosuch'",)),
    # lxc-usernsexec
    S("usernsexec-self", ABSENT, "lxc-usernsexec -s -m b:0:100000:10 -- cat /proc/self/uid_map"),
    S("usernsexec-code", ABSENT, "lxc-usernsexec -s -m b:0:100000:10 -- sh -c 'id -u; exit 7'"),
    S("usernsexec-bad-map", ABSENT, "lxc-usernsexec -m x:0 -- true", stderr=False),
    S("usernsexec-bad-option", ABSENT, "lxc-usernsexec -x"),
    S("usernsexec-two-maps", ABSENT, "lxc-usernsexec -s -m u:0:100000:10 -m g:5:200000:3 -- cat /proc/self/uid_map /proc/self/gid_map"),
    S("usernsexec-absent", ABSENT, "lxc-usernsexec -s -m b:0:100000:10 -- /nosuch", stderr=False),
    S("usernsexec-stdin", ABSENT, "lxc-usernsexec -s -m b:0:100000:10 -- cat", stdin=b"x" * 100000),
    # init.lxc
    S("init-status", ABSENT, f"{NO_HOST} {{I}} -- /bin/sh -c 'exit 7'"),
    S("init-signal", ABSENT, f"{NO_HOST} {{I}} -- /bin/sh -c 'kill -9 $$'"),
    S("init-output", ABSENT, f"{NO_HOST} {{I}} -- /bin/echo hello"),
    S("init-absent", ABSENT, f"{NO_HOST} {{I}} -- /nosuch", stderr=False),
    S("init-nothing", ABSENT, f"{NO_HOST} {{I}}", stderr=False),
    S("init-bad-option", ABSENT, f"{NO_HOST} {{I}} --bogus -- /bin/true", stderr=False),
    S("init-passes-signals-on", ABSENT,
      f"{NO_HOST} {{I}} -- /bin/sh -c 'trap \"echo TERM; exit 9\" TERM; (sleep 0.3; kill -TERM 1) & while :; do sleep 0.1; done'"),
    S("init-reaps", ABSENT, f"{NO_HOST} {{I}} -- /bin/sh -c '(sleep 0.1 &); sleep 0.5; exit 3'"),
    # lxc-update-config
    *[S(f"update-config-{name}", ABSENT, "lxc-update-config -c {P}/old", "cat {P}/old", files={"old": LEGACY}) for name in ("file",)],
    S("update-config-backup", ABSENT, "lxc-update-config -c {P}/old", "cat {P}/old.backup", files={"old": LEGACY}),
    S("update-config-new", ABSENT, "lxc-update-config -c {P}/new", "cat {P}/new", files={"new": "lxc.uts.name = a\n# x\n\nlxc.net.0.type = empty\n"}),
    S("update-config-absent", ABSENT, "lxc-update-config -c {P}/nosuch", stderr=False),
    S("update-config-help", ABSENT, "lxc-update-config -h", ours=(0, ""), differs="`--help` in upstream's words"),
    # lxc-clone, which C LXC has as lxc-copy
    S("clone", STOPPED, "lxc-clone -p {P} c1 c2", "lxc-ls -P {P} -1", theirs=("lxc-copy -P {P} -n c1 -N c2", "lxc-ls -P {P} -1")),
    S("clone-config", STOPPED, "lxc-clone -p {P} -o c1 -n c2", "cat {P}/c2/config",
      theirs=("lxc-copy -P {P} -n c1 -N c2", "cat {P}/c2/config"), config="# mine\nlxc.environment = A=b\n"),
    S("clone-overlay", STOPPED, "lxc-clone -p {P} -s -B overlay c1 c2", "grep -c overlay:{P}/c1/rootfs:{P}/c2/ {P}/c2/config",
      theirs=("lxc-copy -P {P} -s -B overlay -n c1 -N c2", "grep -c overlay:{P}/c1/rootfs:{P}/c2/ {P}/c2/config")),
    S("clone-exists", STOPPED, "lxc-clone -p {P} c1 c2", theirs=("lxc-copy -P {P} -n c1 -N c2",), more={"c2": ""}, stderr=False),
    S("clone-undefined", ABSENT, "lxc-clone -p {P} nosuch c2", theirs=("lxc-copy -P {P} -n nosuch -N c2",), stderr=False),
    S("clone-running", RUNNING, "lxc-clone -p {P} c1 c2", theirs=("lxc-copy -P {P} -n c1 -N c2",), stderr=False),
    S("clone-files", STOPPED, "lxc-clone -p {P} c1 c2", "sh -c 'cd {P}/c2 && find . -printf \"%p %y %m %U %l\n\" | sort'",
      theirs=("lxc-copy -P {P} -n c1 -N c2", "sh -c 'cd {P}/c2 && find . -printf \"%p %y %m %U %l\n\" | sort'")),
    # lxc-cgroup
    S("cgroup-read", RUNNING, "lxc-cgroup -P {P} -n {N} memory.swappiness"),
    S("cgroup-read-word", RUNNING, "lxc-cgroup -P {P} {N} pids.max"),
    S("cgroup-write", RUNNING, "lxc-cgroup -P {P} {N} pids.max 50", "lxc-cgroup -P {P} {N} pids.max"),
    S("cgroup-write-bad", RUNNING, "lxc-cgroup -P {P} {N} pids.max abc", words=("Failed to assign 'abc' value to 'pids.max' for 'c1'",)),
    S("cgroup-unknown", RUNNING, "lxc-cgroup -P {P} {N} memory.nosuch", words=("Failed to retrieve value of 'memory.nosuch' for",)),
    S("cgroup-path", RUNNING, "lxc-cgroup -P {P} {N} ../pids.max", words=("Failed to retrieve value of",)),
    S("cgroup-empty", RUNNING, "lxc-cgroup -P {P} {N} pids.max ''", words=("Failed to assign",)),
    S("cgroup-stopped", STOPPED, "lxc-cgroup -P {P} {N} pids.max", words=(":c1' is not running",)),
    S("cgroup-nothing", RUNNING, "lxc-cgroup -P {P} {N}", words=("could not parse command line",)),
    S("cgroup-frozen", FROZEN, "lxc-cgroup -P {P} {N} freezer.state"),
    # lxc-device
    S("device-add", RUNNING, "lxc-device -P {P} {N} add /dev/full", "lxc-attach -P {P} {N} -- stat -c %F:%t:%T:%u:%g /dev/full"),
    S("device-add-del", RUNNING, "lxc-device -P {P} {N} add /dev/full", "lxc-device -P {P} {N} del /dev/full"),
    S("device-bad-verb", RUNNING, "lxc-device -P {P} {N} foo /dev/full", words=("Please use add or del",)),
    S("device-no-command", RUNNING, "lxc-device -P {P} {N}", words=("no command given",)),
    S("device-absent", RUNNING, "lxc-device -P {P} {N} add /dev/nosuch", words=("Failed to add /dev/nosuch to c1",)),
    S("device-no-node", RUNNING, "lxc-device -P {P} {N} add /etc/passwd", words=("Failed to add /etc/passwd to c1",)),
    S("device-stopped", STOPPED, "lxc-device -P {P} {N} add /dev/full", words=("Container c1 is not running",)),
    S("device-add-name", RUNNING, "lxc-device -P {P} {N} add /dev/full /dev/full", "lxc-attach -P {P} {N} -- dd if=/dev/full bs=1 count=1 of=/dev/null"),
    S("device-del-absent", RUNNING, "lxc-device -P {P} {N} del /dev/full"),
    S("device-undefined", ABSENT, "lxc-device -P {P} nosuch add /dev/full", words=("nosuch",)),
    S("device-interface", RUNNING, "ip link add lxctdev0 type dummy", "lxc-device -P {P} {N} add lxctdev0 eth7",
      "lxc-attach -P {P} {N} -- ls /sys/class/net"),
    S("device-interface-back", RUNNING, "ip link add lxctdev1 type dummy", "lxc-device -P {P} {N} add lxctdev1",
      "lxc-device -P {P} {N} del lxctdev1", "ip link del lxctdev1"),
    # lxc-checkconfig
    S("checkconfig", ABSENT, "lxc-checkconfig", stderr=False, also="lxctools version ", differs="a line `lxctools version N`"),
    S("checkconfig-file", ABSENT, "sh -c 'CONFIG={P}/config {T}/lxc-checkconfig'", stderr=False, also="lxctools version ",
      files={"config": "# Linux/x86 6.1.0 Kernel Configuration\nCONFIG_NAMESPACES=y\nCONFIG_VETH=m\n# CONFIG_USER_NS is not set\n"}),
    # lxc-monitor
    S("monitor-start-stop", STOPPED, "sh -c '{T}/lxc-monitor -P {P} -n {N} >{P}/out & m=$!; sleep 1; {T}/lxc-start -P {P} {N}; "
      "{T}/lxc-freeze -P {P} {N}; {T}/lxc-unfreeze -P {P} {N}; {T}/lxc-stop -k -P {P} {N}; sleep 1; kill $m; {T}/lxc-monitor -P {P} -Q; cat {P}/out'"),
    S("monitor-exit-status", STOPPED, "sh -c '{T}/lxc-monitor -P {P} >{P}/out & m=$!; sleep 1; {T}/lxc-start -P {P} {N} -F -- /bin/sh -c \"exit 7\"; "
      "sleep 1; kill $m; {T}/lxc-monitor -P {P} -Q; cat {P}/out'", stderr=False),
    S("monitor-regex", STOPPED, "sh -c '{T}/lxc-monitor -P {P} -n \"c[2-3]|d\" >{P}/out & m=$!; sleep 1; {T}/lxc-start -P {P} {N}; "
      "{T}/lxc-start -P {P} c2; sleep 1; kill $m; {T}/lxc-monitor -P {P} -Q; cat {P}/out'", more={"c2": ""}),
    S("monitor-bad-regex", ABSENT, "lxc-monitor -P {P} -n [", words=("Failed to compile the regex",), stderr=False),
    # lxc-top
    S("top-batch", RUNNING, "script -qec 'stty rows 50 cols 150; timeout --foreground 2 {T}/lxc-top -P {P} -b -d 60' /dev/null", numbers=True),
    S("top-batch-sorted", RUNNING, "lxc-start -P {P} c2", "sh -c 'script -qec \"stty rows 50 cols 150; timeout --foreground 2 {T}/lxc-top -P {P} -b -d 60 -s n -r\" /dev/null | cut -d, -f2'",
      more={"c2": ""}),
    S("top-batch-by-cpu", RUNNING, "lxc-start -P {P} c2", "lxc-attach -P {P} c2 -- sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'",
      "sh -c 'script -qec \"stty rows 50 cols 150; timeout --foreground 2 {T}/lxc-top -P {P} -b -d 60 -s c\" /dev/null | cut -d, -f2'", more={"c2": ""}),
    S("top-batch-nothing", STOPPED, "script -qec 'timeout --foreground 1 {T}/lxc-top -P {P} -b -d 60' /dev/null"),
    S("top-negative-delay", ABSENT, "lxc-top -b -d -1"),
    S("top-bad-delay", ABSENT, "lxc-top -b -d 1.5", words=("could not parse command line",)),
    S("top-no-terminal", ABSENT, "lxc-top", words=("stdin is not a tty",)),
    # lxc-info
    S("info-stopped", STOPPED, "lxc-info -P {P} -n {N}"),
    S("info-state-stopped", STOPPED, "lxc-info -P {P} -n {N} -s"),
    S("info-state-running", RUNNING, "lxc-info -P {P} -n {N} -s"),
    S("info-state-frozen", FROZEN, "lxc-info -P {P} -n {N} -s"),
    S("info-state-bare", RUNNING, "lxc-info -P {P} -n {N} -sH"),
    S("info-pid", RUNNING, "lxc-info -P {P} -n {N} -p", numbers=True),
    S("info-pid-stopped", STOPPED, "lxc-info -P {P} -n {N} -p"),
    S("info-all-running", RUNNING, "lxc-info -P {P} -n {N}", numbers=True),
    S("info-config-key", STOPPED, "lxc-info -P {P} -n {N} -c lxc.uts.name"),
    S("info-config-two-keys", STOPPED, "lxc-info -P {P} -n {N} -c lxc.tty.max -c lxc.mount.auto"),
    S("info-config-list", STOPPED, "lxc-info -P {P} -n {N} -c lxc.net.0 -c lxc.net.0.type"),
    S("info-config-unknown", STOPPED, "lxc-info -P {P} -n {N} -c lxc.nosuch"),
    S("info-config-running", RUNNING, "lxc-info -P {P} -n {N} -c lxc.rootfs.path"),
    S("info-ips", RUNNING, "lxc-info -P {P} -n {N} -iH"),
    S("info-undefined", ABSENT, "lxc-info -P {P} -n nosuch", words=("nosuch doesn't exist",), stderr=False),
    S("info-no-name", ABSENT, "lxc-info -P {P}", words=("No container name specified",)),
    # lxc-ls
    S("ls-empty", ABSENT, "lxc-ls -P {P}"),
    S("ls-plain", STOPPED, "lxc-ls -P {P}"),
    S("ls-one-a-line", STOPPED, "lxc-ls -P {P} -1"),
    S("ls-fancy-stopped", STOPPED, "lxc-ls -P {P} -f"),
    S("ls-fancy-running", RUNNING, "lxc-ls -P {P} -f"),
    S("ls-fancy-columns", RUNNING, "lxc-ls -P {P} -f -F NAME,STATE,INTERFACE,AUTOSTART"),
    S("ls-fancy-pid", RUNNING, "lxc-ls -P {P} -f -F NAME,PID", numbers=True),
    S("ls-fancy-empty", ABSENT, "lxc-ls -P {P} -f"),
    S("ls-running", RUNNING, "lxc-ls -P {P} --running"),
    S("ls-running-none", STOPPED, "lxc-ls -P {P} --running"),
    S("ls-stopped", STOPPED, "lxc-ls -P {P} --stopped"),
    S("ls-frozen", FROZEN, "lxc-ls -P {P} --frozen"),
    S("ls-active", RUNNING, "lxc-ls -P {P} --active"),
    S("ls-defined", STOPPED, "lxc-ls -P {P} --defined"),
    S("ls-filter", STOPPED, "lxc-ls -P {P} --filter ^c"),
    S("ls-filter-wrong", STOPPED, "lxc-ls -P {P} --filter [", differs="`--filter` with something that is no regular expression", ours=(0, "no regular expression")),
    S("ls-filter-none", STOPPED, "lxc-ls -P {P} --filter ^zz"),
    S("ls-group", STOPPED, "lxc-ls -P {P} -g web", config="lxc.group = web\n"),
    S("ls-bad-column", STOPPED, "lxc-ls -P {P} -f -F NOSUCH", stderr=False),
    S("ls-no-folder", ABSENT, "lxc-ls -P {P}/nosuch"),
    # lxc-start
    S("start", STOPPED, "lxc-start -P {P} -n {N}", "lxc-info -P {P} -n {N} -s"),
    S("start-command", STOPPED, "lxc-start -P {P} -n {N} -- /bin/sleep 100", "lxc-attach -P {P} -n {N} -- cat /proc/1/cmdline"),
    S("start-define", STOPPED, "lxc-start -P {P} -n {N} -s lxc.uts.name=other", "lxc-attach -P {P} -n {N} -- hostname"),
    S("start-undefined", ABSENT, "lxc-start -P {P} -n nosuch"),
    S("start-running", RUNNING, "lxc-start -P {P} -n {N}", words=("already running",)),
    S("start-bad-define", STOPPED, "lxc-start -P {P} -n {N} -s lxc.nosuch=1"),
    S("start-bad-line", STOPPED, "lxc-start -P {P} -n {N}", config="lxc.uts.name\n"),
    S("start-unknown-key", STOPPED, "lxc-start -P {P} -n {N}", config="lxc.bogus = 1\n", words=("lxc.bogus",)),
    S("start-bad-value", STOPPED, "lxc-start -P {P} -n {N}", config="lxc.autodev = 7\n"),
    S("start-no-rootfs", STOPPED, "lxc-start -P {P} -n {N}", config="lxc.rootfs.path = dir:/var/tmp/no/such/rootfs\n"),
    S("start-no-init", STOPPED, "lxc-start -P {P} -n {N} -- /no/such/init"),
    S("start-hook-fails", STOPPED, "lxc-start -P {P} -n {N}", config="lxc.hook.pre-start = /bin/false\n"),
    S("start-no-bridge", STOPPED, "lxc-start -P {P} -n {N}",
      config="lxc.net.1.type = veth\nlxc.net.1.link = lxcnosuch0\nlxc.net.1.flags = up\n"),
    S("start-foreground-status", STOPPED, "lxc-start -P {P} -n {N} -F -- /bin/sh -c 'exit 7'"),
    S("start-init-ends", STOPPED, "lxc-start -P {P} -n {N} -- /bin/true", stderr=False),
    # lxc-stop
    S("stop-kill", RUNNING, "lxc-stop -P {P} -n {N} -k", "lxc-info -P {P} -n {N} -s"),
    S("stop-clean", RUNNING, "lxc-stop -P {P} -n {N}", "lxc-info -P {P} -n {N} -s"),
    S("stop-stopped", STOPPED, "lxc-stop -P {P} -n {N}", words=("is not running",)),
    S("stop-undefined", ABSENT, "lxc-stop -P {P} -n nosuch"),
    S("stop-kill-nokill", RUNNING, "lxc-stop -P {P} -n {N} -k --nokill"),
    S("stop-kill-reboot", RUNNING, "lxc-stop -P {P} -n {N} -k -r"),
    S("stop-kill-timeout", RUNNING, "lxc-stop -P {P} -n {N} -k -t 3"),
    S("stop-nolock-alone", RUNNING, "lxc-stop -P {P} -n {N} --nolock"),
    S("stop-nowait", RUNNING, "lxc-stop -P {P} -n {N} -W", "lxc-wait -P {P} -n {N} -s STOPPED -t 10", stderr=False),
    S("stop-frozen-kill", FROZEN, "lxc-stop -P {P} -n {N} -k", "lxc-info -P {P} -n {N} -s"),
    # lxc-wait
    S("wait-stopped", STOPPED, "lxc-wait -P {P} -n {N} -s STOPPED"),
    S("wait-running", RUNNING, "lxc-wait -P {P} -n {N} -s RUNNING"),
    S("wait-either", RUNNING, "lxc-wait -P {P} -n {N} -s 'STOPPED|RUNNING'"),
    S("wait-times-out", RUNNING, "lxc-wait -P {P} -n {N} -s STOPPED -t 1", stderr=False),
    S("wait-zero", STOPPED, "lxc-wait -P {P} -n {N} -s RUNNING -t 0", stderr=False),
    S("wait-bad-state", STOPPED, "lxc-wait -P {P} -n {N} -s NOSUCH", stderr=False),
    S("wait-undefined", ABSENT, "lxc-wait -P {P} -n nosuch -s STOPPED"),
    S("wait-no-state", STOPPED, "lxc-wait -P {P} -n {N}"),
    S("wait-until", RUNNING, "sh -c '(sleep 0.5; {T}/lxc-stop -k -P {P} {N}) & {T}/lxc-wait -P {P} {N} -s STOPPED -t 10'"),
    S("wait-for-start", STOPPED, "sh -c '(sleep 0.5; {T}/lxc-start -P {P} {N}) & {T}/lxc-wait -P {P} {N} -s RUNNING -t 10'"),
    S("wait-for-freeze", RUNNING, "sh -c '(sleep 0.5; {T}/lxc-freeze -P {P} {N}) & {T}/lxc-wait -P {P} {N} -s FROZEN -t 10'"),
    S("wait-lower-case", RUNNING, "lxc-wait -P {P} -n {N} -s running", stderr=False),
    S("wait-bad-timeout", STOPPED, "lxc-wait -P {P} -n {N} -s STOPPED -t soon"),
    # lxc-freeze, lxc-unfreeze
    S("freeze", RUNNING, "lxc-freeze -P {P} -n {N}", "lxc-info -P {P} -n {N} -s"),
    S("freeze-twice", FROZEN, "lxc-freeze -P {P} -n {N}"),
    S("freeze-stopped", STOPPED, "lxc-freeze -P {P} -n {N}"),
    S("freeze-undefined", ABSENT, "lxc-freeze -P {P} -n nosuch"),
    S("unfreeze", FROZEN, "lxc-unfreeze -P {P} -n {N}", "lxc-info -P {P} -n {N} -s"),
    S("unfreeze-running", RUNNING, "lxc-unfreeze -P {P} -n {N}"),
    S("unfreeze-stopped", STOPPED, "lxc-unfreeze -P {P} -n {N}", stderr=False),
    # lxc-attach
    S("attach", RUNNING, "lxc-attach -P {P} -n {N} -- echo hello"),
    S("attach-status", RUNNING, "lxc-attach -P {P} -n {N} -- sh -c 'exit 7'"),
    S("attach-signal", RUNNING, "lxc-attach -P {P} -n {N} -- sh -c 'kill -9 $$'"),
    S("attach-not-found", RUNNING, "lxc-attach -P {P} -n {N} -- nosuch"),
    S("attach-not-executable", RUNNING, "lxc-attach -P {P} -n {N} -- /etc/passwd"),
    S("attach-shell", RUNNING, "lxc-attach -P {P} -n {N}", stdin=b"echo $0; exit 3\n"),
    S("attach-stdin", RUNNING, "lxc-attach -P {P} -n {N} -- cat", stdin=bytes(range(256)) * 64),
    S("attach-clear-env", RUNNING, "lxc-attach -P {P} -n {N} --clear-env -- env", unordered=True),
    S("attach-keep-var", RUNNING, "lxc-attach -P {P} -n {N} --clear-env --keep-var HOME -v A=b -- env", unordered=True),
    S("attach-config-env", RUNNING, "lxc-attach -P {P} -n {N} --clear-env -- env", config="lxc.environment = X=y\n", unordered=True),
    S("attach-ids", RUNNING, "lxc-attach -P {P} -n {N} -u 1000 -g 1000 -- id"),
    S("attach-root-ids", RUNNING, "lxc-attach -P {P} -n {N} -- id"),
    S("attach-uts-only", RUNNING, "lxc-attach -P {P} -n {N} -s UTSNAME -- /bin/hostname"),
    S("attach-bad-namespace", RUNNING, "lxc-attach -P {P} -n {N} -s NOSUCH -- true"),
    S("attach-capabilities", RUNNING, "lxc-attach -P {P} -n {N} -- grep Cap /proc/self/status", config="lxc.cap.drop = sys_module mac_admin\n"),
    S("attach-elevated", RUNNING, "lxc-attach -P {P} -n {N} -e -- grep CapBnd /proc/self/status", config="lxc.cap.drop = sys_module\n"),
    S("attach-cgroup", RUNNING, "lxc-attach -P {P} -n {N} -- cat /proc/self/cgroup"),
    S("attach-signals", RUNNING, "lxc-attach -P {P} -n {N} -- grep Sig /proc/self/status", numbers=False),
    S("attach-stopped", STOPPED, "lxc-attach -P {P} -n {N} -- true"),
    S("attach-undefined", ABSENT, "lxc-attach -P {P} -n nosuch -- true"),
    # lxc-execute
    S("execute-status", STOPPED, "lxc-execute -P {P} -n {N} -- /bin/sh -c 'exit 7'"),
    S("execute-signal", STOPPED, "lxc-execute -P {P} -n {N} -- /bin/sh -c 'kill -9 $$'"),
    S("execute-not-found", STOPPED, "lxc-execute -P {P} -n {N} -- /nosuch", stderr=False),
    S("execute-output", STOPPED, "lxc-execute -P {P} -n {N} -- /bin/echo hello"),
    S("execute-no-command", STOPPED, "lxc-execute -P {P} -n {N}", ours=(1, "lxc-execute"), differs="no command at all: runs, exit 139"),
    # lxc-create, lxc-destroy
    S("create-none", ABSENT, "lxc-create -P {P} -n new -t none", "lxc-ls -P {P}"),
    S("create-exists", STOPPED, "lxc-create -P {P} -n {N} -t none", words=("already exists",)),
    S("create-no-template", ABSENT, "lxc-create -P {P} -n new", stderr=False),
    S("create-missing-template", ABSENT, "lxc-create -P {P} -n new -t nosuch"),
    S("create-no-name", ABSENT, "lxc-create -P {P} -t none"),
    S("create-bad-config", ABSENT, "lxc-create -P {P} -n new -t none -f /nosuch/config",
      ours=(1, "/nosuch/config"), differs="a configuration file that cannot be read is reported"),
    S("destroy", STOPPED, "lxc-destroy -P {P} -n {N}", "lxc-ls -P {P}"),
    S("destroy-undefined", ABSENT, "lxc-destroy -P {P} -n nosuch", words=("is not defined",)),
    S("destroy-running", RUNNING, "lxc-destroy -P {P} -n {N}", words=("is running",)),
    S("destroy-running-force", RUNNING, "lxc-destroy -P {P} -n {N} -f", "lxc-ls -P {P}"),
    # lxc-config, lxc-console, lxc-monitor
    S("config-list", ABSENT, "lxc-config -l"),
    S("config-lxcpath", ABSENT, "lxc-config lxc.lxcpath"),
    S("config-unknown", ABSENT, "lxc-config lxc.nosuch", stderr=False),
    S("config-nothing", ABSENT, "lxc-config", stderr=False),
    S("console-stopped", STOPPED, "lxc-console -P {P} -n {N}", words=("is not running",)),
    S("console-undefined", ABSENT, "lxc-console -P {P} -n nosuch"),
    S("console-bad-tty", RUNNING, "lxc-console -P {P} -n {N} -t 99"),
    S("monitor-quit-none", ABSENT, "lxc-monitor -P {P} -Q", ours=(1, "lxc-monitord"), differs="`-Q` without a daemon says nothing"),
    # lxc-checkpoint: what is refused before criu would be needed
    S("checkpoint-undefined", ABSENT, "lxc-checkpoint -P {P} -n nosuch -D {P}/x", words=("nosuch is not defined",)),
    S("checkpoint-stopped", STOPPED, "lxc-checkpoint -P {P} -n {N} -D {P}/x", words=("c1 not running, not checkpointing",)),
    S("checkpoint-running-restore", RUNNING, "lxc-checkpoint -P {P} -n {N} -r -D {P}/x", words=("c1 is running, not restoring",)),
    S("checkpoint-no-folder", RUNNING, "lxc-checkpoint -P {P} -n {N} -s", words=("could not parse command line",)),
    S("checkpoint-restore-and-stop", RUNNING, "lxc-checkpoint -P {P} -n {N} -r -s -D {P}/x", words=("could not parse command line",)),
    # lxc-copy -e: C LXC says nothing on standard error unless -o or -l is given
    S("ephemeral", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e"),
    S("ephemeral-runs", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e", "lxc-info -P {P} -n e1 -sH"),
    S("ephemeral-quiet", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -eq"),
    S("ephemeral-tmpfs", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -t"),
    S("ephemeral-last-task-wins", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -s -e", "lxc-info -P {P} -n e1 -sH"),
    S("ephemeral-then-snapshot", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -s", "lxc-info -P {P} -n e1 -sH"),
    S("ephemeral-is-gone", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e", "lxc-stop -P {P} -n e1 -k", "lxc-wait -P {P} -n e1 -s STOPPED", "lxc-ls -P {P} -1"),
    S("ephemeral-kept", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -D", "lxc-stop -P {P} -n e1 -k", "lxc-ls -P {P} -1"),
    S("ephemeral-key", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e", "lxc-info -P {P} -n e1 -c lxc.ephemeral -c lxc.uts.name"),
    S("ephemeral-name-kept", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -K", "lxc-info -P {P} -n e1 -c lxc.uts.name"),
    S("ephemeral-mount", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -m bind=/usr/share:mnt/x:ro,bind=srv", "lxc-info -P {P} -n e1 -c lxc.mount.entry"),
    S("ephemeral-empty-mount", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -m ''", "lxc-info -P {P} -n e1 -c lxc.mount.entry"),
    S("ephemeral-mount-option", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -m bind=/usr:/b:foo", words=("could not parse command line",)),
    S("ephemeral-mount-fields", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -m bind=/a:/b:ro:x", ours=(1, "Excess elements in mount specification"),
      differs="`-m` with too many fields"),
    S("ephemeral-mount-type", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -m aufs=/usr", ours=(1, "is no type of mount"), differs="`-m` of an unknown type"),
    S("ephemeral-mount-nothing", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -m overlay=/nosuch", stderr=False, ours=(1, "there is no such folder"),
      differs="`-m overlay=` of what is no folder"),
    S("ephemeral-command", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -- sh -c 'hostname; env | sort'", unordered=True),
    S("ephemeral-command-fails", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -- sh -c 'exit 9'", ours=(9, ""), differs="the command's exit status is lost"),
    S("ephemeral-tmpfs-kept", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -t -D", stderr=False),
    S("ephemeral-dir", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -B dir", stderr=False),
    S("ephemeral-taken", STOPPED, "lxc-copy -P {P} -n {N} -N c1 -e", stderr=False),
    S("ephemeral-source-runs", RUNNING, "lxc-copy -P {P} -n {N} -N e1 -e", stderr=False),
    S("ephemeral-source-runs-allowed", RUNNING, "lxc-copy -P {P} -n {N} -N e1 -e -a"),
    S("ephemeral-source-missing", ABSENT, "lxc-copy -P {P} -n nosuch -e", stderr=False),
    S("ephemeral-no-folder", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e -p /nosuch", stderr=False),
    S("ephemeral-start-fails", STOPPED, "lxc-copy -P {P} -n {N} -N e1 -e", config="lxc.init.cmd = /nosuch\n", stderr=False),
    # The common layer
    *[S(f"{tool}-version", ABSENT, f"lxc-{tool} --version") for tool in ("start", "attach", "ls")],
    *[S(f"{tool}-help-status", ABSENT, f"lxc-{tool} --help") for tool in ("start", "attach", "info", "ls", "stop", "create")],
    *[S(f"{tool}-bogus-option", ABSENT, f"lxc-{tool} -n x --bogus", words=("unrecognized option '--bogus'",))
      for tool in ("start", "attach", "info", "ls", "stop", "wait", "freeze", "console", "execute", "create", "destroy", "monitor")],
    S("missing-argument", ABSENT, "lxc-start -n", words=("option requires an argument -- 'n'",)),
    S("ambiguous-option", ABSENT, "lxc-start -n x --l", words=("is ambiguous",)),
    S("two-lxcpaths", ABSENT, "lxc-start -P {P} -P {P} -n x"),
    S("positional-name", STOPPED, "lxc-info -P {P} {N} -s"),
]
