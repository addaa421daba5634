#!/usr/bin/env bash
# power-cut.sh [CUTS] [--seed S] [--record]   cuts the power of the card under the daemon, under load; 20 cuts by default
# power-cut.sh --prove [--seed S]             shows that a daemon which acknowledges before a flush is caught
# Exit status: 0 nothing acknowledged was lost (or, with --prove, both were caught), 1 otherwise, 77 not tested here.
. "$(dirname "$0")/lib.sh"

cuts=20
[[ ${1:-} != [0-9]* ]] || cuts=$1
if outside; then
    can_enclose
    need_card
    need_programs appliance
fi
# A cut takes two or three seconds.
enclose $((120 + cuts * 15)) "$@"
set_the_stage
[[ ${1:-} != [0-9]* ]] || shift
drive "$PICLOUD_PROGRAMS/appliance" power-cut --card "$CARD" --card-script "$APPLIANCE/card.sh" --cuts "$cuts" "$@"
