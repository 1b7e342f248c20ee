#!/bin/bash
# Volumes that are made with contents: of raw images and of archives, whole and with all that files have, or not at all.
# machine: --disk 3G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

useradd --no-create-home alice
as() { setpriv --reuid="$1" --regid="$1" --init-groups -- "${@:2}"; }
root=/run/quarry/mnt/default
mkdir -p /etc/quarry/quarry.conf.d
printf '[Encryption]\nArgon2Memory=1M\nArgon2Iterations=4\n' >/etc/quarry/quarry.conf.d/fast.conf
try quarry pool create default /dev/vda
try quarry tenant create acme --user alice
mkdir -p /run/from && cd /run/from || exit
nothing_is_there() { [ -z "$(quarry ls --type all --no-legend -o name)" ] && [ -z "$(volume_devices)" ]; }
leaves_nothing() { ok "$1: leaves nothing" wait_for 20 nothing_is_there; }
take_away() { try quarry umount --lazy "$@" && try quarry rm --yes "$@"; }

populate() { # FOLDER: everything that a file can have
    mkdir -p "$1/dir/deep" "$1/data" &&
        echo text >"$1/dir/a name
in two lines" &&
        echo inner >"$1/data/file" &&
        echo owned >"$1/dir/owned" &&
        chown 1234:4321 "$1/dir/owned" && chmod 4751 "$1/dir/owned" &&
        setfacl -m u:77:rw "$1/dir/owned" &&
        setfacl -d -m g:78:rx "$1/dir/deep" &&
        setfattr -n user.comment -v kept "$1/dir/owned" &&
        setfattr -n trusted.secret -v kept "$1/dir/owned" &&
        cp /usr/bin/true "$1/dir/able" && setcap cap_net_raw+ep "$1/dir/able" &&
        ln "$1/dir/owned" "$1/dir/again" && ln -s ../nowhere "$1/dir/link" &&
        mkfifo "$1/dir/fifo" && mknod "$1/dir/null" c 1 3 &&
        truncate -s 1G "$1/dir/hole" && printf end >>"$1/dir/hole" &&
        head -c 3000000 /dev/urandom >"$1/random" && echo dotted >"$1/.hidden" &&
        chmod 2770 "$1/dir/deep" &&
        setfattr -n user.comment -v root "$1" && setfacl -m u:79:rx "$1" &&
        chown 33:44 "$1" && chmod 1775 "$1" && touch -d 2020-01-02 "$1/dir" "$1"
}
described() { # FOLDER
    (
        cd "$1" || return
        find . -path ./lost+found -prune -o -not -path . -printf '%p %y %m %U %G %n %l %Ts\n' | sort
        stat -c '%a %u %g %Y' .
        find . -path ./lost+found -prune -o -not -type l -print0 | sort -z | xargs -0 getfacl -n -p
        find . -path ./lost+found -prune -o -print0 | sort -z | xargs -0 getfattr -h -d -m "^(user|security|trusted.secret)"
        sha256sum dir/owned dir/a* random .hidden data/file
        tail -c 3 dir/hole
        stat -c %s dir/hole
    )
}
same() { diff "$2" <(described "$1"); } # FOLDER FILE
image_make() { # FILE SIZE MKFS...
    truncate -s "$2" "$1" && "${@:3}" "$1" && mkdir -p /run/from/mnt && mount -o loop "$1" /run/from/mnt &&
        populate /run/from/mnt && described /run/from/mnt >"$1.described"
    umount /run/from/mnt
}

# --- raw images ---
try image_make ext4.img 64M mkfs.ext4 -q
try image_make xfs.img 320M mkfs.xfs -q
exits "an image of ext4" 0 quarry create db --from ext4.img --label app=db
is "prints the name" "$out" db
is "its size is that of the image, and owner and mode are its root's" \
    "$(json '.volumes[0] | [.sizeBytes, .filesystem, .uid, .gid, .mode, .labels.app, .state] | tostring' quarry inspect db)" \
    "[$((64 << 20)),\"ext4\",33,44,$((01775)),\"db\",\"ready\"]"
ok "what is a hole takes no place" [ "$(json '.volumes[0].usedBytes' quarry inspect db)" -lt $((24 << 20)) ]
try quarry mount db
ok "it shows the files, with all that they have" same $root/db ext4.img.described
not_ok "and no lost+found" [ -e $root/db/lost+found ]
ok "the hole is one" [ "$(stat -c %b $root/db/dir/hole)" -lt 100 ]
ok "nothing else is in the filesystem" [ "$(df --output=itotal $root/db | tail -1)" -gt 0 ]
exits "it can have snapshots" 0 quarry snapshot db@one
exits "and clones" 0 quarry clone db@one copy
try quarry mount copy
ok "which hold the same" same $root/copy ext4.img.described
take_away copy
exits "and grows" 0 quarry resize db 100M
try quarry umount db
try quarry rm --yes --snapshots db

exits "larger than the image" 0 quarry create big --size 200M --from ext4.img
try quarry mount big
ok "its filesystem has grown" [ "$(df --output=size $root/big | tail -1)" -gt 150000 ]
ok "and has the files" same $root/big ext4.img.described
take_away big
exits "an image of XFS" 0 quarry create x --from xfs.img --size 400M
try quarry mount x
ok "the same" same $root/x xfs.img.described
ok "grown" [ "$(df --output=size $root/x | tail -1)" -gt 300000 ]
take_away x
exits "from standard input, whose filesystem says the size" 0 bash -o pipefail -c 'cat ext4.img | quarry create db --from - --json'
is "as JSON" "$(jq -r '[.version, .volume.name, .volume.sizeBytes] | tostring' <<<"$out")" "[1,\"db\",$((64 << 20))]"
try quarry mount db
ok "the same" same $root/db ext4.img.described
take_away db
zstd -q ext4.img -o ext4.img.zst
exits "compressed" 0 quarry create db --from ext4.img.zst
try quarry mount db
ok "the same" same $root/db ext4.img.described
take_away db
loop=$(losetup --find --show ext4.img)
exits "from a block device" 0 quarry create db --from "$loop" --protect
losetup -d "$loop"
refused "protected" 4 'protected' quarry rm --yes db
try quarry update db --no-protect
try quarry rm --yes db
leaves_nothing "all of that"

# --- a damaged one, in which a name stands twice: of one file, and of two ---
double() { # IMAGE COMMAND...: of debugfs, which make 2-twice
    truncate -s 32M "$1" && mkfs.ext4 -q -O ^dir_index,^metadata_csum "$1"
    printf '%s\n' 'write /etc/hostname 1-twice' "${@:2}" | debugfs -w "$1" >/dev/null 2>&1
    sed -i 's/2-twice/1-twice/g' "$1"
    [ "$(debugfs -R 'ls -p' "$1" 2>/dev/null | grep -c 1-twice)" = 2 ]
}
try double same.img 'link 1-twice /2-twice' 'sif 1-twice links_count 2'
try double two.img 'write /etc/hostname 2-twice'
for damaged in same two; do
    refused "$damaged: it ends" 1 'cannot move 1-twice' timeout 60 quarry create db --from $damaged.img
    not_ok "$damaged: and there is no volume" quarry exists db
done

# --- what is no image, or not all of it ---
head -c 40M ext4.img >cut.img
refused "an image that is cut short" 2 'cut short: it has 40M' quarry create db --from cut.img
refused "through a pipe" 2 'cut short: it has (40M|[0-9]+)' bash -c 'quarry create db --from - <cut.img | cat; cat cut.img | quarry create db --from -'
refused "a pipe with more than was said" 2 'longer' bash -c '(cat ext4.img; head -c 2M /dev/urandom) | quarry create db --size 64M --from -'
refused "less than the image" 2 'less than the image has' quarry create db --size 32M --from ext4.img
head -c 1M ext4.img.zst >cut.zst
refused "compressed, and cut short" 2 'cut short' quarry create db --from cut.zst
python3 - <<'PY'
for name, at, signature in ("disk.img", 512, b"EFI PART"), ("mbr.img", 510, b"\x55\xaa"):
    with open(name, "wb") as f:
        f.truncate(64 << 20)
        f.seek(at)
        f.write(signature)
PY
refused "a disk with partitions" 1 'GPT.*losetup' quarry create db --from disk.img
refused "of the old kind" 1 'MBR.*losetup' quarry create db --from mbr.img
printf 'QFI\xfb' >q.img
refused "qcow2" 1 'qcow2.*qemu-img convert' quarry create db --from q.img
truncate -s 16M ext2.img && mkfs.ext2 -q ext2.img
refused "ext2" 1 'ext2 or ext3.*tune2fs' quarry create db --from ext2.img
refused "nothing that is known" 1 'nothing that is known' quarry create db --size 64M --from /etc/services
refused "nothing at all" 1 'is empty' quarry create db --size 64M --from /dev/null
refused "a directory" 2 'is a directory' quarry create db --size 64M --from /etc
refused "no file" 1 'No such file' quarry create db --size 64M --from nix
refused "encrypted: not an image" 1 'quarry export' quarry create db --encrypt --from ext4.img
refused "another filesystem" 2 'image has ext4' quarry create db --fs xfs --from ext4.img
refused "another owner" 2 'those of the image' quarry create db --uid 5 --from ext4.img
refused "in memory" 2 'device of the pool' quarry create db --kind tmpfs --size 64M --from ext4.img
refused "by a member" 6 'administrators' as alice quarry create acme/db --from - <ext4.img
leaves_nothing "what is refused"
exits "as a device, with partitions" 0 quarry create disk --fs none --from disk.img
is "to the last byte" "$(bytes_of "$(quarry mount disk)")" "$(bytes_of disk.img)"
take_away disk
head -c 300M /dev/urandom >shrinks.img
(
    until [ "$(quarry ls --no-legend -o state)" = creating ]; do sleep 0.1; done
    truncate -s 1M shrinks.img
) &
refused "an image that somebody cuts while it is read" 2 'became shorter while it was read: it had 300M' \
    quarry create disk --fs none --from shrinks.img
wait
rm shrinks.img
leaves_nothing "which"

# --- archives ---
mkdir src && populate src && described src >src.described
all=(--acls --xattrs '--xattrs-include=*' --sparse)
tar -C src -c "${all[@]}" -f a.tar .
gzip -k a.tar && zstd -q a.tar && xz -k a.tar
for archive in a.tar a.tar.gz a.tar.xz a.tar.zst; do
    cp "$archive" plain-name # its name says nothing
    exits "$archive" 0 quarry create db --size 64M --from plain-name
    is "prints the name, and nothing else" "$out$err" db
    try quarry mount db
    ok "$archive: the files, with all that they have" same $root/db src.described
    ok "the hole is one" [ "$(stat -c %b $root/db/dir/hole)" -lt 100 ]
    [ "$archive" = a.tar.zst ] || take_away db
done
exits "there and back" 0 bash -o pipefail -c 'quarry export db | quarry create back --size 310M --fs xfs --encrypt --from -'
try quarry mount back
described $root/db >db.described
ok "it is the same" same $root/back db.described
refused "a name that is taken" 7 'exists already' quarry create db --size 64M --from a.tar
take_away back db
printf pass >pass
exits "with a passphrase" 0 quarry create vault --size 64M --key-file pass --label a=b --from a.tar
try quarry mount vault --key-file pass
ok "holds them" same $root/vault src.described
take_away vault
mkdir plain && echo mine >plain/file && tar -C plain -cf plain.tar file && chmod 644 plain.tar
exits "by a member" 0 as alice quarry create mine --size 64M --from - <plain.tar
is "whose it is" "$(as alice cat "$(as alice quarry mount mine)/file")" mine
is "and is owned so" "$(stat -c %U /run/quarry/mnt/acme/mine/file)" alice
try quarry umount acme/mine
try quarry rm --yes acme/mine

# --- of a volume, as send makes it ---
for fs in ext4 xfs; do
    try quarry create vol --size 320M --fs $fs --uid 33 --gid 44 --mode 1775
    try quarry mount vol
    try populate $root/vol
    described $root/vol >vol.described
    try quarry snapshot vol@s
    exits "an image of a volume of $fs" 0 quarry send vol@s --format raw --to vol.img
    exits "becomes a volume" 0 quarry create again --from vol.img
    try quarry mount again
    ok "with the same files at the same place" same $root/again vol.described
    is "and the same owner" "$(json '.volumes[0] | [.uid, .gid, .mode] | @csv' quarry inspect again)" "33,44,$((01775))"
    take_away again
    try quarry umount vol && try quarry rm --yes --snapshots vol
    rm vol.img
done

# --- not all of it ---
head -c 2000000 a.tar >cut.tar
refused "an archive that is cut short" 1 'Unexpected EOF' quarry create db --size 64M --from cut.tar
tar -C src -c -b 1 -f short.tar data && head -c -1024 short.tar >edge.tar
refused "between two files" 2 'cut short' quarry create db --size 64M --from edge.tar
# behind a file that ends with as many zeros as an archive
mkdir -p zeros && echo first >zeros/first && head -c 4096 /dev/zero >zeros/padded && echo last >zeros/last
tar -C zeros -cf zeros.tar first padded last
head -c $((3 * 512 + 4096)) zeros.tar >cut.tar
is "such a cut" "$(tar -tf cut.tar 2>&1)" $'first\npadded'
refused "behind zeros" 2 'cut short' quarry create db --size 64M --from cut.tar
tar -C zeros -cf one.tar first && tar -C zeros -cf two.tar last
cat one.tar two.tar >both.tar
exits "two archives, one behind the other" 0 quarry create db --size 64M --from both.tar
try quarry mount db
is "are unpacked both" "$(cat $root/db/first $root/db/last)" $'first\nlast'
take_away db
for tool in gzip zstd xz; do
    $tool -c one.tar >small.packed
    exits "a small archive, packed by $tool" 0 quarry create db --size 64M --from small.packed
    try quarry mount db
    is "is there" "$(cat $root/db/first)" first
    take_away db
done
exits "and through a pipe" 0 bash -c 'gzip -c one.tar | quarry create db --size 64M --from -'
take_away db
(cat one.tar && head -c 3000 /dev/urandom) >more.tar
refused "what is no archive behind one" 1 'cannot be unpacked' quarry create db --size 64M --from more.tar
head -c 2000000 a.tar.gz >cut.gz
refused "compressed" 2 'cut short' quarry create db --size 64M --from cut.gz
head -c 50000000 /dev/urandom >plain/large && tar -C plain -cf large.tar large
refused "what does not fit" 5 'do not fit into it: tar: large' quarry create db --size 32M --from large.tar
refused "without a size" 2 '--size' quarry create db --from large.tar
refused "as a device" 2 'need a filesystem' quarry create db --size 64M --fs none --from large.tar
refused "what may be there already" 2 'if-absent' quarry create db --size 64M --if-absent --from large.tar
python3 - <<'PY'
import io, tarfile
def add(t, name, **more):
    i = tarfile.TarInfo(name)
    for k, v in more.items():
        setattr(i, k, v)
    data = b"" if i.type != tarfile.REGTYPE else b"evil"
    i.size = len(data)
    t.addfile(i, io.BytesIO(data))
with tarfile.open("up.tar", "w") as t:
    add(t, "../../run/from/escaped")
with tarfile.open("link.tar", "w") as t:
    add(t, "out", type=tarfile.SYMTYPE, linkname="/run/from")
    add(t, "out/escaped")
with tarfile.open("absolute.tar", "w") as t:
    add(t, "/run/from/escaped")
PY
refused "names that lead out" 1 'contains .\.\.' quarry create db --size 64M --from up.tar
refused "links that lead out" 1 'out/escaped' quarry create db --size 64M --from link.tar
leaves_nothing "what failed"
exits "absolute names lie within" 0 quarry create db --size 64M --from absolute.tar
like "which is told" "$err" 'Removing leading'
try quarry mount db
ok "they are there" [ -e $root/db/run/from/escaped ]
take_away db
not_ok "nothing was written outside" [ -e /run/from/escaped ]

# --- ended in the middle ---
mkfifo slow
begin() { # FILE: half of it
    quarry create half --size 100M --from slow 2>said &
    child=$!
    exec 7>slow
    head -c $(($(stat -c %s "$1") / 2)) "$1" >&7
    wait_for 20 eval '[ "$(quarry ls --no-legend -o state)" = creating ]' && wait_for 20 "${@:2}"
}
is_filled() { grep -q "/half$\|half" <(quarry ls --no-legend -o name); }
for file in large.tar ext4.img; do
    begin $file is_filled
    refused "$file: nobody else gets it meanwhile" 4 'half is being (filled|received)' timeout 20 quarry mount half
    refused "$file: nor makes another" 7 'exists' quarry create half --size 100M --from a.tar
    kill -9 $child
    wait $child 2>/dev/null
    exec 7>&-
    leaves_nothing "$file: quarry is killed"
done
begin large.tar is_filled
kill -INT $child
kill -TERM $child
wait $child
exec 7>&-
leaves_nothing "it is ended"
begin large.tar is_filled
systemctl kill -s KILL quarryd
wait $child
is "quarryd is killed: so it fails" $? 8
exec 7>&-
leaves_nothing "then"
ok "tar and all others have ended" wait_for 10 eval '! pgrep -x "tar|zstd|gzip"'
finish
