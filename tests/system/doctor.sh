#!/bin/bash
# quarry doctor finds each damage that is done here on purpose, says in a sentence what it is and what to do, repairs
# what is safe to repair, and then says that all is well.
# machine: --disk 2G --disk 256M
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

well() { exits "$1" 0 quarry doctor; like "and says so" "$out" '^All is well: [0-9]+ pools, [0-9]+ volumes\.$'; }
finds() { # WHAT REGEX: and nothing else
    exits "$1: found" 1 quarry doctor
    like "with a sentence" "$out" "$2"
    is "as the only one" "$(quarry doctor --json | jq '.findings | length')" 1
}
fixes() { # REGEX
    exits "repaired with --fix" 0 quarry doctor --fix
    like "and said" "$out" "$1"$'.*\n  fixed'
    well "then all is well"
}

exits "without any pool: only that a unit is not enabled" 1 quarry doctor
like "says which and what to do" "$out" $'quarryd.service: .*not enabled.*\n  what to do: systemctl enable quarryd.service'
try systemctl --quiet enable quarryd.service
well "without any pool all is well"

try quarry pool create default /dev/vda
try quarry create db --size 64M
try quarry create vault --size 64M --encrypt
try quarry create raw --size 16M --fs none
try quarry mount db
try quarry mount vault
try quarry mount raw
pool=$(pool_uuid) vault=$(volume_uuid vault)
well "volumes that are open and mounted are fine"
is "in JSON too" "$(quarry doctor --json | jq -c '[.version, .findings, .pools, .volumes]')" '[1,[],1,3]'
refused "only an administrator may ask" 6 'ermission denied|administrator' setpriv --reuid=65534 --regid=65534 --clear-groups quarry doctor

# --- what nobody owns ---
stray=11111111-2222-4333-8444-555555555555
try dmsetup message "quarry-$pool" 0 "create_thin 4711"
finds "a thin device that no catalog knows" "default:4711: thin device 4711 of pool default belongs to no volume"
exits "is not deleted: there may be something in it" 1 quarry doctor --fix
ok "it is there" eval 'thin_ids | grep -x 4711'
try dmsetup create "quarry-$stray" --uuid "QUARRY-$pool-thin-$stray" --table "0 32768 thin /dev/mapper/quarry-$pool 4711"
is "its device is a finding of its own" "$(quarry doctor --json | jq -c '[.findings[].kind] | sort')" '["strayDevice","thinWithoutVolume"]'
sleep 1000 3<"/dev/mapper/quarry-$stray" &
holder=$!
exits "with --fix, while somebody uses it" 1 quarry doctor --fix
like "it is left alone" "$out" "quarry-$stray: .*it is in use"$'\n  what to do: it is in use'
ok "and is there" dmsetup info "quarry-$stray"
end $holder
exits "once it is free" 1 quarry doctor --fix
not_ok "it is closed" dmsetup info "quarry-$stray"
try sh -c "$(quarry doctor --json | jq -r '.findings[0].hint' | sed 's/^[^:]*: //')"
well "what the hint says ends it"

mkdir -p /run/quarry/mnt/default/gone && chattr +i /run/quarry/mnt/default/gone
finds "a mount point of a volume that is gone" "/run/quarry/mnt/default/gone: .*belongs to no volume"
fixes "/run/quarry/mnt/default/gone"
mkdir -p /run/quarry/mnt/default/gone@s && chattr +i /run/quarry/mnt/default/gone@s
finds "and of a snapshot that is" "/run/quarry/mnt/default/gone@s: .*belongs to no volume"
fixes "/run/quarry/mnt/default/gone@s"
mount -t tmpfs tmpfs /run/quarry/mnt/default/raw 2>/dev/null || { mkdir -p /run/quarry/mnt/default/raw && mount -t tmpfs tmpfs /run/quarry/mnt/default/raw; }
finds "something else is mounted at a volume's place" "/run/quarry/mnt/default/raw: .*is not the volume"
umount /run/quarry/mnt/default/raw && rmdir /run/quarry/mnt/default/raw
echo QUARRY_NAME=x >"/run/quarry/udev/quarry-$stray"
finds "a description of a device that is gone" "quarry-$stray: a description for udev"
fixes "quarry-$stray"
touch "/run/quarry/lock/$stray"
finds "the lock of a pool that is gone" "$stray: a lock file is left"
fixes "$stray"

# --- a device that bears our name ---
try quarry umount vault
try dmsetup create "quarry-$vault-crypt" --table "0 2048 linear /dev/vdb 0"
finds "a device with the name of a volume's encryption" "quarry-$vault-crypt: .*sits on /dev/vdb; nobody uses it"
exits "is not ours to take away" 1 quarry doctor --fix
try sh -c "$(quarry doctor --json | jq -r '.findings[0].hint' | sed 's/.*: //')"
well "what the hint says ends it"

# --- the pool ---
metadata=$(pool_part metadata) data=$(pool_part data)
try lvreduce -q -f -y --fs ignore -L 1G "$data"
finds "a logical volume made smaller beneath the pool" "default: the logical volume for the pool's data was made smaller, to 1G"
try lvextend -q --fs ignore -l +100%FREE "$data"
well "with its size it is well again"
# From the metadata goes what the catalog has: the volume is closed first.
id=$(dmsetup table "quarry-$(volume_uuid raw)" | cut -d' ' -f5)
try quarry umount raw
try dmsetup message "quarry-$pool" 0 "delete $id"
finds "a volume without its thin device" "raw: the catalog of pool default has this volume, and the pool has no thin device $id: its contents are lost"$'\n  what to do: quarry rm raw'
try quarry rm raw
well "removed, all is well"
try quarry pool create file --file /var/lib/quarry/file.img --size 400M
loop=$(losetup -f --show /var/lib/quarry/file.img)
finds "a pool's file that is attached twice" "(/dev/)?${loop#/dev/}: the file of pool file is attached a second time|/dev/loop[0-9]+: the file of pool file"
try losetup -d "$loop"
wait_for 30 eval '! losetup "$loop"' # udev may look into it just then
try quarry pool rm file
well "nothing is left of a pool that was removed"

# --- the set-up ---
mv /var/lib/quarry/host-key /var/lib/quarry/host-key.away
finds "a host key that is not there" "host key: "
cp /var/lib/quarry/host-key.away /var/lib/quarry/host-key
chmod 0644 /var/lib/quarry/host-key
finds "one that everybody can read" "host key: .*must be a file of root that nobody else can read"
mv /var/lib/quarry/host-key.away /var/lib/quarry/host-key
rules=$(find /usr/lib/udev/rules.d /etc/udev/rules.d -name 59-quarry.rules)
mv "$rules" /var/lib/
finds "udev rules that are not installed" "59-quarry.rules: .*not installed"
mv /var/lib/59-quarry.rules "$rules"
echo nonsense >"/var/lib/quarry/pools/$stray"
finds "an entry of the list of pools that cannot be read" "$stray: this entry of the list of pools cannot be read"
rm "/var/lib/quarry/pools/$stray"
well "in the end all is well"

# --- the disks are gone ---
try quarry umount db
try systemctl stop quarryd.service quarryd.socket
ok "the last worker ends" wait_for 20 eval '! systemctl list-units --no-legend "quarry-worker@*" "quarry-thaw@*" | grep .'
try dmsetup message "quarry-$pool" 0 reserve_metadata_snap # as a doctor has it when the power goes
try /usr/lib/quarry/quarry-worker --close-pools
dd if=/dev/vda of=/var/lib/label bs=1M count=1 status=none
dd if=/dev/zero of=/dev/vda bs=1M count=1 conv=fsync status=none
try systemctl start quarryd.socket quarryd.service
finds "a pool without its disks" "default: the pool is not active: .*not there"
dd if=/var/lib/label of=/dev/vda conv=fsync status=none
udevadm trigger --settle /dev/vda
ok "opened again, it has no snapshot of the metadata any more" wait_for 40 eval '[ "$(dmsetup status --noflush "quarry-$pool" | cut -d" " -f7)" = - ]'
ok "with its disks it comes back" wait_for 40 eval 'quarry doctor && [ "$(quarry ls --no-legend -o name | sort | xargs)" = "db vault" ]'

finish
