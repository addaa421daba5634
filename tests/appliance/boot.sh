#!/usr/bin/env bash
# The life of an installed PiCloud, in a Debian that has booted with systemd.
#
#   boot.sh [bookworm|trixie] [FOLDER]     FOLDER holds picloud_*.deb and picloud-tui_*.deb; without it they are built first
#   MACHINE=qemu boot.sh ...               in a machine of its own, with 512 MB
#   KEEP_LOGS=FOLDER boot.sh ...           keeps the logs of the machine there
#
# Ends with 77 where this machine can boot neither.
. "$(dirname "$0")/checks.sh"
. "$APPLIANCE/machine.sh"
. "$APPLIANCE/packages.sh"
. "$APPLIANCE/calls.sh"
SUITE=${1:-bookworm} PACKAGES=${2:-$ROOT/target/debian}

if outside; then
    can_enclose
    machine_tools
    packages_built "${2:-}"
    machine_image "$SUITE"
fi
enclose "$(scaled 200)" "$SUITE" "$PACKAGES"
trap summary EXIT

machine_start "$SUITE"
packages_collected "$PACKAGES" "$WORK/debs"
machine_put "$WORK/debs" /var/tmp/
OWN=/var/tmp/debs URL=http://$ADDRESS:8080/greenhouse

. "$APPLIANCE/boot/install.sh"
. "$APPLIANCE/boot/use.sh"
. "$APPLIANCE/boot/trouble.sh"
. "$APPLIANCE/boot/upgrade.sh"
machine_stop
