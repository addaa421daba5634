#!/usr/bin/env bash
# Does what a document says, to the letter: each ```sh block, one after the other, as root in a fresh Debian that has booted.
#
#   follow.sh DOCUMENT [bookworm|trixie] [FOLDER]     FOLDER holds the packages; they lie where the commands are run
#   INSTALLED=yes follow.sh DOCUMENT ...              for one that begins with PiCloud installed, and its example deployed
#
# A block ends at its first command that fails, and with it the test. Not done are blocks under a line
#   <!-- not followed: REASON -->
# which are named at the end. Blocks of other languages (console, toml, text) are not for doing.
. "$(dirname "$0")/checks.sh"
. "$APPLIANCE/machine.sh"
. "$APPLIANCE/packages.sh"
DOCUMENT=${1:?which document?} SUITE=${2:-bookworm} PACKAGES=${3:-$ROOT/target/debian}

if outside; then
    [ -s "$DOCUMENT" ] || give_up "there is no $DOCUMENT"
    can_enclose
    machine_tools
    packages_built "${3:-}"
    machine_image "$SUITE"
fi
enclose "$(scaled 200)" "$DOCUMENT" "$SUITE" "$PACKAGES"
trap summary EXIT

# Writes each block as a file of its own, NUMBER-LINE, beginning with the heading that it stands under.
blocks() {
    awk -v to="$WORK/blocks" '
        /^#+ / && !within { heading = $0 }
        /^<!-- not followed: / && !within { reason = $0; next }
        /^ *```/ && within { within = 0; close(file); next }
        /^ *```sh *$/ && !within {
            within = 1; indent = match($0, /`/) - 1; file = sprintf("%s/%03d-%d", to, ++number, NR)
            print "# " heading >file
            if (reason != "") print reason >file
            reason = ""; next
        }
        /^ *```/ { within = 2; file = "/dev/null"; next }
        within == 1 { print substr($0, indent + 1) >file; next }
        within { next }
        NF { reason = "" }
    ' "$DOCUMENT"
}

mkdir "$WORK/blocks"
blocks
[ -n "$(ls "$WORK/blocks")" ] || give_up "$DOCUMENT has no sh block"
machine_start "$SUITE"
packages_collected "$PACKAGES" "$WORK/debs"
# One shell for all of them, as the reader has it: with the reader's folder, and sudo, which for root does nothing.
machine 'mkdir -p /var/tmp/here /usr/local/bin; [ -x /usr/bin/sudo ] || { printf "#!/bin/sh\nexec \"\$@\"\n" >/usr/local/bin/sudo; chmod 755 /usr/local/bin/sudo; }' >"$WORK/said" 2>&1
machine_put "$WORK"/debs/now/*.deb /var/tmp/here/
machine_put "$WORK/blocks" /var/tmp/
[ -z "${INSTALLED:-}" ] || CHECK_S=60 must "picloud is installed, and its example deployed" \
    "apt-get install -y -q -o Dpkg::Use-Pty=0 /var/tmp/here/*.deb && picloud deploy /usr/share/doc/picloud/examples/greenhouse"
for block in "$WORK"/blocks/*; do
    name=${block##*/}
    sentence="line ${name#*-}: $(head -n 1 "$block" | tr -d '#' | xargs -0 echo | xargs)"
    if reason=$(grep -m 1 '^<!-- not followed: ' "$block"); then
        reason=${reason#<!-- not followed: }
        skip "$sentence" "${reason% -->}"
        continue
    fi
    # Variables and the folder of a block are those of the one before.
    CHECK_S=90 check "$sentence" "cd /var/tmp/here; [ ! -e /var/tmp/shell ] || . /var/tmp/shell
        export DEBIAN_FRONTEND=noninteractive
        # For the reader's eyes an answer that tells of an error is one.
        curl() { command curl --fail-with-body -m 20 \"\$@\"; }
        set -ax; . /var/tmp/blocks/$name; { set +ax; } 2>/dev/null
        { export -p; printf 'cd %q\n' \"\$PWD\"; } >/var/tmp/shell"
    [ $failed -eq 0 ] || { sed 's/^/    > /' "$block"; give_up "who follows $DOCUMENT gets no further"; }
done
machine_stop
