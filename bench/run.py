#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures side by side: lxctools, C LXC and the bare interpreter, alternated in one run, medians as ratios.

usage: bench/run.py [--runs N] [NAME ...]     (as root, with Debian's lxc and busybox-static installed)

Each measure prints ours, the reference's median in milliseconds, their ratio and the bound that the project sets itself.
Containers live in a temporary folder and are removed at the end, like the bridge they are attached to.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import copies

HERE = Path(__file__).resolve().parent.parent
OURS = HERE / "bin"
THEIRS = Path("/usr/bin")
BARE = ["/usr/bin/python3", "-I", "-c", "pass"]
BRIDGE = "lxcbench0"


def once(argv: list[str]) -> float:
    """Milliseconds that one run of argv takes; it must succeed."""
    started = time.perf_counter()
    pid = os.posix_spawn(
        argv[0],
        argv,
        {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)],
    )
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    taken = (time.perf_counter() - started) * 1000
    if status != 0:
        raise SystemExit(f"bench: {' '.join(argv)} exited with {status}")
    return taken


def quiet(*argv: str | Path) -> None:
    subprocess.run([str(word) for word in argv], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class Bench:
    """A bridge, a folder of containers made by either implementation, and the measures."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.folder = Path(tempfile.mkdtemp(prefix="lxcbench.", dir="/var/tmp"))
        self.rows: list[tuple[str, float, str, float, float]] = []

    def __enter__(self) -> Bench:
        quiet("ip", "link", "add", BRIDGE, "type", "bridge")
        quiet("ip", "link", "set", BRIDGE, "up")
        (self.folder / "default.conf").write_text(
            f"lxc.net.0.type = veth\nlxc.net.0.link = {BRIDGE}\nlxc.net.0.flags = up\n"
        )
        return self

    def __exit__(self, *_: object) -> None:
        for path in self.folder.iterdir():
            if path.is_dir():
                for container in path.iterdir():
                    for tool in (OURS, THEIRS):
                        subprocess.run(
                            [tool / "lxc-stop", "-P", path, "-n", container.name, "-k"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                        )
        shutil.rmtree(self.folder, ignore_errors=True)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False)

    def create(self, tools: Path, lxcpath: Path, name: str) -> None:
        lxcpath.mkdir(exist_ok=True)
        quiet(tools / "lxc-create", "-P", lxcpath, "-n", name, "-t", "busybox", "-f", self.folder / "default.conf")

    def clones(self, lxcpath: Path, count: int, extra: str = "") -> list[str]:
        """That many containers of one busybox, with these lines added to their configurations; their names."""
        self.create(OURS, lxcpath, "m0")
        first = lxcpath / "m0"
        config = (first / "config").read_text().replace("lxc.apparmor.profile = generated\n", "") + extra
        (first / "config").write_text(config)
        names = ["m0"]
        for number in range(1, count):
            name = f"m{number}"
            shutil.copytree(first, lxcpath / name, symlinks=True)
            (lxcpath / name / "config").write_text(config.replace("/m0/", f"/{name}/"))
            names.append(name)
        return names

    def compare(
        self, what: str, bound: float, reference: str, ours: Callable[[], float], other: Callable[[], float], runs: int = 0
    ) -> None:
        """Alternate the two and keep the medians."""
        mine: list[float] = []
        base: list[float] = []
        for _ in range(runs or self.runs):
            mine.append(ours())
            base.append(other())
        self.row(what, statistics.median(mine), reference, statistics.median(base), bound)

    def row(self, what: str, mine: float, reference: str, base: float, bound: float) -> None:
        self.rows.append((what, mine, reference, base, bound))
        ratio = mine / base
        print(f"{what:<22} {mine:8.1f}   {reference:<16} {base:8.1f}   ratio {ratio:5.2f}   bound {bound:4.1f}"
              f"   {'met' if ratio <= bound else 'MISSED'}", flush=True)

    # -- the measures

    def measure_attach(self) -> None:
        """attach /bin/true against the bare interpreter, and C's attach for the record."""
        lxcpath = self.folder / "attach"
        self.create(OURS, lxcpath, "a1")
        quiet(OURS / "lxc-start", "-P", lxcpath, "-n", "a1")
        argv = ["-P", str(lxcpath), "-n", "a1", "--", "/bin/true"]
        once([str(OURS / "lxc-attach"), *argv])
        self.compare("attach /bin/true", 2.4, "bare interpreter",
                     lambda: once([str(OURS / "lxc-attach"), *argv]), lambda: once(BARE))
        self.compare("info -s", 1.8, "bare interpreter",
                     lambda: once([str(OURS / "lxc-info"), "-P", str(lxcpath), "-n", "a1", "-s"]), lambda: once(BARE))
        quiet(OURS / "lxc-stop", "-P", lxcpath, "-n", "a1", "-k")

    def measure_start(self) -> None:
        """start -d with a veth, and stop -k, against C's."""
        # The same container for both: what is compared is the commands, not the templates.
        lxcpath = self.folder / "start"
        self.create(OURS, lxcpath, "s1")
        config = lxcpath / "s1" / "config"
        config.write_text(config.read_text().replace("lxc.apparmor.profile = generated\n", ""))
        stops: dict[Path, list[float]] = {OURS: [], THEIRS: []}

        def start(tools: Path) -> float:
            taken = once([str(tools / "lxc-start"), "-P", str(lxcpath), "-n", "s1"])
            stops[tools].append(once([str(tools / "lxc-stop"), "-P", str(lxcpath), "-n", "s1", "-k"]))
            return taken

        start(OURS)
        start(THEIRS)
        stops[OURS].clear()
        stops[THEIRS].clear()
        self.compare("start -d, veth", 2.6, "C", lambda: start(OURS), lambda: start(THEIRS))
        self.row("stop -k", statistics.median(stops[OURS]), "C", statistics.median(stops[THEIRS]), 1.0)

    def measure_config(self) -> None:
        """Reading the shipped configuration with the most lines, includes counted, in a process that ends as our commands do,
        beyond the bare interpreter; and the reading alone.
        """
        package = f"import sys; sys.path.insert(0, {str(HERE)!r}); "
        counts: dict[str, int] = {}
        sys.path.insert(0, str(HERE))
        from lxctools.config.conf import Config

        for path in Path("/usr/share/lxc/config").glob("*.conf"):
            conf = Config.read(str(path))
            counts[str(path)] = sum(map(len, (conf[key] for key in ("lxc.cgroup", "lxc.cgroup2", "lxc.mount.entry", "lxc.cap.drop"))))
        largest = max(counts, key=lambda path: counts[path])
        read = f"{package}import os; from lxctools.config.conf import Config; Config.read({largest!r}); os._exit(0)"
        argv = [*BARE[:3], read]
        quiet("/usr/bin/python3", "-I", "-m", "compileall", "-q", HERE / "lxctools")
        taken = [(once(argv), once(BARE)) for _ in range(self.runs)]
        self.row("load and read config", statistics.median(mine - base for mine, base in taken), "ms, bound", 3.0, 1.0)
        alone = []
        for _ in range(self.runs):
            begun = time.perf_counter()
            Config.read(largest)
            alone.append((time.perf_counter() - begun) * 1000)
        self.row("read a configuration", statistics.median(alone), "ms, bound", 1.0, 1.0)

    def measure_ls(self) -> None:
        """A list of 1000 stopped containers against C's."""
        lxcpath = self.folder / "thousand"
        self.create(OURS, lxcpath, "first")
        config = (lxcpath / "first" / "config").read_text()
        for number in range(999):
            folder = lxcpath / f"c{number:04d}"
            folder.mkdir()
            (folder / "config").write_text(config.replace("first", folder.name))
        argv = ["-P", str(lxcpath)]
        self.compare("ls -f of 1000", 1.0, "C", lambda: once([str(OURS / "lxc-ls"), "-f", *argv]),
                     lambda: once([str(THEIRS / "lxc-ls"), "-f", *argv]), runs=max(5, self.runs // 3))
        self.compare("ls of 1000", 0.6, "C", lambda: once([str(OURS / "lxc-ls"), *argv]),
                     lambda: once([str(THEIRS / "lxc-ls"), *argv]), runs=max(5, self.runs // 3))
        shutil.rmtree(lxcpath)

    def measure_create(self) -> None:
        """create -t busybox against C's."""
        counter = iter(range(10_000))

        def create(tools: Path) -> float:
            lxcpath = self.folder / f"create-{tools.name if tools == OURS else 'c'}"
            lxcpath.mkdir(exist_ok=True)
            name = f"n{next(counter)}"
            taken = once([str(tools / "lxc-create"), "-P", str(lxcpath), "-n", name, "-t", "busybox",
                          "-f", str(self.folder / "default.conf")])
            quiet(tools / "lxc-destroy", "-P", lxcpath, "-n", name)
            return taken

        self.compare("create busybox", 0.4, "C", lambda: create(OURS), lambda: create(THEIRS),
                     runs=max(5, self.runs // 3))

    def measure_copy(self) -> None:
        """copy and destroy of a Debian container; with reflinks where the file system has them."""
        for kind, bound in (("ext4", 0.4), ("btrfs", 0.2), ("xfs", 0.2)):
            copies.in_memory(self, kind, bound, (OURS, THEIRS), once)
        copies.on_disk(self, 0.9, (OURS, THEIRS), once)

    def measure_snapshots(self) -> None:
        """copies in constant time: an overlay, a subvolume, lxc-snapshot; against limits in milliseconds, and C's."""
        copies.snapshots(self, (OURS, THEIRS), once)

    def measure_autostart(self) -> None:
        """40 containers with a veth each: lxc-autostart, lxc-ls -f of them running, lxc-autostart -k, against C's."""
        lxcpath = self.folder / "autostart"
        self.clones(lxcpath, 40, "lxc.start.auto = 1\n")
        taken: dict[str, dict[Path, list[float]]] = {}

        def measure(what: str, tools: Path, *argv: str) -> None:
            milliseconds = once([str(tools / argv[0]), "-P", str(lxcpath), *argv[1:]])
            taken.setdefault(what, {OURS: [], THEIRS: []})[tools].append(milliseconds)

        for number in range(max(5, self.runs // 4) + 1):
            for tools in (OURS, THEIRS):
                measure("autostart of 40", tools, "lxc-autostart")
                time.sleep(1)  # their own boots are over
                measure("ls -f of 40 running", tools, "lxc-ls", "-f")
                measure("autostart -k of 40", tools, "lxc-autostart", "-k")
                time.sleep(1)  # and their network namespaces gone
            if number == 0:
                taken.clear()  # files read for the first time
        for what, bound in (("autostart of 40", 0.8), ("ls -f of 40 running", 0.6), ("autostart -k of 40", 0.3)):
            mine, base = (statistics.median(taken[what][tools]) for tools in (OURS, THEIRS))
            self.row(what, mine, "C", base, bound)

    def measure_memory(self) -> None:
        """PSS of one monitor with 40 running."""
        lxcpath = self.folder / "forty"
        names = self.clones(lxcpath, 40)
        pids = []
        for name in names:
            pidfile = self.folder / f"{name}.pid"
            quiet(OURS / "lxc-start", "-P", lxcpath, "-n", name, "-p", pidfile)
            pids.append(int(pidfile.read_text()))
        time.sleep(1)
        total = 0
        for pid in pids:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        self.row("monitor PSS, MB", total / len(pids) / 1024, "bound", 5.0, 1.0)
        for name in names:
            quiet(OURS / "lxc-stop", "-P", lxcpath, "-n", name, "-k")


def main() -> int:
    """Run the named measures, or all; exit 1 when a bound is missed."""
    measures = {name[8:]: name for name in dir(Bench) if name.startswith("measure_")}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("names", nargs="*", choices=[*measures, []], metavar="NAME", help=", ".join(measures))
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root")
    with Bench(options.runs) as bench:
        for name in options.names or measures:
            getattr(bench, measures[name])()
    return int(any(mine / base > bound for _what, mine, _reference, base, bound in bench.rows))


if __name__ == "__main__":
    sys.exit(main())
