#!/bin/bash
# Backups when things go wrong: a repository that is full, damaged, or in use; who is killed; what was scheduled; keys
# that change; another host.
# machine: --disk 2G --disk 2G --disk 1G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

root=/run/quarry/mnt/default
printf '[Encryption]\nArgon2Memory=32M\nArgon2Iterations=4\n' >/etc/quarry/quarry.conf.d/cheap.conf
try quarry pool create default /dev/vda
mkfs.ext4 -q -m 0 /dev/vdc && mkdir /media/backup && mount /dev/vdc /media/backup
repository=/media/backup/repository
echo -n 'correct horse' >/root/passphrase && chmod 0600 /root/passphrase
sum() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum); }
ids() { quarry backup ls --json "$@" | jq -r '.backups[].id'; }
count() { ids "$@" | wc -l; }
objects() { find $repository/data -type f 2>/dev/null | wc -l; }
images() { quarry ls --type snapshot --no-legend -o name; }
write() { dd if=/dev/urandom of="$1" bs=1M count="$2" status=none && sync -f "$1"; } # FILE MEGABYTES

try quarry backup target add disk file://$repository --key host --key-file /root/passphrase
try quarry create db --size 160M
try quarry mount db
write $root/db/a 20
try quarry backup run db
one=$(ids)

# --- somebody else's snapshot that is called so ---
quarry snapshot db@backup-0123456789abcdef >/dev/null
forged=$(images | grep -v 0123)
try quarry rm --yes "$forged"
try quarry snapshot "$forged"
exits "a backup beside snapshots that only look like those of backups" 0 quarry backup run db
is "does not build on one" "$(quarry backup ls --json | jq -r ".backups[] | select(.id == \"${out%% *}\").parent")" null
is "and leaves them alone" "$(images | wc -l)" 3
try quarry rm --yes db@backup-0123456789abcdef "$forged"

# --- its own snapshot has a journal to be replayed, is looked at, and gone back to ---
for fs in ext4 xfs; do
    try quarry create j --size 320M --fs $fs
    try quarry mount j
    write $root/j/a 8
    exec 9>$root/j/unlinked
    dd if=/dev/urandom bs=1M count=3 status=none >&9
    rm $root/j/unlinked
    try quarry backup run j
    exec 9>&-
    image=j@backup-${out%% *}
    try quarry mount -o ro "$image" /mnt
    ok "$fs: a snapshot of a backup can be read" cmp /mnt/a $root/j/a
    umount /mnt
    exits "$fs: and stays what was backed up" 0 quarry backup verify --deep "${image#*backup-}"
    try quarry umount j
    try quarry rollback --yes --discard-current "$image"
    try quarry mount j
    write $root/j/b 2
    before=$(sum $root/j)
    exits "$fs: what builds on it" 0 quarry backup run j
    last=${out%% *}
    try quarry umount j
    exits "$fs: is proven" 0 quarry backup verify --deep "$last"
    try quarry backup restore "$last" k
    try quarry mount k
    is "$fs: and what there was" "$(sum $root/k)" "$before"
    try quarry umount k
    try quarry rm --yes --snapshots j k
done

# --- killed at every stage: nothing half, and the next is as good as ever ---
write $root/db/b 24
for after in 0.4 1 2; do
    quarry backup run db >/dev/null 2>&1 &
    sleep $after
    kill -9 $! 2>/dev/null
    wait $!
done 2>/dev/null
write $root/db/c 1
before=$(sum $root/db)
exits "a backup behind three that were killed" 0 quarry backup run db
last=${out%% *}
is "one snapshot stays" "$(images)" "db@backup-$last"
exits "all of each is there" 0 quarry backup verify
exits "it is proven" 0 quarry backup verify --deep "$last"
(quarry backup restore "$last" half >/dev/null 2>&1 & sleep 1; kill -9 $!) 2>/dev/null
is_gone() { ! quarry exists half; }
ok "half a restore becomes nothing" wait_for 30 is_gone
quarry backup verify --deep "$last" >/dev/null 2>&1 & sleep 3; kill -9 $! 2>/dev/null; wait $! 2>/dev/null
exits "a proof behind one that was killed" 0 quarry backup verify --deep "$last"
is "no temporary volume stays" "$(quarry ls --no-legend -o name)" db

# --- side by side ---
try quarry create www --size 100M
try quarry mount www
write $root/www/a 10
quarry backup run db >/run/1 2>&1 & first=$!
quarry backup run www >/run/2 2>&1 & second=$!
quarry backup restore "$one" side >/run/3 2>&1 & third=$!
wait $first; is "a backup beside another" "$?" 0
wait $second; is "and that" "$?" 0
wait $third; is "and a restore beside both" "$?" 0
quarry backup run db >/run/1 2>&1 & first=$!
quarry backup run db >/run/2 2>&1 & second=$!
wait $first; is "two of one volume" "$?" 0
wait $second; is "one behind the other" "$?" 0
is "of which one snapshot stays" "$(images | grep -c '^db@')" 1
quarry backup verify --deep "$last" >/dev/null 2>&1 & busy=$!
sleep 1.5
refused "prune while somebody reads" 4 'the repository is in use: quarry backup verify, process [0-9]+ on' quarry backup prune --yes --keep '1 last'
wait $busy; is "who was reading did not notice" "$?" 0
try quarry rm --yes side

# --- what is removed ---
before_objects=$(objects)
exits "prune says what would go" 0 quarry backup prune --dry-run --keep '1 last'
n=$(count)
ok "more than one" [ "$(wc -l <<<"$out")" -gt 1 ]
is "and nothing went" "$(objects)" "$before_objects"
exits "prune" 0 quarry backup prune --yes --keep '1 last'
ok "there are fewer" [ "$(count)" -lt "$n" ]
ok "and fewer objects" [ "$(objects)" -lt "$before_objects" ]
is "the one that was proven stays" "$(ids | grep -c "$last")" 1
exits "all of what stays is there" 0 quarry backup verify
refused "a retention that is none" 2 '7 daily, 4 weekly' quarry backup prune --keep '7 fortnightly'

# --- folders and locks that are not what they were ---
at=$(date +%s)
date -s "@$((at + 99999999))" >/dev/null
try quarry backup run www
date -s "@$((at + 9))" >/dev/null
try quarry backup run www
exits "a retention, behind one of a time that is not yet" 0 quarry backup prune --yes --keep '1 last' www
is "which does not take the place of the last" "$(count www)" 2
mv $repository/backups /media/backup/elsewhere && ln -s /media/backup/elsewhere $repository/backups
before_objects=$(objects)
refused "a folder that is a link is not read as empty" 1 'cannot list backups' quarry backup prune --yes
is "so nothing goes" "$(objects)" "$before_objects"
rm $repository/backups && mv /media/backup/elsewhere $repository/backups
try quarry create clock --size 100M
try quarry mount clock
write $root/clock/a 24
held() { find "$repository/locks" -type f | grep -q .; }
quarry backup run clock >/run/1 2>&1 & busy=$!
wait_for 30 held
date -s "@$(($(date +%s) - 30))" >/dev/null
wait $busy; is "the clock is set back meanwhile" "$?" 0
write $root/clock/a 24
n=$(count)
quarry backup run clock >/run/1 2>&1 & busy=$!
wait_for 30 held
find "$repository/locks" -type f -delete
wait $busy; is "its lock is taken away meanwhile, as another host does whose clock is ahead" "$?" 1
like "says so" "$(</run/1)" 'somebody took this for dead'
is "there is no backup then" "$(count)" "$n"
exits "the next one" 0 quarry backup run clock
exits "and all of each is there" 0 quarry backup verify
try quarry rm --yes --snapshots --lazy clock

# --- the repository is full ---
fallocate -l "$(($(df --output=avail -B1 /media/backup | tail -1) - 6000000))" /media/backup/filler
write $root/db/d 16
n=$(count)
refused "a full repository" 5 'repository .* is full' quarry backup run db
dd if=/dev/zero of=/media/backup/rest bs=4k status=none 2>/dev/null
is "no backup more" "$(count)" "$n"
ok "the volume does not notice" touch $root/db/fine
exits "what there is can be verified, without a byte of room" 0 quarry backup verify
exits "and restored" 0 quarry backup restore "$last" side
exits "and proven" 0 quarry backup verify --deep "$last"
like "which is said, and not kept" "$err" 'not recorded: repository .* is full'
refused "no more is put there" 5 'repository .* is full' quarry backup run db
exits "prune makes room" 0 quarry backup prune --yes
ok "by what the failed run left" [ "$(df --output=avail -B1 /media/backup | tail -1)" -gt 1000000 ]
rmdir $repository/parts # which a copy may lack
mount -o remount,ro /media/backup
exits "what may only be read is restored" 0 quarry backup restore "$last" side2
refused "and not written" 1 'Read-only file system' quarry backup run db
mount -o remount,rw /media/backup
some=$(find $repository/data -type f -size +200k -printf '%T@ %p\n' | sort | head -1 | cut -d' ' -f2)
cp "$some" /run/some
printf '\xff' | dd of="$some" bs=1 seek=100 conv=notrunc status=none
mount -o remount,ro /media/backup
newest=$(ids db | tail -1)
refused "what is damaged there is said to be" 1 DAMAGED quarry backup verify --deep "$newest"
like "also by status" "$(quarry status)" 'db: its last backup is DAMAGED'
mount -o remount,rw /media/backup
cp /run/some "$some"
exits "until it is proven again" 0 quarry backup verify --deep "$newest"
rm /media/backup/filler /media/backup/rest
try quarry rm --yes side side2
exits "with room again" 0 quarry backup run db
unproven=${out%% *}
head -c 2M /dev/urandom >$root/db/more && sync -f $root/db
find $repository/data -type f | sort >/run/before
try quarry backup run db
full=${out%% *}
is "one snapshot of it stays" "$(images | grep '^db@')" "db@backup-$full"

# --- damage ---
# one that came with it, and is no list of others
some=$(comm -13 /run/before <(find $repository/data -type f -size +200k | sort) | head -1)
cp "$some" /run/some
echo child >$root/db/child && sync -f $root/db
try quarry backup run db
child=${out%% *}
printf '\xff' | dd of="$some" bs=1 seek=100 conv=notrunc status=none
refused "a flipped byte is found" 1 'DAMAGED' quarry backup verify --deep "$full"
like "and listed" "$(quarry backup ls --no-legend -o id,proven | grep "$full")" 'DAMAGED'
like "status says so" "$(quarry status)" 'db: its last backup is DAMAGED'
exits "prune" 0 quarry backup prune --dry-run --keep '1 last' db
is "keeps all, of which any may have it" "$out" ""
like "and says so" "$err" 'all backups of db stay: the last is DAMAGED'
refused "what builds on it" 1 'damaged' quarry backup restore "$child" bad
refused "it is not restored" 1 'damaged.*an older backup may not need that' quarry backup restore "$full" bad
not_ok "and nothing of it stays" quarry exists bad
rm "$some"
refused "an object that is gone is found" 1 'is not there' quarry backup verify "$full"
cp /run/some "$some"
printf '\xff' | dd of="$some" bs=1 seek=100 conv=notrunc status=none
exits "the next reads all of it again" 0 quarry backup run db
like "which it says" "$err" 'the last backup of db is DAMAGED: all of it is read again'
full2=${out%% *}
exits "heals what is damaged" 0 quarry backup verify --deep "$full"
try quarry backup verify "$full2"
not_ok "of the last there is nothing to say" grep -q DAMAGED <(quarry status)
like "all is well" "$(quarry backup ls --no-legend -o id,proven | grep "$full")" 'just now'
exits "with a sound one there" 0 quarry backup prune --dry-run --keep '1 last' db
like "the others go" "$out" "$unproven"
exits "all is read when that is asked for" 0 quarry backup run --full db
is "and builds on none" "$(quarry backup ls --json | jq -r ".backups[] | select(.id == \"${out%% *}\") | .parent")" null
cp $repository/backups/*/"$one" /run/one 2>/dev/null
other=$(ids | grep -v "$full" | head -1)
cp "$repository/backups/${other:0:2}/$other" /run/other
dd if=/dev/urandom of="$repository/backups/${other:0:2}/$other" bs=100 count=1 conv=notrunc status=none
exits "a description that cannot be read is told" 1 quarry backup ls
like "with its name" "$err" "$other"
refused "and nothing is removed then" 1 'nothing is removed' quarry backup prune --yes
cp /run/other "$repository/backups/${other:0:2}/$other"
exits "all is well again" 0 quarry backup verify

# --- by themselves ---
refused "a rule that is none" 2 'calendar expression' quarry backup run db --schedule 'whenever keep 3'
exits "a schedule" 0 quarry backup run db www --schedule 'daily keep 2' --prove
like "has a timer" "$(systemctl list-timers --all --no-legend)" 'quarry-backup@disk:daily.timer'
is "in UTC" "$(systemctl show -P TimersCalendar 'quarry-backup@disk:daily.timer' | grep -c 'daily UTC\|00:00:00 UTC')" 1
n=$(count db)
try quarry backup run db www --schedule 'daily keep 2'
for _ in 1 2; do
    try systemctl start 'quarry-backup@disk:daily.service'
done
try quarry backup run db --schedule 'daily keep 2' --prove
exits "its service" 0 systemctl start 'quarry-backup@disk:daily.service'
is "keeps two" "$(quarry backup ls db --json | jq '[.backups[] | select(.rule == "daily")] | length')" 2
is "and proves what is to be" "$(quarry backup ls --json | jq -c '[.backups[] | select(.rule == "daily" and .sound).volume]')" '["db"]'
is "and leaves the others alone" "$(($(count db) - 2))" "$n"
own=$(hostname)
hostname elsewhere
try systemctl start 'quarry-backup@disk:daily.service'
hostname "$own"
is "another host leaves those of this one alone" \
    "$(quarry backup ls db --json | jq '[.backups[] | select(.rule == "daily")] | length')" 3
systemctl stop quarry-backup@disk:daily.service 2>/dev/null
mv $repository /media/backup/away
not_ok "a service whose repository is gone" systemctl start 'quarry-backup@disk:daily.service'
like "status says so" "$(quarry status)" 'db: its last backup to disk failed: .*cannot open repository'
mv /media/backup/away $repository
exits "made by hand" 0 quarry backup run db
not_ok "it is not missed any more" grep -q 'db: its last backup' <(quarry status)
try quarry rename www web
not_ok "what is renamed is not found" systemctl start 'quarry-backup@disk:daily.service'
like "which status says" "$(quarry status)" 'www: .*there is none of that name'
exits "no schedule for it" 0 quarry backup run www --schedule none
refused "nor for what never had one" 3 'no volume nope' quarry backup run nope --schedule none
try quarry rename web www
try quarry backup run www --schedule 'daily keep 2'
exits "back again" 0 systemctl start 'quarry-backup@disk:daily.service'
not_ok "status has forgotten it" grep -q 'last backup' <(quarry status)
under_way() { jq -e '.plans[0] | .volume == "db" and .beganUsec' /etc/quarry/backup/disk.json; }
flock "$(echo /run/quarry/backup/volume-"$(volume_uuid db)"-*)" sleep 60 &
hanging=$!
try systemctl start --no-block 'quarry-backup@disk:daily.service'
ok "one that hangs has begun" wait_for 20 under_way
not_ok "which is well for a while" grep -q 'its .*backup' <(quarry status)
jq '.plans[0].beganUsec -= 7 * 3600 * 1000000' /etc/quarry/backup/disk.json >/run/disk.json
cp /run/disk.json /etc/quarry/backup/disk.json
like "and then is not" "$(quarry status)" 'db: its backup to disk was begun 7 hours ago, and is still under way'
try systemctl kill --signal=KILL 'quarry-backup@disk:daily.service'
ok "one that was killed has ended" wait_for 20 systemctl is-failed 'quarry-backup@disk:daily.service'
like "which is told" "$(quarry status)" 'db: its last backup to disk, begun 7 hours ago, did not come to its end'
end $hanging
exits "the next is made" 0 systemctl start 'quarry-backup@disk:daily.service'
not_ok "and status has forgotten that one, too" grep -q 'last backup' <(quarry status)
exits "no schedule" 0 quarry backup run db www --schedule none
exits "a passphrase through a pipe" 0 \
    bash -c 'printf sesame | quarry backup target add typed file:///media/backup/typed --key passphrase --key-file -'
refused "is not there by itself" 2 'asks for its passphrase on a terminal' quarry backup run db --to typed --schedule 'daily keep 2'
refused "nor for who has no terminal" 6 'no terminal to ask.*add it again, --existing --key-file' quarry backup run db --to typed
refused "which target" 2 'several backup targets, disk, typed' quarry backup run db
try quarry backup target rm typed
exits "a target where no disk is" 0 quarry backup target add here file:///var/backups
like "is told as such" "$err" "lies in this host's root filesystem"
try quarry backup target rm here
is "no timer stays" "$(systemctl list-timers --all --no-legend | grep -c quarry-backup)" 0

# --- keys: none goes that a target, or a backup in it, needs ---
keys() { quarry key status --json | jq '.keys | length'; }
exits "the host key gets a successor" 0 quarry key rotate --yes
like "the old one stays as long as the target needs it" "$err" 'backup target disk is opened by the old host key'
is "so there are two" "$(keys)" 2
exits "the next look gives the target the new one" 0 quarry backup ls
try quarry key rotate --yes
is "then the old one goes, and what was new is old" "$(keys)" 2
try quarry backup ls
try quarry create vault --size 64M --encrypt
try quarry mount vault
echo one >$root/vault/one
try quarry backup run vault
sealed=${out%% *}
exits "the host key gets a successor" 0 quarry key rotate --yes
like "the old one stays as long as the target needs it" "$err" 'backup target disk is opened by the old host key'
exits "a backup of before is what its snapshot is, but for its keys" 0 quarry backup verify --deep "$sealed"
try quarry umount vault
try quarry rollback --yes --discard-current "vault@backup-$sealed"
try quarry mount vault
echo two >$root/vault/two && sync -f $root/vault
before=$(sum $root/vault)
try quarry backup run vault
sealed=${out%% *}
exits "the next look gives the target the new one" 0 quarry backup ls
exits "and another" 0 quarry key rotate --yes
exits "and all is there" 0 quarry backup verify
exits "what builds on a snapshot whose key was wrapped anew has the key as it is now" 0 quarry backup restore "$sealed" opened
try quarry mount opened
is "and all that was in it" "$(sum $root/opened)" "$before"
try quarry umount opened vault
try quarry rm --yes --snapshots opened vault

try quarry create vault --size 64M --encrypt
try quarry key add vault --new-key-file /root/passphrase
try quarry mount vault
echo secret >$root/vault/file && sync -f $root/vault
try quarry backup run vault
old=${out%% *}
exits "another successor" 0 quarry key rotate --yes
like "the one that a backup needs stays" "$err" 'kept'
exits "what changed since" 0 quarry backup run vault
exits "the backup with the old key" 0 quarry backup verify --deep "$old"
exits "is restored" 0 quarry backup restore "$old" vault-old
exits "and opens" 0 quarry mount vault-old
is "with what there was" "$(cat $root/vault-old/file)" secret
exits "the one with the new key is proven, too" 0 quarry backup verify --deep vault
try quarry umount vault vault-old

# --- another host: the repository, the passphrase, nothing else ---
try quarry umount db www
before=$(quarry mount db >/dev/null && sum $root/db)
try quarry backup run db
try quarry umount db
try quarry rm --yes --snapshots db www vault vault-old
try quarry pool rm default
rm -rf /etc/quarry/backup /var/lib/quarry/host-key*
systemctl restart quarryd
try quarry pool create default /dev/vdb
refused "a wrong passphrase" 6 'does not open the repository' quarry backup target add again file://$repository --existing --key-file <(echo -n wrong)
exits "a new host" 0 quarry backup target add again file://$repository --existing --key-file /root/passphrase
exits "restores" 0 quarry backup restore db back
try quarry mount back
is "what there was" "$(sum $root/back)" "$before"
refused "a proof of an encrypted one without its host key takes a passphrase" 6 'nothing is proven.*passphrase' \
    quarry backup verify --deep vault
refused "the right one" 6 'nothing is proven' quarry backup verify --deep vault --key-file <(echo -n wrong)
exits "which opens what was restored" 0 quarry backup verify --deep vault --key-file /root/passphrase
like "whose filesystem is checked, too" "$out" 'its filesystem is sound'
is "and goes again" "$(quarry ls --no-legend -o name)" back
exits "an encrypted one without its host key, but with a passphrase" 0 quarry backup restore vault vault
exits "opens with that" 0 quarry mount vault --key-file /root/passphrase
is "and has what there was" "$(cat $root/vault/file)" secret
finish
