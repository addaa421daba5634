# The packages that a test installs. Sourced after machine.sh.
# shellcheck shell=bash

# packages_built [FOLDER]: builds them unless they are there already.
packages_built() {
    [ -z "$1" ] || { ls "$1"/picloud_*.deb "$1"/picloud-tui_*.deb >/dev/null 2>&1 || not_tested "no packages in $1"; return; }
    [ -x "$ROOT/packaging/build.sh" ] || not_tested "there is no packaging/build.sh"
    mkdir -p "$TARGET"
    say "building the packages"
    within 2700 "$ROOT/packaging/build.sh" >"$TARGET/packages.log" 2>&1 || give_up "the packages cannot be built: $(tail -n 3 "$TARGET/packages.log")"
}

# packages_collected FOLDER FOLDER: the newest of each, and what a later version of the same would be.
packages_collected() {
    local name architecture
    architecture=$(dpkg --print-architecture)
    mkdir -p "$2/now" "$2/later" "$2/older"
    for name in picloud picloud-tui; do
        # shellcheck disable=SC2012 # names without surprises
        cp "$(ls -t "$1/${name}"_*_"$architecture".deb | head -n 1)" "$2/now/"
    done
    changed "$2"/now/picloud_*.deb "$2/later" 's/^Version: .*/&+later1/' etc/picloud/picloud.toml '$a # what a later version says'
    changed "$2"/now/picloud-tui_*.deb "$2/later" 's/^Version: .*/&+later1/'
    # One that knows no schema of the last years.
    changed "$2"/now/picloud_*.deb "$2/older" 's/^Version: .*/Version: 0.0.1/' DEBIAN/preinst 's/^knows=.*/knows=1/'
}

# changed PACKAGE FOLDER CONTROL [FILE SED]: the package once more, its control file and another one put through sed.
changed() {
    local package=$WORK/package
    rm -rf "$package"
    within 60 dpkg-deb -R "$1" "$package"
    sed -i "$3" "$package/DEBIAN/control"
    [ -z "${4:-}" ] || sed -i "$5" "$package/$4"
    within 60 dpkg-deb --root-owner-group -Zgzip -z1 -b "$package" "$2" >/dev/null
}
