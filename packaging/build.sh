#!/usr/bin/env bash
# build.sh [amd64|arm64|armhf]: makes the Debian packages in target/debian, from a clean checkout.
#
# PICLOUD_BINARIES=DIR  packs picloudd, picloud and picloud-tui of that folder instead of compiling them
# PICLOUD_MANUALS=DIR   takes man pages and completions from there, as `packaging-files DIR` makes them
# PICLOUD_VERSION=V     another version than that of Cargo.toml
# PICLOUD_PROFILE=P     another Cargo profile than release
set -euo pipefail
cd "$(dirname "$0")/.."

architecture=${1:-$(dpkg --print-architecture)}
profile=${PICLOUD_PROFILE:-release}
version=${PICLOUD_VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)}
out=target/debian
work=$out/$architecture
# Runs a command with what the architecture needs: nothing, or a compiler for another one and an emulator in $RUN.
cross=(packaging/cross.sh "$architecture")
rm -rf "$work"
mkdir -p "$work"

# Sets $binaries and $manuals.
programs() {
    binaries=${PICLOUD_BINARIES:-}
    if [ -z "$binaries" ]; then
        binaries=$work/programs
        mkdir "$binaries"
        "${cross[@]}" cargo build --locked --profile "$profile" -p picloud-daemon -p picloud-tui \
            --message-format=json-render-diagnostics |
            sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | xargs -r cp -t "$binaries"
    fi
    manuals=${PICLOUD_MANUALS:-}
    if [ -z "$manuals" ]; then
        manuals=$work/manuals
        # These come out of the programs' own command lines, on this machine and the same for all.
        cargo run --locked --quiet -p picloud-tests --bin packaging-files "$manuals"
    fi
}

# tree PACKAGE: an empty package in $root.
tree() {
    package=$1
    root=$work/$package
    doc=$root/usr/share/doc/$package
    mkdir -p "$root/DEBIAN"
}

# put FILE WHERE [MODE]
put() {
    install -D -m "${3:-644}" "$1" "$root/$2"
}

# program NAME SECTION
program() {
    put "$binaries/$1" "usr/bin/$1" 755
    "${tools}strip" --strip-unneeded --remove-section=.comment --remove-section=.note "$root/usr/bin/$1"
    put "$manuals/man/$1.$2" "usr/share/man/man$2/$1.$2"
    gzip -9n "$root/usr/share/man/man$2/$1.$2"
}

picloud() {
    tree picloud
    program picloudd 8
    program picloud 1
    local name
    put packaging/picloud.toml etc/picloud/picloud.toml
    for name in picloud.service picloud.socket picloud-port80.socket; do
        put "systemd/$name" "usr/lib/systemd/system/$name"
    done
    put systemd/picloud.sysusers usr/lib/sysusers.d/picloud.conf
    put systemd/picloud.catalog usr/lib/systemd/catalog/picloud.catalog
    put "$manuals/completions/picloud" usr/share/bash-completion/completions/picloud
    put "$manuals/completions/_picloud" usr/share/zsh/vendor-completions/_picloud
    put "$manuals/completions/picloud.fish" usr/share/fish/vendor_completions.d/picloud.fish
    for name in daemon/demo/*; do
        put "$name" "usr/share/doc/picloud/examples/greenhouse/${name##*/}"
    done
    for name in docs/*.md; do
        put "$name" "usr/share/doc/picloud/${name##*/}"
    done
    echo /etc/picloud/picloud.toml >"$root/DEBIAN/conffiles"
    local schema
    # shellcheck disable=SC2016 # for the shell that is started
    schema=$("${cross[@]}" sh -c '$RUN "$0" schema' "$binaries/picloudd")
    [[ $schema =~ ^[0-9]+$ ]] || { echo "picloudd schema says '$schema', which is no number" >&2; exit 1; }
    for name in preinst postinst prerm postrm; do
        sed "s/@SCHEMA@/$schema/; s/@VERSION@/$version/" "packaging/debian/picloud.$name" >"$root/DEBIAN/$name"
        chmod 755 "$root/DEBIAN/$name"
    done
    finish
}

picloud_tui() {
    tree picloud-tui
    program picloud-tui 1
    finish
}

# What every package has, and the package itself.
finish() {
    local glibc size
    sed '1,2d; s/^$/./; s/^/ /' LICENSE-MIT >"$work/mit"
    sed -e "/^@MIT@/r $work/mit" -e '/^@MIT@/d' packaging/debian/copyright >"$work/copyright"
    put "$work/copyright" "usr/share/doc/$package/copyright"
    printf '%s (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- %s  %s\n' picloud "$version" \
        "$(sed -n 's/^Maintainer: //p' "packaging/debian/$package.control")" "$(date -uRd "@$SOURCE_DATE_EPOCH")" \
        >"$work/changelog"
    put "$work/changelog" "usr/share/doc/$package/changelog"
    put CHANGELOG.md "usr/share/doc/$package/CHANGELOG.md"
    gzip -9n "$doc/changelog" "$doc/CHANGELOG.md"
    find "$root" -type d -exec chmod 755 {} +
    # The oldest C library that has everything; bookworm's is 2.36.
    glibc=$("${tools}objdump" -T "$root"/usr/bin/* | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
    size=$(find "$root" -type f -printf '%s\n' | awk '{ kib += int(($1 + 1023) / 1024) } END { print kib }')
    sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@GLIBC@/${glibc#GLIBC_}/; s/@INSTALLED_SIZE@/$size/" \
        "packaging/debian/$package.control" >"$root/DEBIAN/control"
    (cd "$root" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | sort -z | xargs -0 md5sum) \
        >"$root/DEBIAN/md5sums"
    dpkg-deb --root-owner-group -Zxz --build "$root" "$out/${package}_${version}_$architecture.deb" >/dev/null
}

sizes() {
    local file
    for file in "$out"/picloud{,-tui}_"${version}_$architecture.deb"; do
        printf '%-44s %8d bytes\n' "${file##*/}" "$(stat -c %s "$file")"
    done
    for file in "$work"/picloud{,-tui}/usr/bin/*; do
        printf '  %-42s %8d bytes\n' "${file##*/}" "$(stat -c %s "$file")"
    done
}

programs
# Set only now: C code would be compiled anew for another time.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# shellcheck disable=SC2016 # for the shell that is started
tools=$("${cross[@]}" sh -c 'echo "$CROSS_COMPILE"')
picloud
picloud_tui
sizes
