# SPDX-License-Identifier: LGPL-2.1-or-later
# What the scenarios of tools/test-package share. They run as root in a root of their own, with namespaces of their own.
# /debs: the packages under test; /debs/newer: the same, as a later version.
set -u
passed=0 failed=0
said=/tmp/said

ok() { passed=$((passed + 1)); echo "ok: $1"; }
bad() {
    failed=$((failed + 1))
    echo "FAILED: $1"
    [ ! -s $said ] || tail -n 80 $said | sed 's/^/    /'
}

# check WHAT COMMAND...: ends with 0.
check() {
    local what=$1
    shift
    if "$@" >$said 2>&1 </dev/null; then ok "$what"; else bad "$what (status $?): $*"; fi
}

# fails WHAT COMMAND...: does not.
fails() {
    local what=$1
    shift
    if "$@" >$said 2>&1 </dev/null; then bad "$what: $*"; else ok "$what"; fi
}

# says WHAT TEXT COMMAND...: prints TEXT, and ends with 0.
says() {
    local what=$1 text=$2 found
    shift 2
    if found=$("$@" 2>$said </dev/null) && [ "$found" = "$text" ]; then ok "$what"; else bad "$what: $*: not '$text': '$found'"; fi
}

# No question, no answer: whatever asks something reads an end of file, and fails.
get() { apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends "$@"; }

# What the maintainer scripts would do to services, on a host that has systemd, is written down instead.
record_services() {
    mkdir -p /run/systemd/system
    for program in /usr/bin/deb-systemd-invoke /usr/sbin/invoke-rc.d /usr/bin/systemctl; do
        dpkg-divert --quiet --local --no-rename --divert $program.real --add $program
        printf '#!/bin/sh\necho "${0##*/} $*" >>/run/services\n' >$program
        chmod 755 $program
    done
    : >/run/services
}

# Nothing was stopped or restarted since the last call.
services_untouched() {
    if grep -qE '(stop|restart|kill)' /run/services; then
        cp /run/services $said
        bad "$1: services were stopped or restarted"
    else
        ok "$1: no service was stopped or restarted"
    fi
    : >/run/services
}

# Pid and start time of a container's init, which are no other process's ever after.
life() { pid=$(lxc-info -n "$1" -pH) && echo "$pid $(cut -d' ' -f22 "/proc/$pid/stat")"; }

new_container() {
    check "lxc-create $1" lxc-create -n "$1" -t busybox -f /tmp/empty.conf
    check "lxc-start $1" lxc-start -n "$1"
    check "$1 runs" lxc-wait -n "$1" -s RUNNING -t 20
}

# up WHEN NAME LIFE: the container is the same as before, and the commands that are installed now work on it.
up() {
    says "$1: $2 is the same" "$3" life "$2"
    says "$1: lxc-info of $2" RUNNING lxc-info -n "$2" -sH
    says "$1: lxc-ls shows $2" "$2" lxc-ls -1 --running "^$2\$"
    says "$1: lxc-attach to $2" "in $2" lxc-attach -n "$2" -- /bin/sh -c 'echo "in $(hostname)"; ls / >/dev/null'
}

# down WHEN NAME: it can be stopped.
down() {
    check "$1: lxc-stop $2" lxc-stop -n "$2" -k
    says "$1: $2 is stopped" STOPPED lxc-info -n "$2" -sH
}

all_there() {
    local package
    says "$1: dpkg has nothing to complain of" "" dpkg --audit
    # Settings are the administrator's; anything else is as its package has it. One package at a time: a conffile of two is
    # compared with what either has on record.
    for package in $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' '*lxc*' | sed -n 's/^installed //p'); do
        dpkg --verify "$package"
    done | grep -v ' c /etc/' >$said
    if [ -s $said ]; then bad "$1: files are not as their packages have them"; else ok "$1: every file is as its package has it"; fi
}

finish() {
    echo "$(basename "$0"): $passed passed, $failed failed"
    [ "$failed" = 0 ]
    exit
}

printf 'lxc.net.0.type = empty\n' >/tmp/empty.conf
