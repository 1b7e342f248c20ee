#!/bin/bash
# What volumes and snapshots have for themselves, and where two of them differ: what was written, and nothing else.
# machine: --disk 4G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
chunk=65536
root=/run/quarry/mnt/default

# Bytes that thin_ls says of a thin device: used and exclusive.
thin_of() { # NAME
    local id tries
    id=$(python3 - "$(volume_uuid "$1")" <<'PY'
import glob, os, shutil, sqlite3, sys, tempfile
with tempfile.TemporaryDirectory() as folder:
    for path in glob.glob("/run/quarry/catalog/*/catalog.db*"):
        shutil.copy(path, folder)
    print(sqlite3.connect(f"{folder}/catalog.db").execute("SELECT thin_id FROM volume WHERE uuid = ?", sys.argv[1:]).fetchone()[0])
PY
    )
    for ((tries = 0; tries < 20; tries++)); do # behind the end of a worker quarry takes it from whoever has it
        dmsetup message "quarry-$(pool_uuid)" 0 reserve_metadata_snap 2>/dev/null
        thin_ls -m --no-headers -o DEV,MAPPED_BYTES,EXCLUSIVE_BYTES "$(pool_part metadata)" 2>/dev/null |
            awk -v id="$id" '$1 == id { print $2, $3; found = 1 } END { exit !found }' && break
    done
    dmsetup message "quarry-$(pool_uuid)" 0 release_metadata_snap
}

# What the kernel holds of the metadata, "-" for nothing; quarry is not asked, which might take one for that.
pool=$(pool_uuid)
snapshot() { dmsetup status --noflush "quarry-$pool" | cut -d' ' -f7; }

# What is known is a minute old at most; a daemon that was started anew knows nothing. The look may take longer than
# inspect waits.
seen() { # NAME
    [ "$(json '.volumes[0].exclusiveBytes' quarry inspect "$1")" != null ] &&
        json '.volumes[0] | "\(.usedBytes) \(.exclusiveBytes)"' quarry inspect "$1"
}
exclusive() { # NAME
    systemctl restart quarryd
    wait_for 20 seen "$1"
    seen "$1"
}

fill() { # FILE CHUNK COUNT [CHARACTER]: chunks of the pool, on the disk
    head -c $(($3 * chunk)) /dev/zero | tr '\0' "${4-x}" | dd of="$1" bs=$chunk seek="$2" conv=notrunc,fsync iflag=fullblock status=none
}

ranges() { # FROM TO: in chunks, one per word
    quarry diff --ranges "$1" "$2" 2>/dev/null | awk -v c=$chunk '{ printf "%s%g+%g", (NR > 1 ? " " : ""), $1 / c, $2 / c }'
}

# --- a raw volume, chunk by chunk ---
try quarry create raw --size 64M --fs none
device=$(quarry mount raw)
fill "$device" 0 100
is "100 chunks written are 100 for itself" "$(exclusive raw)" "$((100 * chunk)) $((100 * chunk))"
try quarry snapshot raw@a
is "a snapshot shares them all: of the volume" "$(exclusive raw)" "$((100 * chunk)) 0"
is "and of the snapshot" "$(seen raw@a)" "$((100 * chunk)) 0"
fill "$device" 10 5 y          # all of five chunks,
fill "$device" 40 1 y          # one,
printf z | dd of="$device" bs=1 seek=$((50 * chunk + 7)) conv=notrunc,fsync status=none # one byte of another,
fill "$device" 200 3 y         # and some that were not there
is "what was overwritten each has for itself" "$(exclusive raw)" "$((103 * chunk)) $((10 * chunk))"
is "the old of it the snapshot" "$(seen raw@a)" "$((100 * chunk)) $((7 * chunk))"
is "as thin_ls says: the volume" "$(thin_of raw)" "$(seen raw)"
is "as thin_ls says: the snapshot" "$(thin_of raw@a)" "$(seen raw@a)"
like "inspect shows it, and its age" "$(quarry inspect raw)" 'Exclusive: +640K, [0-9]+ s ago'
like "so does ls, in bytes" "$(quarry ls --type all --no-legend --bytes -o name,exclusive | xargs)" "^raw $((10 * chunk)) raw@a $((7 * chunk))$"
try quarry umount raw
is "used is known of what is closed, too" "$(exclusive raw)" "$((103 * chunk)) $((10 * chunk))"
device=$(quarry mount raw)

is "diff: just what was written" "$(ranges raw@a raw)" "10+5 40+1 50+1 200+3"
like "in words" "$(quarry diff raw@a raw)" '^640K in 4 ranges differ\.'
like "that a volume goes on is said" "$(quarry diff raw@a raw)" 'may have changed since'
try quarry snapshot raw@b
fill "$device" 14 2 z
is "of two snapshots: what was written between them" "$(ranges raw@a raw@b)" "10+5 40+1 50+1 200+3"
is "and from the later one on" "$(ranges raw@b raw)" "14+2"
is "from the first: both, joined" "$(ranges raw@a raw)" "10+6 40+1 50+1 200+3"
is "backwards the same" "$(ranges raw raw@a)" "10+6 40+1 50+1 200+3"
is "of one with itself: nothing" "$(quarry diff raw@a raw@a)" "Nothing differs."
is "as JSON" "$(json '[.version, .from, .to, .ranges, .totalBytes, .rangeCount, .chunkSizeBytes, .dataOffsetBytes, .fromSizeBytes, .toSizeBytes, .live] | tojson' quarry diff raw@b raw)" \
    "[1,\"raw@b\",\"raw\",[{\"offsetBytes\":$((14 * chunk)),\"lengthBytes\":$((2 * chunk))}],$((2 * chunk)),1,$chunk,0,67108864,67108864,true]"
is "the total alone" "$(json '[.ranges, .totalBytes, .live] | tojson' quarry diff --total raw@a raw@b)" "[null,$((10 * chunk)),false]"
try blkdiscard -o $((40 * chunk)) -l $((2 * chunk)) "$device"
is "what was given back differs" "$(ranges raw@b raw)" "14+2 40+2"

# --- encrypted, with a filesystem ---
try quarry create vault --size 64M --encrypt
try quarry mount vault
fill $root/vault/file 0 32 a
try quarry snapshot vault@a
used=$(json '.volumes[0].usedBytes' quarry inspect vault)
fill $root/vault/file 4 8 b
read -r now own <<<"$(exclusive vault)"
ok "encrypted: at least what was overwritten" [ "$own" -ge $((8 * chunk)) -a "$own" -le "$now" ]
ok "and not the whole" [ "$own" -lt "$used" ]
is "its contents begin behind the header" "$(json .dataOffsetBytes quarry diff vault@a vault)" $((4 << 20))
ok "and nothing in the header differs" [ "$(quarry diff --ranges vault@a vault 2>/dev/null | head -n 1 | cut -d' ' -f1)" -ge $((4 << 20)) ]
# Where the filesystem has the eight chunks of the file, behind the header.
covered() {
    filefrag -v -b4096 $root/vault/file | python3 -c '
import re, subprocess, sys
lines = subprocess.run(["quarry", "diff", "--ranges", "vault@a", "vault"], capture_output=True, text=True).stdout
ranges = [tuple(map(int, line.split())) for line in lines.splitlines()]
found = 0
for first, last, place in re.findall(r"^ *\d+: *(\d+)\.\. *(\d+): *(\d+)", sys.stdin.read(), re.M):
    for block in range(max(int(first), 64), min(int(last), 191) + 1):
        at = (int(place) + block - int(first)) * 4096 + (4 << 20)
        found += any(offset <= at < offset + length for offset, length in ranges)
print(found)'
}
is "what was overwritten of the file is in the ranges" "$(covered)" 128
try quarry umount vault # a filesystem that is mounted writes when it likes
own=$(exclusive vault)
is "as thin_ls says" "$(thin_of vault)" "$own"

# --- a worker is killed that has a snapshot of the metadata ---
tool=$(command -v thin_dump)
mv "$tool" "$tool.away"
printf '#!/bin/sh\nexec sleep 100\n' >"$tool"
chmod +x "$tool"
quarry doctor >/dev/null &
doctor=$!
ok "a worker reads the maps" wait_for 20 pgrep -f '^sleep 100'
not_ok "in a snapshot" [ "$(snapshot)" = - ]
kill -9 "$(ps -o ppid= "$(pgrep -f '^sleep 100')")"
wait $doctor
mv "$tool.away" "$tool"
ok "behind it the snapshot goes, with nobody asking for anything" wait_for 10 eval '[ "$(snapshot)" = - ]'

# --- refusals ---
refused "of what is not there" 3 'no snapshot raw@none' quarry diff raw@none raw
refused "nor the second" 3 'no snapshot raw@none' quarry diff raw@a raw@none
refused "of what never was one" 1 'do not come from one volume' quarry diff raw@a vault@a
refused "a name that breaks the rule" 2 '' quarry diff 'raw@a' 'ra w'
refused "one argument" 2 'missing' quarry diff raw@a
refused "both forms" 2 'without the ranges' quarry diff --total --ranges raw@a raw
try quarry pool create second --file /var/lib/quarry/second.img --size 512M
try quarry create second:other --size 16M --fs none
refused "of two pools" 1 'in pool default, and other in pool second' quarry diff raw@a second:other

# --- many at once, with another who takes snapshots of the metadata ---
for i in 1 2 3 4 5 6; do
    quarry diff --total raw@a raw@b >/run/diff.$i 2>&1 &
done
quarry doctor >/dev/null
wait
is "comparisons wait for each other" "$(cat /run/diff.* | sort -u)" "640K in 4 ranges differ."
is "no snapshot of the metadata stays" "$(snapshot)" -
finish
