# What installing leaves behind. Sourced by boot.sh.
# shellcheck shell=bash
CHECK_S=60 must "apt installs the packages from their files" "apt-get install -y -q -o Dpkg::Use-Pty=0 $OWN/now/*.deb"
check "the service is running without another word" 'systemctl is-active picloud.service picloud.socket'
check "both start with the machine" 'systemctl is-enabled picloud.service picloud.socket'
check "port 80 is off unless it is switched on" 'refused "systemctl is-enabled picloud-port80.socket"; refused "systemctl is-active picloud-port80.socket"; refused "ss -ltn | grep :80[^0-9]"'
check "systemd was told when the service was ready" 'has Type "^notify$"'
check "the service says what it does" 'has StatusText ".{5}"'
check "systemd wants to hear from it within 30 s" 'has WatchdogUSec "^30s$"'
check "it runs as a user of its own" 'ps -o user= -p "$(main)" | grep -x picloud'
check "nobody can sign in as that user" 'getent passwd picloud | grep -E ":/var/lib/picloud:.*/(nologin|false)$" && passwd -S picloud | grep -E "^picloud L"'
check "its state is for itself alone" '[ "$(stat -c "%U %a" /var/lib/picloud)" = "picloud 750" ] && [ "$(stat -c %U /var/lib/picloud/picloud.db)" = picloud ] && [[ $(stat -c %a /var/lib/picloud/picloud.db) = *0 ]]'
check "everybody may knock at the admin socket" '[ "$(stat -c %a /run/picloud)" = 755 ] && [ "$(stat -c "%F %a" /run/picloud/admin.sock)" = "socket 666" ]'
check "systemd-analyze gives it 1.5 or less" 'systemd-analyze security --no-pager picloud.service | tail -n 1; systemd-analyze security --no-pager --threshold=15 picloud.service >/dev/null'
check "systemd finds nothing wrong with the units" 'said=$(systemd-analyze verify --man=no picloud.service picloud.socket picloud-port80.socket 2>&1 || true); echo "$said"; refused "grep -qi picloud <<<\"\$said\""'
check "its memory and its tasks are bounded" 'has MemoryMax "^[0-9]+$"; has TasksMax "^[0-9]+$"; has FileDescriptorStoreMax "^[1-9]"'
check "its configuration is a file that upgrades leave alone" "dpkg-query -W -f '\${Conffiles}' picloud | grep /etc/picloud/picloud.toml && picloudd check-config"
check "each program has a page in the manual" 'for page in man1/picloud.1 man1/picloud-tui.1 man8/picloudd.8; do zgrep -c "^\.TH" "/usr/share/man/$page.gz" || { echo "$page"; exit 1; }; done'
check "the shell completes its commands" 'bash -c "source /usr/share/bash-completion/completions/picloud && complete -p picloud"'
check "no file differs from the package's" 'dpkg --verify picloud picloud-tui'
check "nothing has failed, in the unit or on the machine" 'systemctl --failed --no-legend; has NRestarts "^0$" && [ -z "$(systemctl --failed --no-legend | grep -i picloud)" ]'

machine 'useradd anna -G picloud-admin; useradd ben -G picloud; useradd carol' >"$WORK/said" 2>&1 || fails "users can be made"
check "members of picloud may read" 'runuser -u ben -- picloud apps list'
check "but not change anything" 'code=0; runuser -u ben -- picloud pause || code=$?; [ $code = 4 ]'
check "members of picloud-admin may do everything" 'runuser -u anna -- picloud pause && runuser -u anna -- picloud resume'
check "whoever is in neither is told so" 'code=0; runuser -u carol -- picloud apps list || code=$?; [ $code = 4 ]'
check "nobody but root and the service can read the store" 'refused "runuser -u anna -- cat /var/lib/picloud/picloud.db"'
