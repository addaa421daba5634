# What the scripts of this folder share. Sourced.
# shellcheck shell=bash
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf '%s\n' "$*" >&2; }

not_tested() {
    say "not tested: $*"
    exit 77
}

# Installs the Debian packages that are missing.
need() {
    local package missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>&1 | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || not_tested "these packages are missing, and only root can install them: ${missing[*]}"
    command -v apt-get >/dev/null || not_tested "these packages are missing, and there is no apt-get: ${missing[*]}"
    apt_get install "${missing[@]}" || { apt_get update && apt_get install "${missing[@]}"; } ||
        not_tested "apt-get could not install ${missing[*]}"
}

apt_get() {
    local order=$1
    shift
    DEBIAN_FRONTEND=noninteractive timeout -k 5 180 apt-get -o DPkg::Lock::Timeout=120 "$order" -y -qq \
        --no-install-recommends "$@" </dev/null >/dev/null 2>&1
}

# What a card needs of the machine.
need_root() {
    [ "$(id -u)" = 0 ] || not_tested "only root can make namespaces for processes and mounts"
}

need_card() {
    [ "$(id -u)" = 0 ] || not_tested "only root can mount a file system on a card of its own"
    [ -e /dev/fuse ] && [ -e /dev/loop-control ] || not_tested "there is no /dev/fuse or no /dev/loop-control"
    need nbdkit nbdkit-plugin-python libnbd-bin e2fsprogs util-linux mount
}

# The driver and the programs that it tests: PICLOUD_PROGRAMS has them, or cargo builds them.
need_programs() {
    if [ -z "${PICLOUD_PROGRAMS:-}" ]; then
        # The way in which the tests build them, so that nothing is built twice.
        (cd "$root" && cargo test --quiet --workspace --no-run) >&2
        PICLOUD_PROGRAMS=${CARGO_TARGET_DIR:-$root/target}/debug
    fi
    PICLOUD_PROGRAMS=$(cd "$PICLOUD_PROGRAMS" && pwd)
    export PICLOUD_PROGRAMS
    [ -x "$PICLOUD_PROGRAMS/appliance" ] || not_tested "there is no $PICLOUD_PROGRAMS/appliance"
}

# A control group with so much memory, in APPLIANCE_GROUP; none where the machine has no such groups.
make_group() {
    local name=picloud-appliance-$$ top=/sys/fs/cgroup bytes limit
    bytes=$(numfmt --from=iec "$1")
    if grep -qsw memory "$top/cgroup.controllers"; then
        limit=memory.max
        echo +memory >"$top/cgroup.subtree_control" 2>/dev/null || true
    elif [ -d "$top/memory" ]; then
        top=$top/memory limit=memory.limit_in_bytes
    else
        limit=
    fi
    if [ -z "$limit" ] || ! mkdir "$top/$name" 2>/dev/null; then
        say "there is no control group for memory: what needs one is left out"
        return 0
    fi
    export APPLIANCE_GROUP=$top/$name
    if ! echo "$bytes" >"$APPLIANCE_GROUP/$limit"; then
        remove_group
        say "a control group's memory cannot be limited here: what needs that is left out"
        return 0
    fi
    [ ! -e "$APPLIANCE_GROUP/memory.swap.max" ] || echo 0 >"$APPLIANCE_GROUP/memory.swap.max"
}

remove_group() {
    [ -n "${APPLIANCE_GROUP:-}" ] || return 0
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        rmdir "$APPLIANCE_GROUP" 2>/dev/null && break
        sleep 0.1
    done
    unset APPLIANCE_GROUP
}

# Runs the script itself once more, in namespaces of its own for processes and mounts: whatever it starts or mounts there goes
# with its first process, which is killed after so many seconds. Nothing in there holds our output, so nothing can keep who
# reads it waiting.
in_a_box() {
    local seconds=$1 box watch late='' status=0
    shift
    [ -z "${APPLIANCE_BOX:-}" ] || return 0
    [ "$(id -u)" = 0 ] || not_tested "only root can make namespaces for processes and mounts"
    timeout -k 1 10 unshare --mount --pid --fork --kill-child --mount-proc true </dev/null >/dev/null 2>&1 ||
        not_tested "this machine lets nobody make namespaces for processes and mounts"
    work=$(mktemp -d "${TMPDIR:-/tmp}/picloud-appliance.XXXXXX")
    trap 'close_box' EXIT
    trap 'exit 143' TERM INT HUP
    : >"$work/said"
    APPLIANCE_BOX=$work unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@" \
        </dev/null >>"$work/said" 2>&1 &
    box=$!
    timeout -k 5 "$seconds" tail -s 0.2 -n +1 --pid="$box" -f "$work/said" &
    watch=$!
    wait "$watch" || late=yes
    if [ -n "$late" ]; then
        say "gave up after $seconds s; see what was done last above"
        exit 1
    fi
    wait "$box" || status=$?
    exit "$status"
}

close_box() {
    local first
    trap - EXIT
    # The card's server goes while the others still hold its mounts: were it the last, it would wait for itself for ever.
    first=$([ -z "${box:-}" ] || pgrep -P "$box" || true)
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -n "$first" ] && pkill -KILL --ns "$first" --nslist pid -x nbdfuse || break
        sleep 0.2
    done
    [ -z "${box:-}" ] || kill -KILL "$box" 2>/dev/null || true
    [ -z "${watch:-}" ] || kill -KILL "$watch" 2>/dev/null || true
    remove_group
    # Its mounts are seen by nobody else, and are gone.
    if [ -n "${KEEP:-}" ]; then say "kept: $work"; else rm -rf --one-file-system "$work"; fi
}

# Within the box: where everything is written, and how it ends.
enter_box() {
    work=$APPLIANCE_BOX
    mkdir -p "$work/tmp" "$work/card"
    # Daemons without privileges have their files in there as well.
    chmod 711 "$work"
    export TMPDIR=$work/tmp RUST_BACKTRACE=0
    # What daemons keep in memory goes with the box.
    mount -t tmpfs tmpfs /dev/shm
    trap 'timeout -k 5 100 "$here/card.sh" unplug "$work/card" </dev/null >/dev/null 2>&1 || true' EXIT
}
