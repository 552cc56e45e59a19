# SPDX-License-Identifier: LGPL-2.1-or-later
"""One test here for each test file that runs in the guest; all that are selected run in one machine.

LXCTOOLS_VM names another machine of tests/vm/variants.py; there only the tests of its storage run.
"""

from __future__ import annotations

import os

import pytest

from .harness import CHECKOUT, Report, run_pytest
from .image import image
from .variants import USUAL, VARIANTS

VARIANT = VARIANTS[os.environ.get("LXCTOOLS_VM") or USUAL.name]
# Wall time of a machine; a whole run takes a fifth of it on two free cores.
TIMEOUT = 3000.0
# Test files of the other tiers that show something new there: with a device mapper, or under version 2 alone.
OTHERS = ["tests/containers/test_storage_contract.py", "tests/containers/test_volumes.py"]
# The services have a machine that is booted with them: test_boot.py.
GUESTS = sorted(str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "tests/vm/guest").glob("test_*.py") if path.stem != "test_services")
FILES = [*(GUESTS if VARIANT is USUAL else []), *OTHERS]


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    """What became of every file that this session wants."""
    wanted = [item.callspec.params["file"] for item in request.session.items if "file" in getattr(getattr(item, "callspec", None), "params", {})]  # type: ignore[attr-defined]
    return run_pytest([*wanted, "-m", VARIANT.marks], timeout=TIMEOUT, disk=image(VARIANT))


@pytest.mark.parametrize("file", FILES)
def test_in_the_guest(report: Report, file: str) -> None:
    cases = report.of(file)
    assert cases, f"nothing of {file} ran:\n{report.ended.output[-3000:]}"
    failed = [case for case in cases if case.outcome == "failed"]
    done = sum(case.outcome == "passed" for case in cases)
    shown = "\n".join(f"--- {case.name}\n{case.text}" for case in failed)
    assert not failed, f"{len(failed)} of {len(cases)} tests failed in the guest:\n{shown}"
    assert done, f"all of {file} was skipped: {sorted({case.text for case in cases})}"


def test_nothing_was_left_in_the_guest(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    """The check at the end of the guest's session, which belongs to no file."""
    counts = {outcome: sum(case.outcome == outcome for case in report.cases) for outcome in ("passed", "failed", "skipped")}
    with capsys.disabled():
        print(f"\nin the guest, {report.ended.seconds:.0f} s: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
        for file in dict.fromkeys(case.file for case in report.cases):
            print(f"{sum(case.seconds for case in report.of(file)):5.0f} s {file}")
        for case in report.cases:
            if case.outcome == "skipped":
                print(f"skipped there: {case.file} {case.name}: {case.text}")
    assert report.ended.status == 0, report.ended.output[-3000:]
