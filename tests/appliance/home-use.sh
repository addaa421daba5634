#!/usr/bin/env bash
# home-use.sh [--hours 24] [--speed 240] [--seed S] [--record]
# A day in a home with a clock that runs 240 times faster, on a slow card (15 ms a flush, 10 MB/s) and in 128 MiB of memory
# (MEMORY=96M for another size). Memory and file must not grow from hour 2 to the end by more than a twentieth.
# Exit status: 0 neither grew, 1 otherwise, 77 not tested here.
. "$(dirname "$0")/lib.sh"

hours=24 speed=240
for ((at = 1; at < $#; at++)); do
    next=$((at + 1))
    case ${!at} in
        --hours) hours=${!next} ;;
        --speed) speed=${!next} ;;
    esac
done
if outside; then
    can_enclose
    need_card
    need_programs appliance
    [ -x "$PICLOUD_PROGRAMS/picloudd-under-test" ] || not_tested "only picloudd-under-test has a fast clock"
fi
enclose $((300 + hours * 3600 * 2 / speed)) "$@"
set_the_stage
limit "${MEMORY:-128M}"
drive "$PICLOUD_PROGRAMS/appliance" home-use --card "$CARD" --card-script "$APPLIANCE/card.sh" "${LIMITED[@]}" "$@"
