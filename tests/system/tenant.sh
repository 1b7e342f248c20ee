#!/bin/bash
# Tenants: their members make, use and remove volumes without root, within limits, and others do not see them.
# machine: --disk 3G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

for user in alice bob eve; do useradd --no-create-home "$user"; done
groupadd acme-ops
as() { setpriv --reuid="$1" --regid="$1" --init-groups -- "${@:2}"; }
try quarry pool create default /dev/vda

# --- making one ---
exits "a tenant is made" 0 quarry tenant create acme --user alice --group acme-ops --max-volumes 3 --max-size 300M --max-snapshots 2
is "and its name printed" "$out" acme
try quarry tenant create beta --user bob
refused "a user who does not exist" 2 'neither a user' quarry tenant create gone --user nobody-here
refused "a group that does not exist" 2 'neither a group' quarry tenant create gone --group nobody-here
refused "one that is there" 7 'exists already' quarry tenant create acme
refused "the default one" 2 "root's" quarry tenant create default
refused "one without a name" 2 'name' quarry tenant create ''
refused "members cannot make any" 6 'administrators' as alice quarry tenant create own
like "ls shows what they have and may have" "$(quarry tenant ls)" 'acme +0 +3 +0 +2 +0B? +300M +- +- +alice'
is "a member sees the own" "$(as alice quarry tenant ls --no-legend -o name | xargs)" acme
is "and others none" "$(as eve quarry tenant ls --no-legend -o name | xargs)" ""
refused "nor by its name" 3 'no tenant' as bob quarry tenant inspect acme

# --- what a member does ---
exits "a member creates a volume" 0 as alice quarry create db --size 100M
is "in the own tenant" "$(json '.volumes[0].tenant' quarry inspect acme/db)" acme
exits "mounts it" 0 as alice quarry mount db
is "at its standard place" "$out" /run/quarry/mnt/acme/db
ok "and writes there, without root" as alice sh -c 'echo hello >/run/quarry/mnt/acme/db/file && sync'
ok "but others do not read it" bash -c "! setpriv --reuid=eve --regid=eve --init-groups cat /run/quarry/mnt/acme/db/file 2>/dev/null"
exits "takes a snapshot while it is in use" 0 as alice quarry snapshot db@one
exits "grows it" 0 as alice quarry resize db +50M
is "which counts" "$(json '.tenants[0].sizeBytes' quarry tenant inspect acme)" $((150 << 20))
exits "clones" 0 as alice quarry clone db@one copy
exits "uses the clone" 0 as alice quarry mount acme/copy
is "which has the file" "$(as alice cat /run/quarry/mnt/acme/copy/file)" hello
is "lists all that" "$(as alice quarry ls --type all --no-legend -o name | sort | xargs)" "acme/copy acme/db acme/db@one"
usermod -aG acme-ops eve
is "so does a new member of the group" "$(as eve quarry ls --no-legend -o name | sort | xargs)" "acme/copy acme/db"
gpasswd -d eve acme-ops >/dev/null
is "as long as it is one" "$(as eve quarry ls --no-legend -o name | xargs)" ""
printf sesame >/tmp/key
chown alice /tmp/key
exits "encrypts with an own passphrase" 0 as alice quarry create vault --size 40M --key passphrase --key-file /tmp/key
exits "opens it" 0 as alice quarry mount vault --key-file /tmp/key
ok "writes into it" as alice sh -c 'echo secret >/run/quarry/mnt/acme/vault/file'
exits "and closes it" 0 as alice quarry umount vault

# --- what others do not ---
for verb in "inspect acme/db" "mount acme/db" "umount acme/db" "rm -y acme/db" "resize acme/db +10M" "snapshot acme/db@x" "rename acme/db x" \
    "update acme/db --label a=b" "clone acme/db@one mine" "rollback acme/db@one" "trim acme/db" "inspect $(volume_uuid acme/db)"; do
    # shellcheck disable=SC2086
    refused "$verb by another tenant's" 3 'there is no volume' as bob quarry $verb
done
refused "nor makes anything for it" 6 'may not create' as bob quarry create acme/intruder --size 16M
refused "nor clones into it" 3 'there is no volume' as bob quarry clone acme/db@one acme/intruder
refused "nor out of it" 6 'may not create' as alice quarry clone db@one beta/stolen
refused "names do not cross" 2 '' as alice quarry inspect acme/../beta/db
for folder in /run/quarry/mnt /run/quarry/mnt/acme /dev/quarry /dev/quarry/acme /run/quarry/udev; do
    ok "$folder is not listed by them" bash -c "[ -d $folder ] && ! setpriv --reuid=bob --regid=bob --init-groups ls $folder 2>/dev/null"
done
like "what runs is not seen" "$(as bob quarry ls --type all)" '^NAME[^\n]*$'

# --- limits ---
refused "one volume too many" 5 'may have 3 volumes, has 3' as alice quarry create more --size 16M
is "and nothing of it is there" "$(quarry exists acme/more; echo $?)" 3
exits "one less" 0 as alice quarry rm -y vault
refused "too large" 5 'may have 300M in volumes' as alice quarry create more --size 100M
refused "too large by growth" 5 'may have 300M in volumes' as alice quarry resize db +100M
try as alice quarry snapshot db@two
refused "one snapshot too many" 5 'may have 2 snapshots' as alice quarry snapshot db@three
refused "a limit below what is there" 2 'below that' quarry tenant update acme --max-size 100M
exits "an administrator raises it" 0 quarry tenant update acme --max-size 1G --max-snapshots none
exits "then it goes" 0 as alice quarry resize db +100M
try as alice quarry snapshot db@three
try quarry tenant update beta --max-size 160M
seq 32 | xargs -P 32 -I N setpriv --reuid=bob --regid=bob --init-groups quarry create rN --size 16M >/dev/null 2>/tmp/refusals
is "with one, exactly what it allows" "$(as bob quarry ls --no-legend -o name | wc -l) $(grep -c 'may have 160M in volumes' /tmp/refusals)" "10 22"

# --- schedule, restart, end ---
try quarry tenant update acme --snapshot-schedule 'daily keep 2'
is "its volumes have its schedule" "$(json '.volumes[0].scheduleRules[].expression' quarry inspect acme/db)" daily
systemctl restart quarryd
is "after a restart all is as before" "$(as alice quarry ls --no-legend -o name | sort | xargs)" "acme/copy acme/db"
is "limits, too" "$(json '.tenants[0] | [.maxVolumes, .maxSizeBytes, .maxSnapshots, .snapshotSchedule]' quarry tenant inspect acme | jq -c)" '[3,1073741824,null,"daily keep 2"]'
refused "a tenant that owns something stays" 4 'owns 2 volumes' quarry tenant rm acme
try quarry tenant update acme --remove-user alice
refused "who is no member any more sees nothing" 3 'there is no volume' as alice quarry inspect acme/db
try quarry umount acme/db acme/copy
try quarry rm -y --snapshots acme/db acme/copy
exits "one that owns nothing goes" 0 quarry tenant rm acme
refused "for good" 3 'no tenant acme' quarry tenant inspect acme
refused "and nothing is made for it" 3 'no tenant acme' quarry create acme/db --size 16M

finish
