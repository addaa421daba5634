# Upgrades, a downgrade, and the end. Sourced by boot.sh.
# shellcheck shell=bash
machine 'sed -i "s/^# level = \"info\"/level = \"debug\"/" /etc/picloud/picloud.toml; systemctl restart picloud' >"$WORK/said" 2>&1 || fails "the configuration can be changed"
load 90 upgrade "$URL"
CHECK_S=60 check "a later version is installed over it" "apt-get install -y -q -o Dpkg::Use-Pty=0 $OWN/later/*.deb"'; dpkg-query -W -f "\${Version}\n" picloud picloud-tui; dpkg-query -W -f "\${Version}" picloud | grep later; systemctl is-active picloud'
calls_end upgrade
here "no caller was refused meanwhile, each had an answer" "python3 $APPLIANCE/callers.py count $WORK/upgrade"
kept upgrade "what they were told to be stored is stored"
check "it runs the new program" '[ "$(main)" != 0 ] && ! ls -l "/proc/$(main)/exe" | grep deleted'
check "the edited configuration is as it was, the new one beside it" 'grep -x "level = \"debug\"" /etc/picloud/picloud.toml && ! grep "a later version" /etc/picloud/picloud.toml && grep "a later version" /etc/picloud/picloud.toml.dpkg-dist'
here "data are as they were" "curl -sSf -m 10 $URL/readings/basil | grep '\"moisture\":50'"

CHECK_S=60 check "removed, it is gone, and what it kept is not" 'apt-get remove -y -q picloud picloud-tui; ! command -v picloudd; ! systemctl is-active picloud; ! ss -ltn | grep :8080; [ -s /var/lib/picloud/picloud.db ] && [ -s /var/lib/picloud/secrets.key ] && [ -s /etc/picloud/picloud.toml ]'
CHECK_S=60 check "installed again, it goes on with that" "apt-get install -y -q -o Dpkg::Use-Pty=0 $OWN/later/*.deb && picloud docs list greenhouse/sensors | grep basil"
CHECK_S=60 check "purged, nothing of it is left" 'apt-get purge -y picloud picloud-tui; left=$(find / -xdev -path /var/tmp -prune -o -path /proc -prune -o -path /var/log -prune -o -path /tmp -prune -o -iname "*picloud*" -print); echo "$left"; [ -z "$left" ] && [ ! -e /run/picloud ]'
check "nothing of it runs or has failed" '! pgrep picloud && [ -z "$(systemctl --failed --no-legend)" ] && [ -z "$(systemctl list-units --all --no-legend "picloud*")" ]'
