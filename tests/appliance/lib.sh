# What the rigs share that need no machine: cards, programs, limits. Sourced.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/enclosure.sh"
# Where everything is within the enclosure: short, and everybody may go down there.
STAGE=/run/appliance
CARD=$STAGE/card
LIMITED=()

need_card() {
    if [ ! -e /dev/fuse ] || [ ! -e /dev/loop-control ]; then not_tested "there is no /dev/fuse or no /dev/loop-control"; fi
    need nbdkit nbdkit nbdkit-plugin-python
    need "nbdkit python --version" nbdkit-plugin-python
    need nbdfuse libnbd-bin
    need mke2fs e2fsprogs
}

# need_programs DRIVER: it and the programs that it tests; PICLOUD_PROGRAMS has them, or cargo builds them.
need_programs() {
    if [ -z "${PICLOUD_PROGRAMS:-}" ]; then
        # The way in which the tests build them, so that nothing is built twice.
        (cd "$ROOT" && within 3600 cargo test --quiet --workspace --no-run) >&2
        PICLOUD_PROGRAMS=${CARGO_TARGET_DIR:-$ROOT/target}/debug
    fi
    PICLOUD_PROGRAMS=$(cd "$PICLOUD_PROGRAMS" && pwd)
    export PICLOUD_PROGRAMS
    [ -x "$PICLOUD_PROGRAMS/$1" ] || not_tested "there is no $PICLOUD_PROGRAMS/$1"
}

# Within the enclosure, before all else.
set_the_stage() {
    mkdir -p "$WORK/tmp" "$WORK/card"
    # Daemons without privileges have their files in there as well.
    chmod 711 "$WORK"
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir "$STAGE"
    mount --bind "$WORK" "$STAGE"
    export TMPDIR=$STAGE/tmp RUST_BACKTRACE=0
    # What daemons keep in memory goes with the enclosure.
    mount -t tmpfs tmpfs /dev/shm
    trap 'children_end; card unplug >/dev/null 2>&1 || true' EXIT
}

# card make MIB, plug, slow MILLISECONDS BYTES, unplug: see card.sh.
card() { within 100 "$APPLIANCE/card.sh" "$1" "$CARD" "${@:2}"; }

# drive COMMAND...: the rig's program, which knows when it is done.
drive() {
    "$@" </dev/null &
    wait $!
}

# limit MEMORY [PERCENT]: control groups with so much memory and so many percent of a processor, in LIMITED; in version 1 each
# kind has its own. None where the machine has no such groups.
limit() {
    local name top=/sys/fs/cgroup bytes quota
    name=$(cgroup_of "$WORK")
    bytes=$(numfmt --from=iec "$1")
    # Of a hundredth of a second, so that what waits for its share does not wait long.
    quota=${2:+$(($2 * 100))}
    if grep -qsw memory "$top/cgroup.controllers"; then
        echo '+memory +cpu' >"$top/cgroup.subtree_control" || true
        limit_by "$top/$name" memory.max "$bytes" memory.swap.max 0 ${quota:+cpu.max "$quota 10000"}
    else
        limit_by "$top/memory/$name" memory.limit_in_bytes "$bytes" &&
            { [ -z "$quota" ] || limit_by "$top/cpu/$name" cpu.cfs_period_us 10000 cpu.cfs_quota_us "$quota"; }
    fi 2>/dev/null || {
        LIMITED=()
        say "no control group can be made here: what needs one is left out"
    }
}

# limit_by FOLDER [FILE VALUE]...
limit_by() {
    local folder=$1
    mkdir "$folder" || return
    LIMITED+=(--group "$folder")
    shift
    while [ $# -gt 0 ]; do
        # Where there is no swap there is nothing to limit.
        if [ -e "$folder/$1" ] || [[ $1 != *.swap.* ]]; then echo "$2" >"$folder/$1" || return; fi
        shift 2
    done
}
