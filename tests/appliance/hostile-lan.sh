#!/usr/bin/env bash
# hostile-lan.sh [--seed S] [--record]
# The daemon in a control group of 128 MiB (MEMORY=96M for another size), among strangers: slow, flooding, idle, malformed;
# others and the owner must be served as before. Then the kernel kills it for its memory.
# Exit status: 0 all was survived, 1 otherwise, 77 not tested here. Without control groups those parts are left out, and said so.
. "$(dirname "$0")/lib.sh"

if outside; then
    can_enclose
    need_programs appliance
fi
enclose 600 "$@"
set_the_stage
limit "${MEMORY:-128M}"
ulimit -n 16384 || not_tested "this machine allows fewer than 16,384 open files"
drive "$PICLOUD_PROGRAMS/appliance" hostile-lan "${LIMITED[@]}" "$@"
