#!/bin/bash
# Docker as its users know it: volumes of driver quarry are made, shown, used by containers and removed.
# machine: --disk 3G --timeout 420
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
docker_begin

# --- create, with everything that can be asked for ---
exits "create" 0 docker volume create -d quarry -o size=300M -o encrypt=true -o fs=xfs -o uid=999 -o gid=998 -o mode=0750 \
    -o label.app=shop --label tier=1 db
is "prints the name" "$out" db
is "quarry has it as asked for" \
    "$(quarry inspect db --json | jq -c '.volumes[0] | [.state, .sizeBytes, .filesystem, .keySource // .encryption.keySource, .uid, .gid, .mode, .labels]')" \
    '["ready",314572800,"xfs","host",999,998,488,{"app":"shop"}]'
exits "once more with the same" 0 docker volume create -d quarry -o size=300M -o encrypt=true -o fs=xfs db
refused "an option that is not known is refused with those that are" 1 'colour.*(known|size).*size' docker volume create -d quarry -o colour=red x
refused "a value by its rule" 1 'size' docker volume create -d quarry -o size=many x
refused "more than there is" 1 '.' docker volume create -d quarry -o size=100T -o fs=ext9 x
not_ok "none of these was made" quarry exists x
exits "without options it has a size by default" 0 docker volume create -d quarry plain

# --- look ---
exits "ls" 0 docker volume ls --filter driver=quarry --format '{{.Name}}'
is "shows them" "$(sort <<<"$out" | xargs)" "db plain"
exits "inspect" 0 docker volume inspect db
inspect=$(jq '.[0]' <<<"$out")
is "shows driver, labels, options" "$(jq -c '[.Driver, .Scope, .Labels, .Options.size]' <<<"$inspect")" '["quarry","local",{"tier":"1"},"300M"]'
like "when it was made" "$(jq -r .CreatedAt <<<"$inspect")" '^20[0-9-]+T[0-9:]+'
is "and quarry's state of it" "$(jq -c '.Status | keys | map(ascii_downcase) | map(select(test("size|used|encr|snap|state"))) | length > 3' <<<"$inspect")" true
like "docker info lists the driver" "$(docker info --format '{{.Plugins.Volume}}')" quarry

# --- use ---
# Where the image has the directory, Docker gives an empty volume the owner and mode of that: see below.
exits "a container writes" 0 drun --rm -v db:/vol busybox sh -c 'stat -c %u:%g:%a /vol && ls -A /vol && echo hello >/vol/file'
is "into an empty directory with owner and mode as asked" "$out" 999:998:750
exits "another reads it" 0 drun --rm --mount type=volume,volume-driver=quarry,source=db,target=/data busybox cat /data/file
is "what was written" "$out" hello
exits "nothing is mounted any more" 0 wait_for 20 eval '! mountpoint -q $root/db'
exits "read-only it is read" 0 drun --rm -v db:/data:ro busybox cat /data/file
exits "and not written" 1 drun --rm -v db:/data:ro busybox touch /data/other
exits "a volume is made by the run that uses it" 0 drun --rm --mount type=volume,volume-driver=quarry,source=new,target=/data,volume-opt=size=64M busybox touch /data/x
is "as asked for" "$(json '.volumes[0].sizeBytes' quarry inspect new)" $((64 << 20))
exits "a directory in it is mounted" 0 drun --rm -v new:/data busybox mkdir /data/sub
exits "by itself" 0 drun --rm --mount type=volume,source=new,target=/data,volume-subpath=sub busybox sh -c 'ls -A /data; touch /data/y'
is "and is empty" "$out" ""
exits "files are where they belong" 0 drun --rm -v new:/data busybox find /data -type f
is "one beside it, one in it" "$(sort <<<"$out" | xargs)" "/data/sub/y /data/x"

# --- what the image has there is copied in, once ---
try docker volume create -d quarry -o size=64M seed
exits "an empty volume is filled from the image" 0 drun --rm -v seed:/seed busybox sh -c 'stat -c %u:%g:%a /seed /seed/sub/file; cat /seed/sub/file; rm /seed/sub/file'
is "with owner and mode" "$(xargs <<<"$out")" "999:998:2751 999:998:640 seeded"
exits "one that has something is not" 0 drun --rm -v seed:/seed busybox ls -A /seed/sub
is "what was removed stays so" "$out" ""
try docker volume create -d quarry -o size=64M bare
exits "nor one that is not to be" 0 drun --rm --mount type=volume,source=bare,target=/seed,volume-nocopy busybox ls -A /seed
is "it stays empty" "$out" ""

# --- two containers on one volume, and its end ---
try drun -d --name one -v plain:/data busybox sh -c "$writer"
try drun -d --name two -v plain:/data:ro busybox sleep 1000
ok "both have it" wait_for 20 docker exec two test -s /data/log
ok "on quarry's device" on_quarry "$(container_pid one)" /data
refused "a volume in use is not removed" 1 'in use' docker volume rm plain
refused "nor by quarry" 4 'in use' quarry rm plain
is "quarry says who has it" "$(json '.volumes[0].holds | length > 0' quarry inspect plain)" true
try docker rm -f one
ok "what one has written the other reads" docker exec two sh -c 'wc -l </data/log'
like "all of it" "$out" '^[0-9]+$'
ok "it stays mounted for the other" on_quarry "$(container_pid two)" /data
exits "as soon as the last has gone" 0 docker rm -f two
exits "it is removed" 0 docker volume rm plain
not_ok "and gone" quarry exists plain
exits "once more is no error to who forces it" 0 docker volume rm -f plain
refused "else it is" 1 'no such volume' docker volume rm plain
for n in 1 2 3; do
    try docker volume create -d quarry -o size=32M quick$n
    exits "removed at once behind a container ($n)" 0 sh -c "docker run --rm --network none -v quick$n:/data busybox true && docker volume rm quick$n"
done
exits "a file is copied into a volume of a stopped container" 0 sh -c 'docker create --network none --name file -v db:/data busybox true && docker cp /etc/hostname file:/data/name && docker start -a file && docker rm file'
exits "and read from it" 0 drun --rm -v db:/data busybox cat /data/name
is "as it was" "$out" "$(cat /etc/hostname)"

# --- both sides ---
try quarry create made --size 64M
exits "what quarry made docker knows" 0 docker volume inspect --format '{{.Driver}}' made
exits "and uses" 0 drun --rm -v made:/data busybox touch /data/x
exits "prune leaves them all" 0 docker volume prune -af
is "as they were" "$(quarry ls --no-legend -o name | sort | xargs)" "bare db made new seed"
try quarry rm made
refused "what quarry removed docker no longer has" 1 'no such volume' docker volume inspect made
try docker volume rm bare new db

# --- a tenant's driver ---
try quarry tenant create acme
exits "a tenant gets a driver of its own" 0 systemctl enable --now quarry-docker@acme.socket
exits "which makes volumes" 0 docker volume create -d quarry-acme -o size=32M db
is "of the tenant" "$(quarry ls --no-legend -o name | grep acme)" acme/db
exits "and has no others" 0 docker volume ls --filter driver=quarry-acme --format '{{.Name}}'
is "than these" "$out" db
exits "a container uses it" 0 drun --rm -v db:/data busybox touch /data/x
exits "and it is removed" 0 docker volume rm db
try docker volume rm seed
is "all that is left" "$(quarry ls --no-legend; docker volume ls -q)" ""
is "is nothing, not even a file beside" "$(bare_files)" ""
ok "nor a device" wait_for 30 eval '[ -z "$(volume_devices)" ]'
finish
