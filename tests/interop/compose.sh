#!/bin/bash
# The compose.yaml of the README does what the README says.
# machine: --disk 3G --timeout 240
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
docker_begin
mkdir -p /srv/shop
cd /srv/shop || exit
awk '/^### /{ here = /^### Compose/ } here && /^```$/ { exit } here && yaml; here && /^```yaml$/ { yaml = 1 }' \
    "$(dirname "$0")/../../README.md" >compose.yaml
ok "the README has a compose.yaml" test -s compose.yaml
exits "up" 0 docker compose up -d --pull never
is "its volume is encrypted" "$(json '.volumes[0].encryption != null' quarry inspect shop_log)" true
ok "one service reads what the other writes" wait_for 60 eval 'docker compose logs reader | grep -q .'
exits "down" 0 docker compose down -t 1
is "keeps the volume" "$(quarry ls --no-legend -o name)" shop_log
exits "up once more" 0 docker compose up -d --pull never
exits "down with its volumes" 0 docker compose down -t 1 --volumes
is "removes it" "$(quarry ls --no-legend)" ""
ok "nothing is open" wait_for 30 eval '[ -z "$(volume_devices)" ]'
finish
