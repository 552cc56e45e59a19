# SPDX-License-Identifier: LGPL-2.1-or-later
# make demo, make test: everything on a fresh Debian or Ubuntu machine as root. make check: the fast tier.
# make test-package: builds, installs, replaces and removes the Debian packages in roots of their own, with mmdebstrap.
# make test-vm: real kernels under qemu, no KVM needed; its image is kept in LXCTOOLS_VM_CACHE. test-vm-zfs, test-vm-ceph: machines
# with what most hosts have not; the first has its module built, which takes a quarter of an hour once.
PREFIX ?= /usr
DESTDIR ?=
PYTHON ?= /usr/bin/python3
LIBDIR = $(PREFIX)/lib/lxctools
UNITDIR ?=
VENV = .venv/bin

.PHONY: all demo test test-package test-vm test-vm-boot test-vm-guest test-vm-storage test-vm-zfs test-vm-ceph check check-lint check-commands check-parts fuzz man bench install uninstall clean setup-run setup-test setup-vm

all: man

setup-run:
	@tools/setup run

setup-test:
	@tools/setup test

setup-vm:
	@tools/setup vm

demo: setup-run
	@tools/demo

# Two of them at a time, as many tests wait for something; all of them, whatever fails.
check: setup-test
	@$(MAKE) --no-print-directory -k -j2 -O check-commands check-parts check-lint

check-lint:
	$(VENV)/ruff check .
	$(VENV)/mypy

check-commands:
	$(VENV)/pytest -q tests/unit/cli

check-parts:
	$(VENV)/pytest -q tests/unit --ignore=tests/unit/cli

test: check
	$(VENV)/pytest -q tests/containers tests/oracle tests/faults

fuzz: setup-test
	PYTHONPATH=. nice $(VENV)/python -m tests.fuzz.config 600

# Two machines at a time, as each keeps little more than one core busy; the longest first.
test-vm: setup-vm
	@$(MAKE) --no-print-directory -k -j2 -O test-vm-storage test-vm-boot test-vm-guest

test-vm-boot:
	$(VENV)/pytest -q tests/vm/test_boot.py

test-vm-guest:
	$(VENV)/pytest -q tests/vm/test_guest.py -k 'vm/guest/ or left'

test-vm-storage:
	$(VENV)/pytest -q tests/vm/test_guest.py -k 'containers/ or left'

test-vm-zfs test-vm-ceph: setup-vm
	LXCTOOLS_VM=$(@:test-vm-%=%) $(VENV)/pytest -q tests/vm/test_guest.py

test-package:
	tools/test-package

bench: setup-test
	@$(PYTHON) bench/run.py

man:
	@$(PYTHON) tools/build-man man

install:
	PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" LIBDIR="$(LIBDIR)" PYTHON="$(PYTHON)" UNITDIR="$(UNITDIR)" tools/install

uninstall:
	PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" LIBDIR="$(LIBDIR)" UNITDIR="$(UNITDIR)" tools/install --remove

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist man/*.1 man/*.5 man/*.7
	find lxctools tests -name __pycache__ -prune -exec rm -rf {} +
