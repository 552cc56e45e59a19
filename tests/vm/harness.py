# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine of its own for tests: Debian's kernel and systemd under qemu, without KVM and without a network.

The guest reads the image of tests/vm/image.py through a throw-away layer and gets the checkout as a tar archive on a second,
read-only disk; nothing of the host is shared with it. What it says comes back through virtio-serial ports that are plain
files on the host: the output, the exit status, and one file of results. It ends by itself, or is killed when its time is over.
KVM is not used even where there is a /dev/kvm: one that hangs cannot be told from one that works.

    python3 -m tests.vm.harness tests/containers/test_start.py -k reboot      # any pytest selection, in a guest
    python3 -m tests.vm.harness --sh 'lsmod; cat /proc/cgroups'               # any shell command, in a guest
    python3 -m tests.vm.harness --variant zfs --sh 'zpool version'            # in another machine: tests/vm/variants.py
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .image import Image, image
from .variants import USUAL, VARIANTS

CHECKOUT = Path(__file__).resolve().parent.parent.parent
# A guest is up after 40 s on two free cores; one that says nothing for so long never will.
_BOOT_PATIENCE = 600.0
_UP = "the guest is up"
_NOT_SENT = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "build", "dist"}
_PORTS = ("output", "status", "results")
_PROGRAM = "qemu-system-x86_64"
_SHOWN = 100  # lines of the output and of the console in an error


class VmError(Exception):
    """The machine did not do what it was asked for; the text has the end of its console and output."""


@dataclass
class Ended:
    """What a machine left. status: the command's. output: what it wrote. results: its file of results, "" for none."""

    status: int
    output: str
    results: str
    console: str
    seconds: float


@dataclass
class Case:
    """One test in the guest. outcome: passed, failed, skipped. text: why, or the failure."""

    file: str
    name: str
    outcome: str
    text: str
    seconds: float


@dataclass
class Report:
    """The outcome of a pytest run in the guest."""

    ended: Ended
    cases: list[Case] = field(default_factory=list)

    def of(self, file: str) -> list[Case]:
        """The cases of one test file, named relative to the checkout."""
        return [case for case in self.cases if case.file == file]


class _NotUpError(VmError):
    """It has not come to the command: nothing is known of what was to be tested."""


def boot(command: str, *, timeout: float, disk: Image | None = None, reboots: bool = False) -> Ended:
    """Boot a guest, run a shell command in the checkout there as root, and power it off.

    command: may write a file of results to /dev/virtio-ports/results. timeout: seconds from power-on, after which the machine
    is killed. reboots: the command may reboot the guest, and is run again then, with the disk as it was left; otherwise that
    is its end. Raises VmError when the guest does not boot, also not at a second try, dies or takes too long.
    """
    disk = disk or image()
    try:
        return _boot(command, timeout, disk, reboots)
    except _NotUpError as error:
        print(f"the guest did not come up, and is tried once more: {error}", file=sys.stderr)
        return _boot(command, timeout, disk, reboots)


def _boot(command: str, timeout: float, disk: Image, reboots: bool) -> Ended:
    with tempfile.TemporaryDirectory(prefix="lxctools-vm.", dir="/var/tmp") as folder:
        work = Path(folder)
        for program in ("setpriv", _PROGRAM):
            if not shutil.which(program):
                raise VmError(f"this host cannot run machines: there is no {program} (tools/setup vm installs it)")
        _pack(work / "checkout.tar", f'echo "{_UP} after $(cut -d" " -f1 /proc/uptime) s"\n{command}')
        began = time.monotonic()
        why = _power_on(_command_line(disk, work, reboots), work, timeout)
        texts = {name: _text(work / name) for name in (*_PORTS, "console")}
        seconds = time.monotonic() - began
        word = texts["status"].strip()
        if why or not word.isdigit():
            kind = VmError if texts["output"] else _NotUpError
            raise kind(
                f"{why or 'the guest powered off before its command ended'} (after {seconds:.0f} s)\n"
                f"--- the end of its console:\n{_tail(texts['console'])}\n--- the end of its output:\n{_tail(texts['output'])}"
            )
        return Ended(int(word), texts["output"], texts["results"], texts["console"], seconds)


def run_pytest(selection: Sequence[str], *, timeout: float, disk: Image | None = None) -> Report:
    """Run a pytest selection (paths and options, relative to the checkout) in a guest. The rest as boot() has it.

    A test that is cut off by the time-out is the last that the output names.
    """
    words = ["-p", "no:cacheprovider", "-v", "--durations=15", "-o", "junit_family=xunit1", "--junitxml=/run/results.xml", *selection]
    ended = boot(
        "/usr/bin/python3 -I -m compileall -q lxctools\n"
        f"/usr/bin/python3 -m pytest {shlex.join(words)}\n"
        "status=$?\n"
        "cat /run/results.xml >/dev/virtio-ports/results\n"
        "exit $status",
        timeout=timeout,
        disk=disk,
    )
    if not ended.results:
        raise VmError(f"pytest in the guest ended with status {ended.status} and without results:\n{_tail(ended.output)}")
    return Report(ended, list(_cases(ended.results)))


def _cases(xml: str) -> Iterator[Case]:
    """The test cases of a JUnit file; an error in a fixture counts as a failure."""
    for element in ElementTree.fromstring(xml).iter("testcase"):
        outcome, text = "passed", ""
        for child in element:
            if child.tag in ("failure", "error"):
                outcome, text = "failed", f"{text}{child.get('message', '')}\n{child.text or ''}\n"
            elif child.tag == "skipped" and outcome == "passed":
                outcome, text = "skipped", child.get("message", "")
        file = element.get("file") or element.get("classname", "").replace(".", "/") + ".py"
        yield Case(file, element.get("name", ""), outcome, text, float(element.get("time") or 0))


def _pack(archive: Path, command: str) -> None:
    """The checkout with its command, and with the bytecode that the host has compiled."""

    def kept(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if _NOT_SENT.intersection(info.name.split("/")) else info

    script = archive.with_name("command")
    script.write_text(command + "\n")
    with tarfile.open(archive, "w") as tar:
        tar.add(CHECKOUT, ".", filter=kept)
        tar.add(script, ".vm-run")


def _command_line(disk: Image, work: Path, reboots: bool) -> list[str]:
    words = ["setpriv", "--pdeathsig", "KILL", _PROGRAM]  # it never outlives who started it
    words += ["-nodefaults", "-no-user-config", *([] if reboots else ["-no-reboot"]), "-display", "none"]
    # One processor: a second one costs a quarter of the speed, in what the two wait for each other.
    words += ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "1", "-m", str(disk.memory)]
    words += ["-kernel", str(disk.kernel), "-initrd", str(disk.initrd)]
    # Mitigations cost a third of the speed of a machine that lives for minutes and runs only what we wrote.
    words += ["-append", "root=/dev/vda rw console=ttyS0 panic=-1 mitigations=off audit=0 systemd.show_status=auto net.ifnames=0"]
    words += ["-serial", f"file:{work}/console"]
    words += ["-drive", f"file={disk.disk},format=raw,if=none,id=root,snapshot=on,cache=unsafe", "-device", "virtio-blk-pci,drive=root"]
    words += ["-drive", f"file={work}/checkout.tar,format=raw,if=none,id=tree,readonly=on", "-device", "virtio-blk-pci,drive=tree,serial=checkout"]
    words += ["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]
    for name in _PORTS:
        words += ["-chardev", f"file,id={name},path={work}/{name}", "-device", f"virtserialport,chardev={name},name={name}"]
    return words


def _power_on(argv: list[str], work: Path, timeout: float) -> str:
    """Run the machine to its end; the reason why it did not come to a good one, or ""."""
    with (work / "said").open("wb") as said:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**os.environ, "TMPDIR": str(work)}
        )
        try:
            why = _until_done(process, work, timeout)
        finally:
            process.kill()
            process.wait()
    if why:
        return why
    return f"this host cannot run the machine: {_PROGRAM} ended with status {process.returncode}: {_text(work / 'said').strip()}" if process.returncode else ""


def _until_done(process: subprocess.Popen[bytes], work: Path, timeout: float) -> str:
    """Wait for the machine's end; "" or why it has to be killed."""
    began = time.monotonic()
    is_up = False
    while True:
        try:
            process.wait(1)
            return ""
        except subprocess.TimeoutExpired:
            passed = time.monotonic() - began
        is_up = is_up or ((work / "output").exists() and (work / "output").stat().st_size > 0)
        if passed > timeout:
            return f"the guest was not done within {timeout:.0f} s and was killed"
        if not is_up and passed > _BOOT_PATIENCE:
            return f"the guest was not up within {_BOOT_PATIENCE:.0f} s and was killed"


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
    except FileNotFoundError:
        return ""


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-_SHOWN:])


def main() -> int:
    """Run a selection or a command in a guest, for people."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.vm.harness", description="Run pytest, or a shell command, in a guest.")
    parser.add_argument("--timeout", type=float, default=1800, metavar="SECONDS", help="when the machine is killed; default: 1800")
    parser.add_argument("--variant", choices=VARIANTS, default=USUAL.name, help="which machine; default: the usual one")
    parser.add_argument("--sh", metavar="COMMAND", help="a shell command instead of pytest")
    options, selection = parser.parse_known_args()
    try:
        disk = image(VARIANTS[options.variant])
        if options.sh is not None:
            ended = boot(options.sh, timeout=options.timeout, disk=disk)
        else:
            ended = run_pytest(selection, timeout=options.timeout, disk=disk).ended
    except VmError as error:
        print(error, file=sys.stderr)
        return 1
    print(ended.output, end="")
    print(f"(the machine ran for {ended.seconds:.0f} s)", file=sys.stderr)
    return ended.status


if __name__ == "__main__":
    sys.exit(main())
