#!/bin/bash
# What a crashed container or a foreign mount namespace left behind is named, let go lazily, and goes with its last
# user. What bears a name of ours and is not ours is neither used nor touched.
# machine: --disk 2G --disk 256M
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

root=/run/quarry/mnt/default
id=$(sha256sum </etc/hostname | cut -d' ' -f1)
group=/sys/fs/cgroup/docker-$id.scope
gone() { ! dmsetup info "quarry-$1" && ! dmsetup info "quarry-$1-crypt"; }

# A process in a mount namespace of its own, private, and in the cgroup of a container: $holder.
mkdir "$group"
leak() { # it keeps what is mounted now
    rm -f /tmp/leaked
    unshare --mount --propagation private sh -c 'touch /tmp/leaked; exec sleep 1000' &
    holder=$!
    wait_for 10 test -e /tmp/leaked
    echo $holder >"$group/cgroup.procs"
    namespace=$(readlink /proc/$holder/ns/mnt)
}
who() { echo "mounted at $root/$1 in the mount namespace ${namespace//[\[\]]/.} of sleep \(pid $holder, container ${id:0:12}\)"; }

try quarry pool create default /dev/vda
try quarry create db --size 64M
try quarry create vault --size 64M --encrypt
try quarry mount db
try quarry mount vault
echo kept >$root/db/file
db=$(volume_uuid db) vault=$(volume_uuid vault)

# --- umount, where another namespace has it ---
leak
exits "umount of what another mount namespace has" 0 quarry umount db
like "says who keeps it open" "$err" "db is unmounted, and stays open: $(who db)"
refused "rm names pid, command, container and namespace" 4 "$(who db)" quarry rm db
like "and offers --lazy" "$err" 'quarry rm --lazy db'
exits "umount --lazy" 0 quarry umount --lazy vault
like "says who keeps it" "$err" "vault is unmounted, and stays open: $(who vault)"
ok "its devices are there as long as they are used" dmsetup info "quarry-$vault-crypt"
end $holder
ok "they go with the last user, without anybody's doing" wait_for 5 gone "$vault"
ok "what was unmounted without --lazy is closed too" wait_for 30 gone "$db"

# --- umount --lazy of what a process is in; and mounting it again meanwhile ---
try quarry mount db
(cd $root/db && exec sleep 1000) &
holder=$!
wait_for 5 eval "[ \"\$(readlink /proc/$holder/cwd)\" = $root/db ]"
refused "umount while a process is in it offers --lazy" 4 "sleep \(pid $holder.*quarry umount --lazy db" quarry umount db
exits "umount --lazy" 0 quarry umount --lazy db
like "names the process" "$err" "db is unmounted, and stays open: used by sleep \(pid $holder"
is "the mount is gone" "$(volume_mounts)" 0
is "the process keeps its files" "$(cat /proc/$holder/cwd/file)" kept
exits "it can be mounted again meanwhile" 0 quarry mount db
is "with the same files" "$(cat $root/db/file)" kept
end $holder
ok "and stays when that process ends" test "$(cat $root/db/file)" = kept
try quarry umount db
ok "until it is unmounted" wait_for 5 gone "$db"
mkdir -p /srv/db
try quarry mount db /srv/db
(cd /srv/db && exec sleep 1000) &
holder=$!
wait_for 5 eval "[ \"\$(readlink /proc/$holder/cwd)\" = /srv/db ]"
exits "umount --lazy of a place of one's own" 0 quarry umount --lazy /srv/db
not_ok "takes the mount away" mountpoint -q /srv/db
end $holder
ok "and the volume is closed when the process ends" wait_for 30 gone "$db"

# --- rm --lazy ---
try quarry mount db
try quarry mount vault
leak
exits "rm --lazy of what is in use" 0 quarry rm --lazy db vault
is "prints the names" "$out" $'db\nvault'
like "says who uses it" "$err" "db goes when its last user does: $(who db)"
is "it is listed as being removed" "$(quarry ls --no-legend -o name,state | xargs)" "db removing vault removing"
refused "it cannot be mounted any more" 1 'db is removing: it is in use, and goes when it is not' quarry mount db
refused "nor is it removed at once" 4 "$(who db)" quarry rm db
is "its user keeps it" "$(nsenter -t $holder -m cat $root/db/file)" kept
try systemctl kill -s KILL --kill-whom=main quarryd
ok "after a restart of the daemon it waits on" wait_for 30 eval '[ "$(quarry ls --no-legend -o name,state | xargs)" = "db removing vault removing" ]'
is "with its user" "$(nsenter -t $holder -m cat $root/db/file)" kept
end $holder
ok "when that ends, it is gone" wait_for 60 eval '[ -z "$(quarry ls --no-legend)" ]'
ok "no thin device is left" no_thin_device_is_left
is "no device" "$(volume_devices)" ""
is "no mount point" "$(find /run/quarry/mnt -mindepth 2)" ""
is "no description for udev" "$(ls /run/quarry/udev)" ""
rmdir "$group"

# --- a process that has a file of a filesystem whose server is silent, as a dead NFS server is ---
try quarry create db --size 64M
mkdir /srv/silent
python3 "$(dirname "$0")/silent-filesystem" /srv/silent &
silent=$!
wait_for 10 grep -q " /srv/silent " /proc/self/mountinfo
(cd "$(quarry mount db)" && exec sleep 1000) &
holder=$!
wait_for 5 eval "[ \"\$(readlink /proc/$holder/cwd)\" = $root/db ]"
ok "that filesystem answers nobody" eval '! timeout -s KILL 1 stat -f /srv/silent'
refused "who holds a volume is found nevertheless" 4 "sleep \(pid $holder" timeout 30 quarry umount db
end $holder
exits "and the volume is unmounted" 0 timeout 30 quarry umount db
try quarry rm db
end $silent

# --- a mapping of our name that is not ours ---
try quarry create vault --size 64M --encrypt
try wait_for 30 nothing_waits_to_be_closed
vault=$(volume_uuid vault)
sectors=$(blockdev --getsz /dev/vdb)
before=$(bytes_of /dev/vdb)
try dmsetup create "quarry-$vault-crypt" --table "0 $sectors linear /dev/vdb 0"
refused "a device of our name that is no LUKS mapping is not used" 1 "quarry-$vault-crypt.* sits on /dev/vdb" quarry mount vault
refused "nor closed" 1 "sits on /dev/vdb" quarry rm vault
try dmsetup remove "quarry-$vault-crypt"
# One of LUKS2, and of the very UUID, over another disk.
table="0 $((sectors - 8)) crypt aes-xts-plain64 $(printf '0%.0s' {1..128}) 0 /dev/vdb 8"
try dmsetup create "quarry-$vault-crypt" --uuid "CRYPT-LUKS2-${vault//-/}-quarry-$vault-crypt" --table "$table"
refused "nor is a mapping of our UUID over another device" 1 "quarry-$vault-crypt.* sits on /dev/vdb" quarry mount vault
refused "nor closed" 1 "sits on /dev/vdb" quarry rm vault
sleep 12 # by then it was looked at whether somebody uses the volume
ok "nor taken away later" dmsetup info "quarry-$vault-crypt"
is "nothing was mounted" "$(volume_mounts)" 0
is "and not a byte was written there" "$(bytes_of /dev/vdb)" "$before"
try dmsetup remove "quarry-$vault-crypt"
exits "without it the volume mounts" 0 quarry mount vault

finish
