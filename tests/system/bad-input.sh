#!/bin/bash
# Bad input gets a clear error that names the field and the rule, the exit code of the table, and changes nothing.
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

long=$(printf 'n%.0s' {1..300})

# --- no pool at all ---
refused "create without a pool" 3 'there is no pool' quarry create db --size 1G
like "names one command" "$err" 'try: +to try things out: quarry pool create|try: .*quarry pool create'
hint=$(grep -o 'quarry pool create .*' <<<"$err")
is "nothing was made" "$(dmsetup ls)" "No devices found"
exits "that command makes a pool: $hint" 0 eval "$hint"
exits "and then the create works" 0 quarry create db --size 1G

before=$(state)
bad() { # WHAT STATUS REGEX OPTION...: of quarry create
    local what=$1 status=$2 regex=$3
    shift 3
    refused "$what" "$status" "$regex" quarry create "$@"
}

# --- sizes ---
bad "no size" 2 'size is missing' x
bad "size 0" 2 'size.*"0" is nothing' x --size 0
bad "a negative size" 2 'size.*negative' x --size -5G
bad "size 0G" 2 'size.*is nothing' x --size 0G
bad "a size that is no number" 2 'size.*"many" is not a size' x --size many
bad "a size with an unknown unit" 2 'size.*"5X" is not a size' x --size 5X
bad "an empty size" 2 'size' x --size ""
bad "a size larger than any number" 2 'too large' x --size 99999999999999999999G
bad "a size larger than any volume" 2 'too large: a volume has at most 1P' x --size 2P
bad "a size beyond the pool's cap" 5 'may promise .* has promised 1G, and 100T more' x --size 100T
bad "XFS below its minimum" 2 'XFS needs at least 300M' x --size 299M --fs xfs
bad "ext4 below its minimum" 2 'ext4 needs at least 16M' x --size 15M

# --- names ---
bad "an empty name" 2 'volume name "" is not valid' "" --size 1G
bad "a name with slashes" 2 'name .* is not valid' a/b/c --size 1G
bad "a path" 2 'is not valid' /etc/passwd --size 1G
bad ".." 2 'volume name "\.\." is not valid' .. --size 1G
bad "a tenant .." 2 'tenant name "\.\." is not valid' ../x --size 1G
bad "a name with a space" 2 'volume name "a b" is not valid: 1 to 128 of A-Z a-z 0-9' "a b" --size 1G
bad "a name of 300 characters" 2 'is not valid: 1 to 128' "$long" --size 1G
bad "a name with a newline" 2 'is not valid' $'a\nb' --size 1G
bad "a name with an escape sequence" 2 'is not valid' $'a\e[31mb' --size 1G
not_ok "which does not reach the terminal" grep -q $'\e' <<<"$err"
bad "a name beyond ASCII" 2 'is not valid' bücher --size 1G
bad "a name that is not UTF-8" 2 'not UTF-8' $'a\xff' --size 1G
bad "a name that begins with a dot" 2 'beginning with a letter or digit' .x --size 1G
bad "a snapshot's name" 1 'name of a snapshot' x@y --size 1G
bad "a tenant in capitals" 2 'tenant name "Web" is not valid' Web/x --size 1G
bad "a pool that is not there" 3 'there is no pool nope' x --size 1G --pool nope
bad "a pool's name against the rule" 2 'pool name "No" is not valid' x --size 1G --pool No
bad "a pool given twice" 2 'pool is part of the name' default:x --size 1G --pool default

# --- everything else of create ---
bad "an unknown filesystem" 2 '"ntfs" is none of ext4, xfs and none' x --size 1G --fs ntfs
bad "an unknown key source" 2 '"tpm" is neither host nor passphrase' x --size 1G --key tpm
bad "a passphrase nowhere to be had" 2 'no terminal' x --size 1G --key passphrase
bad "a key file that is not there" 2 'cannot read /nope: No such file' x --size 1G --key-file /nope
bad "an empty key file" 2 'is empty' x --size 1G --key-file /dev/null
bad "an endless key file" 2 'more than [0-9]+ bytes' x --size 1G --key-file /dev/zero
bad "a directory as key file" 2 'cannot read /etc' x --size 1G --key-file /etc
bad "a key file for the host's key" 2 'needs no file' x --size 1G --key host --key-file /etc/hostname
bad "a label without a value" 2 'write KEY=VALUE' x --size 1G --label lonely
bad "a label without a key" 2 'write KEY=VALUE' x --size 1G --label =value
bad "a label's key against the rule" 2 'label key "a b" is not valid' x --size 1G --label "a b=c"
bad "a label with a control character" 2 'without control' x --size 1G --label $'a=\e[2J'
bad "a label twice" 2 'label "a" is given twice' x --size 1G --label a=1 --label a=2
# shellcheck disable=SC2046 # words
bad "65 labels" 2 'at most 64' x --size 1G $(printf -- '--label l%d=x ' {1..65})
bad "a mode that is none" 2 'not a mode' x --size 1G --mode rwx
bad "a mode too large" 2 'mode' x --size 1G --mode 17777
bad "a user who is not there" 2 '"nobodyhere" is neither a user' x --size 1G --uid nobodyhere
bad "uid -1" 2 'uid' x --size 1G --uid 4294967295
bad "a mkfs option that copies host files" 2 'mkfs option' x --size 1G --mkfs-option "-d /etc"
bad "a mkfs option that takes another device" 2 'mkfs option' x --size 1G --fs xfs --mkfs-option "-l logdev=/dev/vda"
bad "a mkfs option for no filesystem" 2 'mkfs option' x --size 1G --fs none --mkfs-option "-m 1"
bad "mkfs options that mkfs refuses" 1 'mke2fs failed: .*inode' x --size 1G --mkfs-option "-I 256" --mkfs-option "-b 1024" --mkfs-option "-I 2048"
bad "an existing name with other options" 7 'size: 1G, asked for 2G' db --size 2G

# --- the other verbs ---
refused "no verb" 2 'Usage' quarry
refused "an unknown verb" 2 'no verb "frobnicate"' quarry frobnicate
refused "an unknown option" 2 'no option --frobnicate' quarry create x --frobnicate
refused "an option without its value" 2 'needs a value' quarry create x --size
refused "a missing argument" 2 'argument is missing' quarry inspect
refused "an argument too many" 2 '"b" is one argument too many' quarry exists a b
for verb in inspect mount umount rm; do
    refused "$verb of no volume" 3 'there is no volume nope' quarry $verb nope
    refused "$verb of a bad name" 2 'is not valid' quarry $verb "a b"
done
refused "umount of a path where nothing is mounted" 3 'nothing is mounted at /etc' quarry umount /etc
refused "umount of somebody's mount" 3 'no volume of quarry' quarry umount /proc
refused "ls of a missing pool" 3 'there is no pool nope' quarry ls --pool nope
refused "ls with an unknown column" 2 'column' quarry ls -o nope
refused "ls with a bad filter" 2 'filter' quarry ls --filter nope

# --- pools ---
pool() { # WHAT STATUS REGEX OPTION...: of quarry pool create
    local what=$1 status=$2 regex=$3
    shift 3
    refused "$what" "$status" "$regex" quarry pool create "$@"
}
pool "an existing pool" 7 'pool default exists already' default --file /var/tmp/p.img --size 1G
pool "a pool's name in capitals" 2 'pool name "Big" is not valid' Big --file /var/tmp/p.img --size 1G
pool "a pool's name of 33 characters" 2 '1 to 32 of a-z' "${long:0:33}" --file /var/tmp/p.img --size 1G
pool "a pool of nothing" 2 'where shall it lie' p
pool "a pool in two ways" 2 'only one of' p --file /var/tmp/p.img --vg host --size 1G
pool "a file without a size" 2 'needs --size' p --file /var/tmp/p.img
pool "devices with a size" 2 'devices are taken whole' p /dev/vda --size 1G
pool "a pool too small" 2 'too small: a pool needs at least [0-9]+M' p --file /var/tmp/p.img --size 100M
pool "a pool too large" 2 'too large' p --file /var/tmp/p.img --size 2P
pool "metadata below its minimum" 2 'metadata size 1M is not valid: 64M to 16G' p --file /var/tmp/p.img --size 1G --metadata-size 1M
pool "metadata too small for the data" 2 'metadata of 64M is too small for .* at least [0-9]+M' p --file /var/tmp/p.img --size 200G --metadata-size 64M
pool "metadata larger than the pool" 1 'too small for a pool' p --file /var/tmp/p.img --size 1G --metadata-size 1G
pool "chunks of 100K" 2 'chunk size 100K is not valid: a multiple of 64K' p --file /var/tmp/p.img --size 1G --chunk-size 100K
pool "a volume group's name against the rule" 2 'volume group name "a b" is not valid' p --vg "a b" --size 1G
pool "no such volume group" 2 'there is no volume group nope' p --vg nope --size 1G
pool "a file in no directory" 2 'cannot make /nope/p.img: No such file' p --file /nope/p.img --size 1G
echo precious >/var/tmp/there
pool "a file that is there" 1 '/var/tmp/there exists already' p --file /var/tmp/there --size 1G
is "it is as it was" "$(cat /var/tmp/there)" precious
refused "rm of no pool" 3 'there is no pool nope' quarry pool rm nope
refused "inspect of no pool" 3 'there is no pool nope' quarry pool inspect nope
refused "export of no pool" 3 'there is no pool nope' quarry pool export nope
refused "import of no device" 2 '/dev/nope: No such file' quarry pool import /dev/nope
refused "import of a file without a pool" 3 'found no pool' quarry pool import /var/tmp/there

is "nothing changed" "$(state)" "$before"
is "no file came of it" "$(ls /var/tmp/p.img /var/lib/quarry/*.img 2>/dev/null)" /var/lib/quarry/default.img
is "no loop device was left" "$(losetup -l --noheadings | wc -l)" 1
ok "and the volume works" quarry mount db

finish
