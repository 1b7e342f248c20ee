#!/bin/bash
# Podman as its users know it, with the drop-in that quarry installs: volumes, quadlets, a tenant's member without root,
# and Docker beside it on one volume.
# machine: --disk 3G --timeout 540
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
docker_begin
prun() { podman run --network none "$@"; }
try podman import --quiet /tmp/image.tar busybox

# --- volumes ---
like "podman info lists the driver" "$(podman info --format '{{.Plugins.Volume}}')" quarry
exits "create" 0 podman volume create --driver quarry --opt size=64M --opt uid=999 --opt gid=998 --opt mode=0750 --label tier=1 db
is "prints the name" "$out" db
is "quarry has it as asked for" "$(quarry inspect db --json | jq -c '.volumes[0] | [.state, .sizeBytes, .uid, .gid, .mode]')" '["ready",67108864,999,998,488]'
refused "an option that is not known is refused with those that are" 125 'colour.*(known|size).*size' podman volume create --driver quarry --opt colour=red x
not_ok "and nothing made" quarry exists x
encrypted() { podman volume create --driver quarry --opt size=64M --opt encrypt=true "$@"; }
# Podman's own limit is 5 s, for who has not our drop-in.
printf '[engine]\nvolume_plugin_timeout = 5\n' >/tmp/short.conf
exits "an encrypted volume is made within podman's own 5 s, or else by a repeated call" 0 \
    env CONTAINERS_CONF_OVERRIDE=/tmp/short.conf bash -c "$(declare -f encrypted); encrypted vault || encrypted vault"
sed -i s/5/1/ /tmp/short.conf
exits "one that has no time is made by calls that join it" 0 \
    env CONTAINERS_CONF_OVERRIDE=/tmp/short.conf bash -c "$(declare -f encrypted); for i in {1..20}; do encrypted slow && exit; done; exit 1"
is "and is one" "$(quarry ls --no-legend -o name,state | grep slow | xargs)" "slow ready"
exits "ls" 0 podman volume ls --filter driver=quarry --format '{{.Name}}'
is "shows them" "$(sort <<<"$out" | xargs)" "db slow vault"
exits "inspect" 0 podman volume inspect db
is "shows driver, labels, options" "$(jq -c '.[0] | [.Driver, .Labels.tier, .Options.size]' <<<"$out")" '["quarry","1","64M"]'
exits "a container writes" 0 prun --rm -v db:/data busybox sh -c 'stat -c %u:%g:%a /data && ls -A /data && echo hello >/data/file'
is "into an empty directory with owner and mode as asked" "$out" 999:998:750
exits "an encrypted one, too" 0 prun --rm -v vault:/data busybox sh -c 'echo secret >/data/file'
is "nothing is mounted any more" "$(volume_mounts)" 0

# --- export, import: Podman 5.4 has its volume mounted for that ---
try podman volume create --driver quarry --opt size=64M copy
try prun -d --name holder -v db:/data -v copy:/copy busybox sleep 1000
exits "export" 0 podman volume export db --output /tmp/db.tar
like "has the file" "$(tar -tf /tmp/db.tar | xargs)" file
exits "import" 0 podman volume import copy /tmp/db.tar
is "gives it back" "$(cat $root/copy/file)" hello
ok "the container still has its volume" on_quarry "$(podman inspect --format '{{.State.Pid}}' holder)" /copy
refused "a volume that is used is not removed" 2 'in use|being used' podman volume rm copy
try podman rm -f -t 0 holder
exits "behind its container it is" 0 podman volume rm copy
not_ok "and gone" quarry exists copy

# --- with quarry, with docker ---
try quarry create made --size 64M
exits "reload" 0 podman volume reload
is "shows what quarry made" "$(podman volume ls --filter name=made --format '{{.Driver}}')" quarry
try prun -d --name pod -v made:/data busybox sh -c 'echo podman >/data/p; exec sleep 1000'
exits "docker has the same volume at once" 0 drun --name dock -d -v made:/data busybox sh -c 'echo docker >/data/d; exec sleep 1000'
ok "each reads what the other wrote" wait_for 30 eval '[ "$(podman exec pod cat /data/d)$(docker exec dock cat /data/p)" = dockerpodman ]'
try podman rm -f -t 0 pod
ok "the end of one leaves the other its volume" on_quarry "$(container_pid dock)" /data
exits "which is written" 0 docker exec dock touch /data/more
refused "podman's removal waits for the other's end" 125 'in use' podman volume rm made
try docker rm -f dock
exits "then it is removed" 0 docker volume rm made
try podman volume reload
is "and reload takes it off podman's list" "$(podman volume ls --filter name=made --quiet)" ""

# --- quadlets ---
mkdir -p /etc/containers/systemd
cat >/etc/containers/systemd/shop.volume <<'UNIT'
[Volume]
VolumeName=shop
Driver=quarry
PodmanArgs=--opt size=64M --opt encrypt=true
UNIT
cat >/etc/containers/systemd/shop.container <<'UNIT'
[Container]
Image=localhost/busybox:latest
Pull=never
Network=none
Volume=shop.volume:/data
StopTimeout=1
Exec=sh -c 'echo sold >>/data/log; exec sleep 1000'
UNIT
try systemctl daemon-reload
ok "a service has its volume by a .volume unit" systemctl start shop.service
is "of the size it says" "$(json '.volumes[0].sizeBytes' quarry inspect shop)" $((64 << 20))
ok "and writes into it" wait_for 20 eval '[ "$(cat $root/shop/log)" = sold ]'
ok "it stops" systemctl stop shop.service
ok "which closes it" wait_for 20 eval '! mountpoint -q $root/shop'
ok "it is started again" systemctl restart shop-volume.service shop.service
ok "on the same volume" wait_for 20 eval '[ "$(wc -l <$root/shop/log)" = 2 ]'
try systemctl stop shop.service

exits "prune" 0 podman volume prune --force
is "takes away what no container of podman's has" "$(podman volume ls --quiet; quarry ls --no-legend)" ""
ok "and nothing is open" wait_for 30 eval '[ -z "$(volume_devices)" ]'

# --- a tenant's member, without root ---
useradd --home-dir $clients/alice --create-home --shell /bin/bash alice
echo "alice:100000:65536" | tee /etc/subuid >/etc/subgid
uid=$(id -u alice)
install -d -o alice -g alice -m 0700 "/run/user/$uid"
try quarry tenant create acme --user alice
exits "the tenant gets a driver of its own" 0 systemctl enable --now quarry-docker@acme.socket
as_alice() { (cd / && setpriv --reuid=alice --regid=alice --init-groups --reset-env env XDG_RUNTIME_DIR="/run/user/$uid" PATH="$PATH" "$@"); }
arun() { as_alice podman run --cgroups=disabled --network none "$@"; }
as_alice mkdir -p $clients/alice/.config/containers
as_alice tee $clients/alice/.config/containers/containers.conf >/dev/null <<CONF
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.volume_plugins]
quarry = "/run/quarry/docker/acme.sock"
CONF
try as_alice podman import --quiet /tmp/image.tar busybox
try quarry create other --size 64M
exits "she makes a volume" 0 as_alice podman volume create --driver quarry --opt size=64M box
is "of her tenant" "$(quarry ls --no-legend -o name | sort | xargs)" "acme/box other"
exits "her container, root inside, writes" 0 arun --rm -v box:/data busybox sh -c 'id -u; stat -c %u:%g /data; touch /data/own && touch /data/www && chown 33:33 /data/www && stat -c %u:%g /data/own /data/www'
is "and sees its own ids" "$(xargs <<<"$out")" "0 0:0 0:0 33:33"
exits "once more" 0 arun --rm -v box:/data busybox stat -c %u:%g /data/own /data/www
is "these are kept" "$(xargs <<<"$out")" "0:0 33:33"
try quarry mount acme/box /mnt
is "in the volume, too, which any other container shares" "$(stat -c %u:%g /mnt/own /mnt/www | xargs)" "0:0 33:33"
try quarry umount /mnt
exits "reload shows her tenant's volumes only" 0 as_alice podman volume reload
is "which are one" "$(as_alice podman volume ls --quiet | xargs)" box
exits "she removes it" 0 as_alice podman volume rm box
not_ok "and it is gone" quarry exists acme/box
try quarry rm other
is "no file lies beside a volume" "$(bare_files)" ""
finish
