#!/bin/bash
# The Docker volume plugin on a real kernel: its sockets and units, for whom a volume is mounted, and quarryd killed
# in between.
# machine: --disk 3G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

PLUGIN="$(dirname "$0")/../fake/plugin.py" SOCKET=/run/docker/plugins/quarry.sock
M=/run/quarry/mnt/default A=$(printf 'a%.0s' {1..64}) B=$(printf 'b%.0s' {1..64})

ask() { # CALL [JSON]
    PYTHONDONTWRITEBYTECODE=1 python3 "$PLUGIN" "$SOCKET" "$@"
}
create() { ask VolumeDriver.Create "{\"Name\":\"$1\",\"Opts\":{${2-}}}"; }
mount_for() { ask VolumeDriver.Mount "{\"Name\":\"$1\",\"ID\":\"$2\"}"; }
unmount_for() { ask VolumeDriver.Unmount "{\"Name\":\"$1\",\"ID\":\"$2\"}"; }
remove() { ask VolumeDriver.Remove "{\"Name\":\"$1\"}"; }
path_of() { ask VolumeDriver.Path "{\"Name\":\"$1\"}"; }
mounted() { mountpoint -q "$M/$1"; }
unmounted() { ! mountpoint -q "$M/$1"; }

# A container: a mount namespace with a mount of its own, as an engine makes it, and a process that writes there. Its
# root has no copy of what is mounted at the host.
container() { # VOLUME
    unshare --mount --propagation private bash -c "
        mkdir -p /run/container && mount -t tmpfs container /run/container && mkdir /run/container/data &&
        mount --bind $M/$1 /run/container/data && umount $M/$1 && cd / &&
        while :; do date +%N >/run/container/data/beat && sleep 0.2; done" &
    container=$!
    wait_for 20 test -e "$M/$1/beat"
}
kill_quarryd() { systemctl kill --signal=KILL --kill-whom=main quarryd.service; }

try quarry pool create default /dev/vda

# --- units ---
is "systemd listens" "$(systemctl is-active quarry-docker.socket quarry-docker.service)" "active
inactive"
is "only root may connect" "$(stat -c '%a %U' $SOCKET)" "600 root"
is "who connects starts it" "$(ask Plugin.Activate)" '200 {"Implements": ["VolumeDriver"]}'
is "its service runs" "$(systemctl is-active quarry-docker.service)" active
is "a volume is made" "$(create db '"size":"64M","uid":"999","gid":"998","mode":"0750"')" "200 {}"
is "and mounted" "$(mount_for db "$A")" "200 {\"Mountpoint\": \"$M/db\"}"
is "nothing is in it, and its owner is as asked for" "$(ls -A $M/db) $(stat -c '%u %g %a' $M/db)" " 999 998 750"

# --- IDs ---
is "again, for the same" "$(mount_for db "$A")" "200 {\"Mountpoint\": \"$M/db\"}"
is "for another" "$(mount_for db "$B")" "200 {\"Mountpoint\": \"$M/db\"}"
is "it is mounted once" "$(volume_mounts)" 1
is "no longer for the one" "$(unmount_for db "$A")" "200 {}"
ok "it is still mounted" mounted db
kill_quarryd
is "quarryd was killed: who connects waits for the next one" "$(path_of db)" "200 {\"Mountpoint\": \"$M/db\"}"
is "which knows for whom it is mounted" "$(unmount_for db "$A")" "200 {}"
ok "still mounted" mounted db
is "no longer for the other" "$(unmount_for db "$B")" "200 {}"
ok "unmounted" unmounted db
is "and free to be removed at once" "$(remove db)" "200 {}"
is "it is gone" "$(quarry ls --no-legend)" ""
is "an ID that nobody knows is no failure" "$(create db '"size":"64M","encrypt":"true"'; unmount_for db "$B")" "200 {}
200 {}"
for ((i = 0; i < 3; i++)); do
    mount_for db "$A" >/dev/null && unmount_for db "$A" >/dev/null && remove db >/dev/null &&
        create db '"size":"64M","encrypt":"true"' >/dev/null
done
is "mounted, unmounted and removed in a row" "$? $(quarry ls --no-legend -o name,key | xargs)" "0 db host"

# --- a container ---
try mount_for db "$A"
container db
like "while a container uses it, it is not removed" "$(remove db)" '^409 .*in use: .*in the mount namespace'
refused "nor unmounted by hand" 4 'mounted at /run/container/data in the mount namespace' quarry umount db
kill_quarryd
is "nor by a second start of the engine, which has forgotten it" "$(ask Plugin.Activate)" '200 {"Implements": ["VolumeDriver"]}'
is "an Unmount too many" "$(unmount_for db "$A")" "200 {}"
ok "takes only the mount of the host" unmounted db
beat=$(nsenter --target "$container" --mount cat /run/container/data/beat)
sleep 1
ok "the container goes on" test "$beat" != "$(nsenter --target "$container" --mount cat /run/container/data/beat)"
ok "and nobody can write below it" bash -c "! touch $M/db/x 2>/dev/null"
is "mounted again beside it: the same files" "$(mount_for db "$B"; wait_for 5 test -e $M/db/beat && echo there)" "200 {\"Mountpoint\": \"$M/db\"}
there"
end $container
is "the container ended, and its ID was forgotten: it can be removed all the same" "$(remove db)" "200 {}"

# --- with an administrator ---
try create db '"size":"64M"'
try quarry mount db
try mount_for db "$A"
try unmount_for db "$A"
ok "what an administrator mounted stays" mounted db
like "and is not removed" "$(remove db)" "^409 .*mounted at $M/db.*quarry umount db"
try quarry umount db
is "unmounted, it is" "$(remove db)" "200 {}"

# --- sockets come and go ---
try systemctl restart quarryd.service
is "quarryd was restarted" "$(ask VolumeDriver.List)" '200 {"Volumes": []}'
try systemctl stop quarry-docker.socket
ok "the socket was stopped: nobody is served" bash -c "[ ! -e $SOCKET ] && ! systemctl -q is-active quarry-docker.service"
try systemctl start quarry-docker.socket
is "and started again" "$(ask VolumeDriver.List)" '200 {"Volumes": []}'
try systemctl restart quarry-docker.socket
is "restarted" "$(ask VolumeDriver.List)" '200 {"Volumes": []}'
for i in {1..10}; do
    kill_quarryd
    [ "$(ask VolumeDriver.List)" = '200 {"Volumes": []}' ] || break
done
is "quarryd was killed $i times, and everybody was served" "$i $(systemctl is-failed quarry-docker.socket)" "10 active"

# --- a tenant ---
useradd --no-create-home alice
as() { setpriv --reuid="$1" --regid="$(id -g "$1")" --init-groups -- "${@:2}"; }
try quarry tenant create acme --user alice
try systemctl enable --quiet --now quarry-docker@acme.socket
SOCKET=/run/docker/plugins/quarry-acme.sock
is "a tenant's driver: its volumes alone" "$(create db '"size":"64M"'; ask VolumeDriver.List | sed 's/,.*//')" '200 {}
200 {"Volumes": [{"Name": "db"'
is "whose they are" "$(quarry ls --no-legend -o name | xargs)" "acme/db"
is "a member is served" "$(as alice python3 "$PLUGIN" /run/quarry/docker/acme.sock VolumeDriver.Mount "{\"Name\":\"db\",\"ID\":\"$A\"}")" '200 {"Mountpoint": "/run/quarry/mnt/acme/db"}'
is "whose ids are the host's" "$(unmount_for db "$A"; stat -c %u /run/quarry/mnt/acme/db)" "200 {}
0"

# --- without root ---
chmod 0700 /run/docker # as Docker makes it
SOCKET=/run/quarry/docker/acme.sock
# An engine of alice's, root of a user namespace where her containers are; it keeps a mount namespace, too.
rootless() { PYTHONDONTWRITEBYTECODE=1 "$(dirname "$0")/rootless" alice "$@"; }
is "an engine without root makes a volume" "$(rootless python3 "$PLUGIN" $SOCKET VolumeDriver.Create '{"Name":"hers","Opts":{"size":"64M"}}')" "200 {}"
is "which is its containers' root's" "$(json '.volumes[0] | [.uid, .gid] | tostring' quarry inspect acme/hers)" "[0,0]"
is "mounted, it shows their ids" "$(rootless sh -c "python3 $PLUGIN $SOCKET VolumeDriver.Mount '{\"Name\":\"hers\",\"ID\":\"$A\"}' &&
    cd /run/quarry/mnt/acme/hers && stat -c %u:%g . && echo hello >own && touch www && chown 33:33 www && stat -c %u:%g own www")" "200 {\"Mountpoint\": \"/run/quarry/mnt/acme/hers\"}
0:0
0:0
33:33"
is "which are alice's on the host" "$(stat -c %U:%u /run/quarry/mnt/acme/hers /run/quarry/mnt/acme/hers/www | xargs)" "alice:$(id -u alice) UNKNOWN:100032"
like "root's engine is told, instead of being shown hers" "$(mount_for hers "$B")" '^409 .*mounted at /run/quarry/mnt/acme/hers for a rootless'
is "unmounted" "$(rootless python3 "$PLUGIN" $SOCKET VolumeDriver.Unmount "{\"Name\":\"hers\",\"ID\":\"$A\"}")" "200 {}"
is "root's engine sees whose they are" "$(mount_for hers "$B" >/dev/null; stat -c %u /run/quarry/mnt/acme/hers/own /run/quarry/mnt/acme/hers/www | xargs; unmount_for hers "$B")" "0 33
200 {}"
try quarry mount acme/hers
like "and hers is told, when it is mounted with the host's ids" "$(rootless python3 "$PLUGIN" $SOCKET VolumeDriver.Mount "{\"Name\":\"hers\",\"ID\":\"$A\"}")" '^409 .*mounted at /run/quarry/mnt/acme/hers with other ids than those of this rootless.*try: quarry umount acme/hers'
try quarry umount acme/hers
is "nobody else" "$(as nobody python3 "$PLUGIN" $SOCKET VolumeDriver.List)" "403 {\"Err\": \"user $(id -u nobody) is no member of tenant acme\"}"
try systemctl enable --quiet quarryd.service
ok "doctor has nothing to say" quarry doctor

# --- a name that no tenant can have ---
try systemctl start quarry-docker@Bad_Name.socket
SOCKET=/run/docker/plugins/quarry-Bad_Name.sock
is "who asks its driver does not wait in vain" "$(ask VolumeDriver.List 2>&1 | grep -i timed)" ""
ok "it is not there any more" test ! -e $SOCKET
like "and the journal says why" "$(journalctl -b -o cat -u quarry-docker@Bad_Name.service)" 'tenant name "Bad_Name" is not valid'

finish
