#!/bin/bash
# Backups in a bucket of a real S3 service: there and back; a service that refuses, fails, drips, cuts short, lies, is full
# or silent: a backup is whole or absent, and nothing hangs.
# machine: --disk 2G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"
# shellcheck source=s3
. "$(dirname "$0")/s3"

root=/run/quarry/mnt/default
try quarry pool create default /dev/vda
sum() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum); }
count() { quarry backup ls --json | jq '.backups | length'; }
write() { dd if=/dev/urandom of="$1" bs=1M count="$2" status=none && sync -f "$1"; } # FILE MEGABYTES
try s3_start

refused "a target without credentials" 2 '--credentials' quarry backup target add cloud "$s3_url"
refused "without an endpoint" 2 'needs its endpoint' quarry backup target add cloud s3://depot --credentials "$s3_credentials"
sed 's/secret_access_key = .*/secret_access_key = wrong/' "$s3_credentials" >/run/wrong && chmod 0600 /run/wrong
refused "with wrong ones" 6 '' quarry backup target add cloud "$s3_url" --credentials /run/wrong
chmod 0644 /run/wrong
refused "with some that others can read" 1 'chmod 0600' quarry backup target add cloud "$s3_url" --credentials /run/wrong
exits "backup target add" 0 quarry backup target add cloud "$s3_url" --credentials "$s3_credentials"
not_ok "the secret is not kept" grep -q S3RVER /etc/quarry/backup/cloud.json

try quarry create db --size 100M
try quarry mount db
write $root/db/a 8
before=$(sum $root/db)
exits "a backup" 0 quarry backup run db
first=${out%% *}
write $root/db/b 1
exits "what changed" 0 quarry backup run db
exits "all of it is there" 0 quarry backup verify
exits "restore" 0 quarry backup restore "$first" back
try quarry mount back
is "what there was" "$(sum $root/back)" "$before"
exits "it is proven" 0 quarry backup verify --deep db

# --- what passes ---
write $root/db/c 2
s3_fail "503 times=2 method=PUT" "refuse times=2" "truncate times=1 method=GET"
exits "a service that fails now and then" 0 quarry backup run db
s3_fail "500 times=2 method=GET" "drip times=1 method=GET" "flip times=1 method=GET path=data"
n=0
quarry backup restore db flaky >/run/out 2>&1 || n=$?
s3_heal
like "a restore is whole or says why" "$n" '^[01]$'
if [ $n = 0 ]; then
    try quarry mount flaky
    is "and is what there is" "$(sum $root/flaky)" "$(sum $root/db)"
else
    like "it says what is wrong" "$(cat /run/out)" 'damaged'
    not_ok "and leaves nothing" quarry exists flaky
fi

# --- what does not ---
n=$(count)
write $root/db/d 2
s3_fail "quota method=PUT path=data"
refused "a full bucket" 5 '' quarry backup run db
s3_heal
is "no backup more" "$(count)" "$n"
is "one snapshot stays" "$(quarry ls --type snapshot --no-legend -o name | grep -c ^db@)" 1
s3_fail "403"
refused "credentials that are no longer good" 6 '' quarry backup run db
s3_heal
ok "the volume does not notice" touch $root/db/fine
exits "and then again" 0 quarry backup run db
exits "all is well" 0 quarry backup verify

# --- credentials that systemd gives ---
refused "one that is not there" 1 'no systemd credential quarry.backup.cloud' quarry backup target add other "$s3_url" --existing --credentials credential:quarry.backup.cloud
mkdir -p /etc/credstore && chmod 0700 /etc/credstore
cp -p "$s3_credentials" /etc/credstore/quarry.backup.cloud
try quarry backup target rm cloud
exits "one that is" 0 quarry backup target add cloud "$s3_url" --existing --credentials credential:quarry.backup.cloud
try quarry backup run db --schedule 'weekly keep 1'
exits "a service with it" 0 systemctl start 'quarry-backup@cloud:weekly.service'
is "made a backup" "$(quarry backup ls --json | jq '[.backups[] | select(.rule == "weekly")] | length')" 1
exits "old ones go" 0 quarry backup prune --yes --keep '1 last'
exits "all is well then, too" 0 quarry backup verify
finish
