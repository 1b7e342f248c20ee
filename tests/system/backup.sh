#!/bin/bash
# Backups: into a directory and back, what changed alone, on another host, proven, removed; damaged, cut and full.
# machine: --disk 2G --disk 2G --disk 1G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

root=/run/quarry/mnt/default
printf '[Encryption]\nArgon2Memory=32M\nArgon2Iterations=4\n' >/etc/quarry/quarry.conf.d/cheap.conf
try quarry pool create one /dev/vda
try quarry pool create two /dev/vdb
mkfs.ext4 -q /dev/vdc && mkdir /media/backup && mount /dev/vdc /media/backup
repository=/media/backup/repository
sum() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum); }
objects() { find "$repository"/data -type f | wc -l; }
of() { json ".backups[] | select(.id == \"$1\") | $2" quarry backup ls --json; } # of ID MEMBER
snapshots() { quarry ls --type snapshot --no-legend -o name; }

# --- a target ---
refused "a backup without target" 3 'there is no backup target yet' quarry backup run db
refused "a target that is none" 2 'no place for a repository' quarry backup target add disk ftp://host
refused "a target without its directory" 1 'cannot make /nowhere/at/all' quarry backup target add disk file:///nowhere/at/all
exits "backup target add" 0 quarry backup target add disk file://$repository
is "which prints its name" "$out" disk
refused "the same name again" 7 'there is a backup target disk already' quarry backup target add disk file://$repository
refused "a repository that is there" 7 '--existing' quarry backup target add other file://$repository
is "it is listed" "$(quarry backup target ls --no-legend)" "disk  file://$repository  host  0"
is "nobody else can read what is there" "$(stat -c %a $repository /etc/quarry/backup/disk.json | xargs)" "700 600"

# --- there and back ---
for kind in "ext4" "xfs" "ext4 --encrypt"; do
    # shellcheck disable=SC2086 # words
    try quarry create one:db --size 300M --fs $kind --label app=unmistakable --uid 5 --mode 2750
    try quarry mount db
    dd if=/dev/urandom of=$root/db/random bs=1M count=20 status=none
    echo "a secret of $kind" >$root/db/file
    before=$(sum $root/db)
    exits "$kind: backup run" 0 quarry backup run db
    like "$kind: says what it read and stored" "$out" '^[0-9a-f]{16} db: read [0-9.]+[KM], stored [0-9.]+M$'
    first=${out%% *}
    not_ok "$kind: its contents cannot be read there" grep -rqaF "a secret of $kind" $repository
    not_ok "$kind: nor what it is called" grep -rqaF unmistakable $repository
    echo changed >$root/db/file
    dd if=/dev/urandom of=$root/db/more bs=1M count=1 status=none
    after=$(sum $root/db)
    exits "$kind: what changed" 0 quarry backup run db
    second=${out%% *}
    ok "$kind: is less" [ "$(of "$second" .readBytes)" -lt $(($(of "$first" .readBytes) * 2 / 3)) ]
    is "$kind: it builds on the first" "$(of "$second" .parent)" "$first"
    is "$kind: one snapshot stays" "$(snapshots)" "db@backup-$second"
    exits "$kind: backup restore" 0 quarry backup restore "$first" two:back
    is "$kind: prints the name" "$out" two:back
    is "$kind: labels, owner, mode and filesystem are those" \
        "$(json '.volumes[0] | [.labels, .uid, .mode, .filesystem, .sizeBytes]' quarry inspect back | jq -c .)" \
        "$(json '.volumes[0] | [.labels, .uid, .mode, .filesystem, .sizeBytes]' quarry inspect db | jq -c .)"
    try quarry mount back
    is "$kind: it holds what that did then" "$(sum $root/back)" "$before"
    ok "$kind: and takes more" touch $root/back/new
    try quarry umount back
    exits "$kind: the last, by its name" 0 quarry backup restore db two:last
    try quarry mount last
    is "$kind: it holds what that does now" "$(sum $root/last)" "$after"
    try quarry umount last db
    refused "$kind: a name that is taken" 7 'exists already' quarry backup restore db one:back
    exits "$kind: backup verify --deep" 0 quarry backup verify --deep db
    like "$kind: says what was seen" "$out" 'every block compared with its checksum and the snapshot; its filesystem is sound'
    like "$kind: and it is listed" "$(quarry backup ls db --no-legend -o id,proven | grep "$second")" "^$second +just now"
    like "$kind: and status says so" "$(quarry status)" 'db +(just now|[0-9]+ minutes? ago) +disk +just now'
    is "$kind: no temporary volume stays" "$(quarry ls --no-legend -o name | sort | xargs)" "back db last"
    try quarry rm --yes --snapshots db back last
done
exits "check" 2 quarry check
try quarry create one:sound --size 64M
try quarry mount sound
refused "of a volume in use" 4 '' quarry check sound
try quarry umount sound
exits "of one that is sound" 0 quarry check sound
is "says so" "$out" sound
exits "backup verify" 0 quarry backup verify
is "of all of them" "$(grep -c 'all of it is there' <<<"$out")" 6

# --- which one is meant ---
last=$(quarry backup ls db --no-legend -o id | tail -n 1)
exits "at the time that ls shows" 0 quarry backup restore "db@$(quarry backup ls db --no-legend -o time | tail -n 1)" two:timed
try quarry mount timed
is "it is that one" "$(sum $root/timed)" "$after"
exits "with its pool" 0 quarry backup ls one:db --no-legend -o id
is "it is the same list" "$(wc -l <<<"$out")" 6
refused "a list of a name that is mistyped" 3 'nix.*no backup of a volume of that name' quarry backup ls nix db
like "has the others" "$out" "$last"
refused "nothing is removed for such a name" 3 'no backup of a volume of that name' \
    quarry backup prune --keep '1 last' db nix
is "so all are there" "$(quarry backup ls --no-legend -o id | wc -l)" 6

# --- on a terminal ---
shown=$(TERM=xterm script --quiet --return --command "quarry backup verify --deep $last" /dev/null </dev/null)
like "a proof shows that it restores" "$shown" 'restoring db for a proof: '
like "then that it compares" "$shown" 'comparing what was restored of db: '
like "checks" "$shown" 'checking what was restored of db: '
not_ok "and no temporary volume" grep -q 'verify-' <<<"$shown"

# --- a passphrase that is not where it was ---
printf pass >/run/pass
try quarry backup target add other file:///run/other --key-file /run/pass
mv /run/pass /run/elsewhere
refused "is told as what it is" 6 'target other: cannot read /run/pass: No such file.*its passphrase is to be there' \
    quarry backup ls --from other
not_ok "and not as wrong usage" grep -q usage: <<<"$err"
finish
