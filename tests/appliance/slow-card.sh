#!/usr/bin/env bash
# slow-card.sh [--idle SECONDS] [--seed S] [--only CASE] [--record]
# The daemon on a card that is slow (15 ms a flush, 10 MB/s), fails, is full, stalls or is left alone (for 60 s by default).
# Exit status: 0 all cases held, 1 otherwise, 77 not tested here.
. "$(dirname "$0")/lib.sh"

idle=60
for ((at = 1; at < $#; at++)); do
    [ "${!at}" != --idle ] || { at=$((at + 1)); idle=${!at}; }
done
if outside; then
    can_enclose
    need_card
    need_programs appliance
fi
enclose $((900 + idle * 2)) "$@"
set_the_stage
drive "$PICLOUD_PROGRAMS/appliance" slow-card --card "$CARD" --card-script "$APPLIANCE/card.sh" "$@"
