#!/usr/bin/python3
"""The quarry command against a stand-in for the daemon: what it sends, prints and exits with. TAP on stdout."""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import termios

from console import ESCAPES, Terminal, api_server, libc, main, quarry, usage
from tap import same, test

world = None  # set by console for each test


# --- listings


@test
def ls_prints_an_aligned_table_in_natural_order():
    name = "a" * 64
    same(quarry("ls").out, f"""\
NAME                                                              SIZE  USED  FS    KEY         STATE   MOUNTED
{name}   10G  1.2G  ext4  -           ready   /run/quarry/mnt/default/{name}
acme/db                                                             1G  1.2G  ext4  -           ready   -
db                                                                 10G  1.2G  ext4  host        ready   /run/quarry/mnt/default/db,/srv/db
hurt                                                               10G  1.2G  ext4  -           broken  -
raw                                                                10G  1.2G  none  -           ready   /dev/quarry/default/raw
vault                                                               2G    0B  ext4  passphrase  ready   -
web2                                                              512M   40M  xfs   -           ready   -
web10                                                              20G     -  ext4  -           ready   -
""")


@test
def ls_asks_for_all_batches_and_passes_pool_and_tenant_on():
    same(len(quarry("ls", "--json").json["volumes"]), 8)
    same(quarry("ls", "--tenant", "acme", "-o", "name", "--no-legend").out, "acme/db\n")
    same(quarry("ls", "--pool", "nowhere", "-o", "name").out, "NAME\n")
    same(world.sent("io.quarry.Volume.List")[-1][1], {"pool": "nowhere", "fields": ["name", "tenant"]})


def names(*arguments):
    result = quarry("ls", "-o", "name", "--no-legend", *arguments)
    same(result.code, 0, str(result))
    return [n if len(n) < 60 else "anonymous" for n in result.out.split()]


@test
def ls_chooses_columns():
    same(quarry("ls", "-o", "name,size,mode", "--tenant", "acme").out, "NAME     SIZE  MODE\nacme/db    1G  0755\n")
    same(quarry("ls", "-oname", "--no-legend", "--tenant=acme").out, "acme/db\n")
    heading = quarry("ls", "-o", "+uuid,pool").out.splitlines()[0].split()
    same(heading, ["NAME", "SIZE", "USED", "FS", "KEY", "STATE", "MOUNTED", "UUID", "POOL"])
    same(quarry("ls", "--bytes", "-o", "name,size,used", "--filter", "name=web*", "--no-legend").out,
         "web2     536870912  41943040\nweb10  21474836480         -\n")


@test
def ls_o_help_lists_the_columns_without_the_daemon():
    result = quarry("ls", "-o", "help", env={"QUARRY_SOCKET": "/nonexistent"})
    same(result.code, 0, str(result))
    lines = result.out.splitlines()
    same(lines[0].split(), ["COLUMN", "MEANING", "JSON"])
    same(lines[2].split()[0], "size")
    same(lines[2].split()[-1], "sizeBytes")
    assert len(quarry("pool", "ls", "-o", "help").out.splitlines()) > 10
    columns = quarry("ls", "-o", "help", "--json").json["columns"]
    same(columns[1], {"name": "size", "meaning": "What it can hold", "member": "sizeBytes"})


@test
def ls_sorts_by_any_column_from_both_ends():
    same(names()[-2:], ["web2", "web10"])
    same(names("--sort", "-name")[:2], ["web10", "web2"])
    same(names("--sort", "size")[:3], ["web2", "acme/db", "vault"])
    same(names("--sort", "-size")[0], "web10")
    same(names("--sort", "used")[:3], ["web10", "vault", "web2"])  # not known comes before nothing
    same(names("--sort=-state")[-1], "hurt")


@test
def ls_filters_by_any_column():
    same(names("--filter", "fs=xfs"), ["web2"])
    same(names("--filter", "size=20G"), ["web10"])
    same(names("--filter", "size=20480M"), ["web10"])
    same(names("--filter", "used=-"), ["web10"])
    same(names("--filter", "labels=app=web"), ["web10"])
    same(names("--filter", "labels=app"), ["db", "web10"])
    same(names("--filter", "labels=app", "--filter", "key=host"), ["db"])
    same(names("--filter", "mounted=/srv/*"), ["db"])
    same(names("--filter", "open=yes", "--filter", "fs=none"), ["raw"])
    same(names("--filter", "name=nothing"), [])
    same(names("--filter", "fs=xfs,size<1G"), ["web2"])
    same(names("--filter", "size>=10G,unused", "--filter", "label!=app"), ["hurt"])
    same(names("--filter", "unused"), ["acme/db", "hurt", "vault", "web2", "web10"])
    same(names("--filter", "unused=no"), ["anonymous", "db", "raw"])
    same(names("--filter", "tenant=acme,label=note"), ["acme/db"])
    same(names("--filter", "created<7d"), [])
    same(len(names("--filter", "created>7d")), 8)
    same(sorted(world.sent("io.quarry.Volume.List")[-1][1]["fields"]), ["createdAt", "name", "tenant"])
    assert {"holds", "filesystem", "open"} <= set(quarry("ls", "--filter", "unused", "-o", "name").out and
                                                  world.sent("io.quarry.Volume.List")[-1][1]["fields"])
    same(quarry("pool", "ls", "--no-legend", "-o", "name", "--filter", "use%>20,state=active").out, "default\n")
    same([v["name"] for v in quarry("ls", "--json", "--filter", "name=web*", "--sort", "-name").json["volumes"]],
         ["web10", "web2"])


@test
def ls_refuses_what_is_no_column():
    for arguments in (["-o", "name,colour"], ["--sort", "colour"], ["--filter", "colour=red"]):
        usage(quarry("ls", *arguments), 'there is no column "colour"', "hint: -o help", "usage: quarry ls")
    usage(quarry("ls", "-o", "name,"), 'no column ""')
    usage(quarry("ls", "--filter", "name"), "is not COLUMN=VALUE")
    usage(quarry("ls", "--filter", "size=big"), "is not a size")
    usage(quarry("ls", "--filter", "fs=xfs,colour=red"), "there are: name, size, used, ", "labels, label, created")
    usage(quarry("ls", "--filter", "unusde"), "nor one of: held, protected, unused, open")
    usage(quarry("ls", "--filter", "fs=ntfs"), "fs is one of: ext4 xfs none")
    usage(quarry("ls", "--filter", "created<7"), "such as 7d")
    usage(quarry("prune", "--yes", "--filter", "fs=ntfs"), "fs is one of: ext4 xfs none", "usage: quarry prune")
    same(world.server.requests, [])


@test
def ls_json_gives_the_members_of_the_columns_asked_for():
    chosen = quarry("ls", "--json", "-o", "name,size", "--tenant", "acme").json
    same(chosen, {"version": 1, "volumes": [{"name": "db", "tenant": "acme", "sizeBytes": 1 << 30}], "errors": []})
    sorted_by_used = quarry("ls", "--json", "-o", "size", "--sort", "used", "--filter", "fs=xfs").json["volumes"]
    same(sorted_by_used, [{"sizeBytes": 512 << 20}])  # what only decides is not shown
    same(len(quarry("ls", "--json", "--tenant", "acme").json["volumes"][0]) > 15, True)
    pools = quarry("pool", "ls", "--json", "-o", "name,use%").json["pools"]
    same(set(pools[0]), {"name", "dataSizeBytes", "dataUsedBytes"})


@test
def control_characters_of_a_label_do_not_reach_the_terminal():
    for arguments in (["ls", "-o", "name,labels"], ["inspect", "acme/db"]):
        out = quarry(*arguments).out
        assert "note=evil?[31m?line" in out and "\x1b" not in out, out


@test
def a_narrow_terminal_gets_cut_columns_and_a_pipe_whole_ones():
    out = Terminal("ls", columns=80).finish().out
    lines = [ESCAPES.sub("", line) for line in out.splitlines()]
    same(len(lines), 9, out)
    assert max(map(len, lines)) <= 80, out
    assert lines[1].startswith("aaaaaaaaaa") and "aaa... " in lines[1], out
    assert any(line.startswith("db ") and line.endswith("/srv/db") for line in lines), out
    wide = Terminal("ls", columns=200).finish().out
    assert "a" * 64 in wide and "..." not in wide, wide


@test
def an_empty_list_says_what_to_do_on_a_terminal_only():
    world.server.volumes.clear()
    assert "No volumes yet. Make one: quarry create" in Terminal("ls").finish().out
    same(quarry("ls").out.split(), ["NAME", "SIZE", "USED", "FS", "KEY", "STATE", "MOUNTED"])
    same(quarry("ls", "--json").json, {"version": 1, "volumes": [], "errors": []})


@test
def a_list_that_lacks_a_pool_says_so_and_fails():
    world.server.missing = [
        {"name": "gone", "state": "unavailable", "failure": "a disk is missing", "volumes": 0},
        {"name": "stale", "state": "activating", "volumes": 3},
    ]
    done = quarry("ls", "--no-legend", "-o", "name")
    same(done.code, 1)
    same(len(done.out.splitlines()), 8)
    same(done.err, """\
quarry: cannot ask pool gone: it is unavailable, and its volumes are not in the list: a disk is missing
  try: quarry pool inspect gone
quarry: cannot ask pool stale: it is activating, and its volumes are listed as they were before
  try: quarry pool inspect stale
""")
    document = quarry("ls", "--json").json
    same(len(document["volumes"]), 8)
    same([(e["object"], e["kind"]) for e in document["errors"]],
         [("gone", "PoolUnavailable"), ("stale", "PoolUnavailable")])
    world.server.volumes.clear()
    assert "No volumes yet" not in Terminal("ls").finish().out


@test
def numbers_of_a_pool_that_nobody_knows_are_not_zero():
    known = api_server.pool("gone", state="unavailable", failure="a disk is missing")
    world.server.pools = [{k: known[k] for k in ("name", "uuid", "state", "failure", "origin", "devices")}]
    same(quarry("pool", "ls", "--no-legend", "-o", "name,size,use%,volumes,state,space").out.split(),
         ["gone", "-", "-", "-", "unavailable", "-"])
    out = quarry("pool", "inspect", "gone").out
    assert "a disk is missing" in out and "Promised" not in out, out


@test
def colour_is_for_terminals_without_no_color():
    assert "\x1b[1m" in Terminal("ls").finish().out
    assert "\x1b" not in Terminal("ls", env={"NO_COLOR": "1"}).finish().out
    assert "\x1b" not in Terminal("ls", env={"TERM": "dumb"}).finish().out
    assert "\x1b" in Terminal("inspect", "nix").finish().out
    assert "\x1b" not in quarry("inspect", "nix").err


# --- one volume


@test
def inspect_shows_everything():
    same(quarry("inspect", "db", "raw").out, """\
Name:         db
Tenant:       default
Pool:         default
Kind:         block
State:        ready
Size:         10G (10737418240 bytes)
Used:         1.2G, 12% (1288490189 bytes)
Filesystem:   ext4
Mkfs options: -m 1
Encryption:   LUKS2, aes-xts-plain64, 512-bit key, 4096-byte sectors
Key:          host: opens by itself on this host
Mounted at:   /run/quarry/mnt/default/db
              /srv/db (read-only)
Root made as: uid 0 (root), gid 0 (root), mode 0755
Labels:       app=db
              tier=prod
Created:      2026-02-03T10:00:00Z
UUID:         6f1c2f6e-0000-4000-8000-00000017ecda

Name:         raw
Tenant:       default
Pool:         default
Kind:         block
State:        ready
Size:         10G (10737418240 bytes)
Used:         1.2G, 12% (1288490189 bytes)
Filesystem:   none
Encryption:   none
Device:       /dev/quarry/default/raw
Created:      2026-02-03T10:00:00Z
UUID:         6f1c2f6e-0000-4000-8000-00000027e016
""")
    assert "Failure:      undo of mkfs failed" in quarry("inspect", "hurt").out
    assert "Used:         not known" in quarry("inspect", "web10").out
    assert "Exclusive:    1.2M, 40 s ago" in quarry("inspect", "hurt").out
    same(quarry("ls", "--no-legend", "-o", "name,exclusive", "--filter", "name=hurt").out.split(), ["hurt", "1.2M"])


@test
def inspect_goes_on_behind_a_failure():
    result = quarry("inspect", "nix", "db")
    same(result.code, 3)
    assert result.out.startswith("Name:         db\n"), result
    same(result.err, "quarry: cannot inspect nix: there is no volume nix\n  try: quarry ls\n")
    document = quarry("inspect", "nix", "db", "--json").json
    same([v["name"] for v in document["volumes"]], ["db"])
    same(document["errors"], [{"object": "nix", "kind": "NoSuchVolume", "message": "there is no volume nix",
                               "hint": "quarry ls"}])


@test
def exists_answers_by_exit_code_alone():
    for name, code in (("db", 0), ("acme/db", 0), ("nix", 3)):
        result = quarry("exists", name)
        same((result.code, result.out, result.err), (code, "", ""), name)
    same(quarry("exists", "nix", "--json").json, {"version": 1, "volume": "nix", "exists": False})
    same(quarry("exists", "dropped").code, 8)


# --- create


@test
def create_sends_what_was_typed():
    same(quarry("create", "new", "--size", "1.5G").out, "new\n")
    same(world.sent("io.quarry.Volume.Create")[0][1], {"volume": "new", "sizeBytes": 1610612736})
    result = quarry("create", "--size=512MiB", "full", "--pool", "fast", "--tenant", "acme", "--fs", "xfs", "--encrypt",
                    "--label", "a=1", "--label", "b=x=y", "--uid", "root", "--gid", "4242", "--mode", "01770",
                    "--mkfs-option", "-m 1", "--mkfs-option=-K", "--if-absent")
    same((result.code, result.out, result.err), (0, "full\n", ""))
    same(world.sent("io.quarry.Volume.Create")[1][1], {
        "volume": "fast:acme/full", "sizeBytes": 512 << 20, "filesystem": "xfs", "keySource": "host",
        "labels": ["a=1", "b=x=y"], "uid": 0, "gid": 4242, "mode": 0o1770, "mkfsOptions": ["-m 1", "-K"],
        "ifAbsent": True})


@test
def create_puts_the_reference_together():
    for arguments, reference in (
            (["n", "--pool", "p"], "p:n"), (["n", "--tenant", "t"], "t/n"), (["p:n", "--tenant", "t"], "p:t/n"),
            (["t/n", "--pool", "p"], "p:t/n"), (["p:t/n"], "p:t/n")):
        same(quarry("create", *arguments, "--size", "1G").code, 0)
        same(world.sent("io.quarry.Volume.Create")[-1][1]["volume"], reference)
    usage(quarry("create", "p:n", "--pool", "q", "--size", "1G"), "the pool is part of the name")
    usage(quarry("create", "t/n", "--tenant", "u", "--size", "1G"), "the tenant is part of the name")


@test
def create_refuses_what_cannot_be_parsed_before_it_asks_the_daemon():
    good = ["create", "x", "--size", "1G"]
    for arguments, part in (
            (["create", "x"], "--size is missing"),
            (["create", "x", "--size", "abc"], '--size: "abc" is not a size'),
            (["create", "x", "--size", "10 G"], "is not a size"),
            (["create", "x", "--size", ""], "is not a size"),
            (["create", "x", "--size", "-5G"], "is negative"),
            (["create", "x", "--size", "0"], "is nothing"),
            (["create", "x", "--size", "99999999999P"], "too large"),
            (["create", "x", "--size"], "--size needs a value: SIZE"),
            ([*good, "--mode", "888"], "is not a mode"),
            ([*good, "--mode", "77777"], "is not a mode"),
            ([*good, "--uid", "nobody-at-all"], "is neither a user's name nor a number"),
            ([*good, "--uid", "4294967295"], "is neither a user's name nor a number"),
            ([*good, "--gid", "-1"], "is neither a group's name nor a number"),
            ([*good, "--label", "novalue"], "is not a label"),
            ([*good, "--label", "=x"], "is not a label"),
            ([*good, "--fs", "btrfs"], "is none of ext4, xfs and none"),
            ([*good, "--key", "tpm"], "is neither host nor passphrase"),
            ([*good, "--key", "none"], "is neither host nor passphrase"),
            ([*good, "--key", "host", "--key-file", "/dev/null"], "the host's key needs no file"),
            ([*good, "--colour", "red"], "there is no option --colour"),
            ([*good, "--encrypt=yes"], "--encrypt takes no value"),
            ([*good, "-x"], "there is no option -x"),
            ([*good, "y"], '"y" is one argument too many'),
            (["create", "--size", "1G"], "an argument is missing")):
        usage(quarry(*arguments), part, "usage: quarry create NAME --size SIZE")
    same(world.server.requests, [])


@test
def the_daemons_errors_become_exit_codes():
    codes = {
        "Failed": 1, "BadRequest": 2, "NotSupported": 1, "PermissionDenied": 6, "NoSuchVolume": 3, "NoSuchPool": 3,
        "NoPool": 3, "VolumeExists": 7, "PoolExists": 7, "VolumeBusy": 4, "PoolBusy": 4, "DeviceUnusable": 1,
        "NoSpace": 5, "KeyRequired": 6, "WrongKey": 6, "VolumeBroken": 1, "PoolUnavailable": 1, "WorkerDied": 1,
        "Overloaded": 1, "org.varlink.service.PermissionDenied": 6, "org.varlink.service.InvalidParameter": 2,
        "com.example.Surprise": 1}
    for name, code in codes.items():
        result = quarry("create", f"error-{name}", "--size", "1G")
        same((result.code, result.out), (code, ""), name)
        assert result.err.startswith(f"quarry: cannot create error-{name}: "), result
        assert "usage:" not in result.err, result


@test
def errors_say_what_why_and_what_next():
    same(quarry("create", "nopool", "--size", "1G").err,
         "quarry: cannot create nopool: there is no pool yet\n"
         "  try: quarry pool create default --file /var/lib/quarry.img --size 10G\n")
    same(quarry("create", "unlucky", "--size", "1G").err,
         "quarry: cannot create unlucky: mkfs.ext4 failed: Input/output error (while making the filesystem)\n")
    same(quarry("create", "unlucky", "--size", "1G", "--json").json, {"version": 1, "error": {
        "kind": "Failed", "message": "mkfs.ext4 failed: Input/output error", "step": "making the filesystem",
        "errorNumber": 5}})
    result = quarry("create", "huge", "--size", "9P", "--json")
    same((result.code, result.err, result.json["error"]["field"]), (2, "", "sizeBytes"))


@test
def create_json_and_if_absent():
    document = quarry("create", "new", "--size", "1G", "--json").json
    same((document["version"], document["existed"], document["volume"]["name"]), (1, False, "new"))
    same(quarry("create", "web2", "--size", "1G", "--if-absent", "--json").json["existed"], True)
    same(quarry("create", "web2", "--size", "1G").code, 7)


# --- keys


def last_key():
    method, parameters, texts, seals = world.server.requests[-1]
    assert parameters.get("keyFileDescriptor") == 0, parameters
    same(seals, [api_server.ALL_SEALS])
    return texts[0]


@test
def a_key_file_travels_byte_for_byte_in_a_sealed_memfd():
    for data in (b"sesame", b"sesame\n", b"two\nlines\n\n", bytes(range(256)), b"x" * 8192):
        result = quarry("create", "k", "--size", "1G", "--key-file", world.file("key", data))
        same(result.code, 0, str(result))
        same(last_key(), data)
        same(world.server.requests[-1][1]["keySource"], "passphrase")
        result = quarry("create", "k2", "--size", "1G", "--key-file", "-", stdin=data)
        same(result.code, 0, str(result))
        same(last_key(), data)
        world.server.volumes = [v for v in world.server.volumes if v["name"][0] != "k"]
    assert "sesame" not in json.dumps([r[1] for r in world.server.requests])


@test
def a_bad_key_file_is_refused():
    create = ["create", "k", "--size", "1G", "--key-file"]
    usage(quarry(*create, world.file("key", b"")), "is empty")
    usage(quarry(*create, "-"), "standard input is empty")
    usage(quarry(*create, world.file("key", b"x" * 8193)), "more than 8192 bytes")
    usage(quarry(*create, world.folder + "/nothing"), "No such file")
    usage(quarry(*create, world.folder), "Is a directory")
    usage(quarry("create", "k", "--size", "1G", "--key", "passphrase"), "no terminal", "try: --key-file FILE")
    same(world.server.requests, [])


@test
def encrypt_alone_is_the_hosts_key():
    for options, source in ((["--encrypt"], "host"), (["--key", "host"], "host"), (["--encrypt", "--key", "host"], "host")):
        same(quarry("create", f"k{len(options)}{len(world.server.requests)}", "--size", "1G", *options).code, 0)
        method, parameters, texts, _ = world.server.requests[-1]
        same((parameters["keySource"], parameters.get("keyFileDescriptor"), texts), (source, None, []))


@test
def a_new_passphrase_is_asked_for_twice_without_echo():
    t = Terminal("create", "k", "--size", "1G", "--key", "passphrase")
    result = t.answer("New passphrase for k: ", "öpen 123\n").answer("again: ", "öpen 123\n").finish()
    same(result.code, 0, str(result))
    assert "123" not in t.shown + result.out, result
    same(last_key(), "öpen 123".encode())


@test
def two_different_or_empty_passphrases_are_refused():
    t = Terminal("create", "k", "--size", "1G", "--key", "passphrase")
    result = t.answer("for k: ", "one\n").answer("again: ", "two\n").finish()
    same(result.code, 2, str(result))
    assert "the two passphrases differ" in result.out, result
    result = Terminal("create", "k", "--size", "1G", "--key", "passphrase").answer("for k: ", "\n").finish()
    same(result.code, 2, str(result))
    same(world.server.requests, [])


@test
def an_interrupted_prompt_leaves_the_echo_on():
    t = Terminal("create", "k", "--size", "1G", "--key", "passphrase")
    t.expect("for k: ")
    same(termios.tcgetattr(t.slave)[3] & termios.ECHO, 0)
    os.write(t.master, b"half\x03")
    same(t.process.wait(timeout=10), -signal.SIGINT)
    assert termios.tcgetattr(t.slave)[3] & termios.ECHO
    t.finish()


# --- doctor

FINDINGS = [
    {"kind": "strayDevice", "object": "quarry-x", "message": "it belongs to no volume", "fixable": True},
    {"kind": "poolFull", "object": "default", "message": "the pool is full", "hint": "remove volumes", "fixable": False},
]


@test
def doctor_says_what_is_wrong_and_what_to_do():
    result = quarry("doctor")
    same((result.code, result.err), (0, ""))
    assert re.fullmatch(r"All is well: \d+ pools, \d+ volumes\.\n", result.out), result
    world.server.findings = FINDINGS
    result = quarry("doctor")
    same((result.code, result.err), (1, ""))
    same(result.out, "quarry-x: it belongs to no volume\n  what to do: quarry doctor --fix\n"
                     "default: the pool is full\n  what to do: remove volumes\n")
    result = quarry("doctor", "--fix")
    same((result.code, result.out.splitlines()[1]), (1, "  fixed"))
    world.server.findings = FINDINGS[:1]
    same(quarry("doctor", "--fix").code, 0)
    result = quarry("doctor", "--json")
    same((result.code, result.json["version"], result.json["findings"][0]["kind"]), (1, 1, "strayDevice"))


# --- prune, protection


@test
def prune_shows_what_nobody_holds_and_asks():
    result = quarry("prune", "--dry-run")
    same((result.code, result.out, result.err), (0, """\
would remove acme/db (1G, 1.2G used)
would remove vault (2G, 0B used)
would remove web2 (512M, 40M used)
would remove web10 (20G)
4 volumes, at least 1.24G used
""", ""))
    document = quarry("prune", "--dry-run", "--json", "--filter", "fs=xfs").json
    same(([v["name"] for v in document["wouldRemove"]], document["usedBytes"]), (["web2"], 40 << 20))
    same((document["version"], document["skipped"], document["errors"]), (1, [], []))
    t = Terminal("prune", "--filter", "fs=xfs,unused")
    t.expect("  web2  (512M, 40M used)").expect("1 volume, 40M used")
    result = t.answer("Remove this volume and everything in it? [y/N] ", "n\n").finish()
    same((result.code, world.sent("io.quarry.Volume.Remove")), (1, []), str(result))
    assert "nothing was removed" in result.out, result
    result = Terminal("prune").answer("Remove these 4 volumes and everything in them? [y/N] ", "y\n").finish()
    same((result.code, len(world.server.volumes)), (0, 4), str(result))  # the broken one is left alone
    same(Terminal("prune", "--yes").finish().out, "Nothing is to be removed.\n")
    result = quarry("prune", "--yes")
    same((result.code, result.out, result.err), (0, "", ""))


@test
def prune_removes_what_matches_by_its_uuid():
    web2 = next(v["uuid"] for v in world.server.volumes if v["name"] == "web2")
    result = quarry("prune", "--filter", "name=web*,size<1G")
    same((result.code, result.out, result.err), (0, "web2\n", "  web2  (512M, 40M used)\n1 volume, 40M used\n"))
    same([r[1] for r in world.sent("io.quarry.Volume.Remove")], [{"volume": web2}])
    same(quarry("prune", "--json", "--filter", "name=web*", "--filter", "size>1G").json,
         {"version": 1, "removed": ["web10"], "errors": [], "skipped": [], "usedBytes": 0})
    same(quarry("prune", "--json", "--filter", "name=acme/db").json,
         {"version": 1, "removed": ["acme/db"], "errors": [], "skipped": [], "usedBytes": 1288490189})


@test
def prune_takes_snapshots_along_when_told_so():
    web2 = next(v for v in world.server.volumes if v["name"] == "web2")
    web2["snapshots"] = 2
    result = quarry("prune", "--dry-run", "--filter", "name=web2")
    same((result.out, result.err), ("", "skipped web2: it has 2 snapshots\n"))
    result = quarry("prune", "--dry-run", "--snapshots", "--filter", "name=web2")
    same((result.out, result.err),
         ("would remove web2 (512M, 40M used, and 2 snapshots)\n1 volume, at least 40M used\n", ""))
    same(quarry("prune", "--yes", "--snapshots", "--filter", "name=web2").out, "web2\n")
    same(world.sent("io.quarry.Volume.Remove")[-1][1], {"volume": web2["uuid"], "snapshots": True})


@test
def prune_skips_what_is_to_stay_or_was_taken_up_meanwhile():
    by_name = {v["name"]: v for v in world.server.volumes}
    by_name["vault"]["snapshots"] = 2
    by_name["web10"]["protected"] = True
    same(quarry("prune", "--dry-run", "--filter", "name!=db").err,
         "skipped vault: it has 2 snapshots\nskipped web10: it is protected\n")

    def mounted(uuid):
        by_name["web2"].update(api_server.mounted("default", "web2"))
        if by_name["db"]["uuid"] == uuid:  # that of acme
            world.server.volumes.remove(by_name["db"])
    world.server.before_remove = mounted
    result = quarry("prune", "--yes")
    same((result.code, result.out), (0, ""), str(result))
    assert "skipped web2: it is in use: mounted at /run/quarry/mnt/default/web2\n" in result.err, result
    assert "skipped acme/db: somebody else has removed it\n" in result.err, result
    by_name["web2"].update(open=False, holds=[])

    def protected(uuid):
        by_name["web2"]["protected"] = True
    world.server.before_remove = protected
    result = quarry("prune", "--json", "--filter", "fs=xfs")
    same((result.code, result.err), (0, ""))
    same((result.json["removed"], result.json["errors"], result.json["usedBytes"]), ([], [], 0))
    same(result.json["skipped"], [{"object": "web2", "reason": "volume web2 is protected from being removed"}])
    same(quarry("prune", "--json", "--yes").json["skipped"][0], {"object": "vault", "reason": "it has 2 snapshots"})


@test
def prune_fails_where_a_pool_is_missing_or_a_removal_breaks():
    world.server.missing = [{"name": "default", "state": "unavailable", "volumes": 8}]
    world.server.volumes.append(api_server.volume("elsewhere", pool="second", usedBytes=0))
    result = quarry("prune", "--dry-run")
    same((result.code, result.out), (1, "would remove elsewhere (10G, 0B used)\n1 volume, 0B used\n"), str(result))
    assert "cannot ask pool default: it is unavailable" in result.err, result

    def broken(uuid):
        raise api_server.Failure("Failed", "the disk is gone")
    world.server.before_remove = broken
    world.server.missing = []
    result = quarry("prune", "--filter", "pool=second")
    same((result.code, result.out), (1, ""), str(result))
    assert result.err.endswith("quarry: cannot remove elsewhere: the disk is gone\n"), result
    same(quarry("prune", "--filter", "pool=second", "--json").json["errors"],
         [{"object": "elsewhere", "kind": "Failed", "message": "the disk is gone"}])
    same(quarry("prune", "--json", "--yes", env={"QUARRY_SOCKET": "/none"}).json["error"]["kind"], "Unreachable")
    usage(quarry("prune"), "needs a filter, or --yes")
    usage(quarry("prune", "web2"), '"web2" is one argument too many')


@test
def what_is_protected_is_shown_and_said():
    result = quarry("create", "new", "--size", "1G", "--protect")
    same((result.code, result.out), (0, "new\n"), str(result))
    same(world.sent("io.quarry.Volume.Create")[-1][1].get("protected"), True)
    for arguments in ([], ["--no-protect"], ["--no-protect", "--no-protect"]):
        quarry("create", "new", "--size", "1G", "--if-absent", *arguments)
        assert "protected" not in world.sent("io.quarry.Volume.Create")[-1][1], arguments
    for verb in (["create", "x", "--size", "1G"], ["update", "web2"]):
        for pair in (["--protect", "--no-protect"], ["--no-protect", "--protect"]):
            usage(quarry(*verb, *pair), "--protect and --no-protect exclude each other", "usage: quarry " + verb[0])
    for arguments, protected in ((["--protect"], True), (["--no-protect"], False)):
        quarry("update", "web2", *arguments)
        same(world.sent("io.quarry.Volume.Update")[-1][1], {"volume": "web2", "protected": protected})
    next(v for v in world.server.volumes if v["name"] == "web2")["protected"] = True
    same(quarry("ls", "--no-legend", "-o", "name,state,protected", "--filter", "protected").out.split(),
         ["web2", "ready,protected", "yes"])
    assert "Protected:    yes: it cannot be removed\n" in quarry("inspect", "web2").out
    assert "Protected:" not in quarry("inspect", "raw").out
    for arguments in (["rm", "web2"], ["rm", "--lazy", "web2"], ["rm", "--snapshots", "web2"], ["rm", "--dry-run", "web2"]):
        result = quarry(*arguments)
        same((result.code, result.out), (4, ""), str(result))
        assert result.err.endswith("is protected from being removed\n  try: quarry update --no-protect web2\n"), result


# --- mount, umount


@test
def mount_prints_the_path():
    result = quarry("mount", "web2")
    same((result.code, result.out, result.err), (0, "/run/quarry/mnt/default/web2\n", ""))
    same(world.server.requests[-1][1], {"volume": "web2"})
    same(quarry("mount", "raw").out, "/dev/quarry/default/raw\n")
    same(quarry("mount", "acme/db", "-o", "ro,noexec", "--json").json,
         {"version": 1, "volume": "acme/db", "path": "/run/quarry/mnt/acme/db"})
    same(world.server.requests[-1][1], {"volume": "acme/db", "options": ["ro", "noexec"]})
    same(quarry("mount", "acme/db", "--options", "noatime", "--context", "system_u:object_r:web_t:s0:c1,c2").code, 0)
    same(world.server.requests[-1][1],
         {"volume": "acme/db", "options": ["noatime"], "context": "system_u:object_r:web_t:s0:c1,c2"})


@test
def mount_refuses_before_it_asks():
    folder = os.path.dirname(world.file("there", b""))
    for arguments, words in ((["-o", "fast"], '"fast" is no mount option that is known here: rw, ro, exec, noexec'),
                             (["-o", ""], '"" is no mount option'),
                             (["-o", "ro,noexec,rw"], "ro and rw contradict each other"),
                             (["-o", "noatime", "-o", "strictatime"], "noatime and strictatime contradict"),
                             (["--idmap", "1000:1000"], '"1000:1000" is no range of ids: UID:GID:COUNT'),
                             (["--idmap", "0:1:1"], "UID, GID and COUNT are 1 or more"),
                             (["--idmap", "5:5:0"], "UID, GID and COUNT are 1 or more"),
                             (["--idmap", "5:4294967290:10"], "no id of it is above 4294967294"),
                             (["--idmap", "5:5:10", "--idmap", "14:90:1"], "ranges 5:5:10 and 14:90:1 overlap"),
                             (["--idmap", "5:5:1", "--userns", str(os.getpid())], "only one of them"),
                             (["--userns", "me"], '"me" is not the number of a process'),
                             (["--userns", "99999999"], "there is no process 99999999"),
                             (["--context", "web"], '"web" is no SELinux context')):
        before = len(world.server.requests)
        result = quarry("mount", "db", folder, *arguments)
        same(result.code, 2, arguments)
        same(words in result.err, True, result.err)
        same(len(world.server.requests), before, arguments)
    for arguments, words in ((["--idmap", "5:5:1"], "other ids need a target"),
                             (["--userns", str(os.getpid())], "other ids need a target"),
                             (["-o", "suid"], "options suid and dev need a target")):
        result = quarry("mount", "db", *arguments)
        same(result.code, 1, arguments)
        same(words in result.err, True, result.err)


@test
def mount_takes_the_passphrase_from_a_file():
    same(quarry("mount", "vault", "--key-file", "-", stdin=b"sesame").code, 0)
    same(last_key(), b"sesame")
    result = quarry("mount", "vault", "--key-file", world.file("key", b"sesame\n"))
    same(result.code, 6)
    assert "that passphrase does not open volume vault" in result.err, result
    result = quarry("mount", "vault")
    same(result.code, 6)
    assert "hint: the same with --key-file FILE" in result.err, result


@test
def mount_asks_until_the_passphrase_is_right_three_times_at_most():
    t = Terminal("mount", "vault")
    result = t.answer("Passphrase for vault: ", "wrong\n").answer("does not open it", "") \
        .answer("Passphrase for vault: ", "sesame\n").finish()
    same(result.code, 0, str(result))
    assert result.out.endswith("/run/quarry/mnt/default/vault\n"), result

    t = Terminal("mount", "vault")
    for _ in range(3):
        t.answer("Passphrase for vault: ", "wrong\n")
    result = t.finish()
    same(result.code, 6, str(result))
    assert "Passphrase" not in result.out and "cannot mount vault" in result.out, result


def detached_tmpfs():
    """fsopen, fsconfig, fsmount: a mount that is attached nowhere."""
    context = libc.syscall(430, b"tmpfs", 1)
    if context < 0 or libc.syscall(431, context, 6, None, None, 0) < 0:
        raise OSError(ctypes.get_errno(), "no tmpfs")
    fd = libc.syscall(432, context, 1, 0)
    os.close(context)
    return fd


@test
def mount_attaches_a_detached_mount_to_a_directory():
    if os.geteuid() != 0:
        return "needs root"
    target = os.path.join(world.folder, "here")
    os.mkdir(target)
    world.server.mount_source = detached_tmpfs
    world.server.burst = True  # the descriptor must not be lost with a line of progress that came along
    result = quarry("mount", "web2", target)
    same((result.code, result.out, result.err), (0, target + "\n", ""))
    same(world.server.requests[-1][1], {"volume": "web2", "detached": True})
    same(os.path.ismount(target), True)

    result = quarry("umount", target)  # no volume of ours: a tmpfs
    same((result.code, os.path.ismount(target)), (3, True), str(result))
    assert "no volume of quarry" in result.err and f"try: umount {target}" in result.err, result
    libc.umount2(target.encode(), 0)

    os.chmod(world.folder, 0o700)
    result = quarry("mount", "web2", target, user=65534)
    same((result.code, result.out), (6, ""), str(result))
    assert f"no access to {target}" in result.err, result
    os.chmod(world.folder, 0o755)
    os.chmod(world.socket, 0o666)
    result = quarry("mount", "web2", target, user=65534)
    same((result.code, os.path.ismount(target)), (6, False), str(result))
    assert f"attaching it to {target} takes root" in result.err, result


@test
def mount_looks_at_the_target_first():
    missing, plain = world.folder + "/missing", world.file("plain", b"")
    result = quarry("mount", "web2", missing)
    same(result.code, 2, str(result))
    assert f"the directory {missing} does not exist\n  try: mkdir {missing}" in result.err, result
    same(quarry("mount", "web2", plain).code, 2)
    same(world.server.requests, [])
    result = quarry("mount", "web2", world.folder)  # a daemon that passes nothing
    same(result.code, 1, str(result))
    assert "passed no mount" in result.err, result


@test
def what_is_let_go_lazily_is_said_with_its_users():
    result = quarry("umount", "--lazy", "db")
    same((result.code, result.out, result.err), (0, "db\n", "db is unmounted, and stays open: used by sleep (pid 7)\n"))
    same(quarry("umount", "db").err, "")
    result = quarry("rm", "--lazy", "--yes", "db")
    same((result.code, result.out), (0, "db\n"))
    same(result.err, "db goes when its last user does: mounted at /srv/db\n")
    same(quarry("rm", "--lazy", "--json", "db").json,
         {"version": 1, "removed": ["db"], "errors": [], "users": {"db": "mounted at /srv/db"}})
    same(quarry("umount", "--lazy", "--json", "db").json,
         {"version": 1, "unmounted": ["db"], "errors": [], "users": {"db": "used by sleep (pid 7)"}})


@test
def umount_tells_names_from_paths():
    result = quarry("umount", "db", "web2", "nix", "/proc", "/nonexistent", world.folder)
    same((result.code, result.out), (2, "db\n"), str(result))
    same([r[1]["volume"] for r in world.sent("io.quarry.Volume.Unmount")], ["db", "web2", "nix"])
    for part in ("cannot unmount web2: volume web2 is not mounted", "cannot unmount /proc: what is mounted there",
                 "cannot unmount /nonexistent: cannot look at it", f"nothing is mounted at {world.folder}"):
        assert part in result.err, result
    os.chdir(world.folder)
    os.mkdir("srv")
    same(quarry("umount", "srv").err, "quarry: cannot unmount srv: there is no volume srv\n  try: quarry umount ./srv\n")
    document = quarry("umount", "db", "/proc", "--json").json
    same((document["unmounted"], [e["object"] for e in document["errors"]]), (["db"], ["/proc"]))


# --- rm


@test
def rm_tries_all_and_exits_with_the_first_failure():
    result = quarry("rm", "web2", "db", "nix", "web10")
    same((result.code, result.out), (4, "web2\nweb10\n"))
    same(result.err, "quarry: cannot remove db: it is in use: mounted at /srv/db\n  try: quarry umount db\n"
                     "quarry: cannot remove nix: there is no volume nix\n  try: quarry ls\n")
    result = quarry("rm", "nix", "db", "raw", "--json")
    same((result.code, result.err), (3, ""))
    same(result.json["removed"], ["raw"])
    same([(e["object"], e["kind"]) for e in result.json["errors"]], [("nix", "NoSuchVolume"), ("db", "VolumeBusy")])
    same(quarry("rm", "vault", "--json").json, {"version": 1, "removed": ["vault"], "errors": []})


@test
def rm_dry_run_touches_nothing():
    result = quarry("rm", "--dry-run", "web2", "web10", "db")
    same((result.code, result.out), (4, "would remove web2 (512M, 40M used)\nwould remove web10 (20G)\n"))
    assert "cannot remove db: it is in use: mounted at /run/quarry/mnt/default/db" in result.err, result
    document = quarry("rm", "--dry-run", "web2", "--json").json
    same([v["usedBytes"] for v in document["wouldRemove"]], [40 << 20])
    same(world.sent("io.quarry.Volume.Remove"), [])


@test
def rm_dry_run_looks_at_the_snapshots():
    web2 = next(v for v in world.server.volumes if v["name"] == "web2")
    web2["snapshots"] = 2
    for name in ("web2@a", "web2@b", "web20@c"):
        world.server.volumes.append({**api_server.volume(name), "type": "snapshot", "held": False})
    same(quarry("rm", "--dry-run", "--snapshots", "web2").out.split("\n")[:3],
         ["would remove web2@a (10G, 1.2G used)", "would remove web2@b (10G, 1.2G used)", "would remove web2 (512M, 40M used)"])
    world.server.volumes[-2]["held"] = True
    result = quarry("rm", "--dry-run", "--snapshots", "web2")
    same((result.code, result.out), (4, ""), str(result))
    assert "quarry release web2@b" in result.err, result


@test
def rm_asks_on_a_terminal():
    t = Terminal("rm", "web2", "nix")
    result = t.answer("[y/N] ", "n\n").finish()
    same((result.code, world.sent("io.quarry.Volume.Remove")), (1, []), str(result))
    assert "web2  (512M, 40M used)" in t.shown and "nothing was removed" in result.out, (t.shown, result)

    result = Terminal("rm", "web2", "raw").answer("Remove these 2 volumes", "").answer("[y/N] ", "y\n").finish()
    same(result.code, 0, str(result))
    same(len(world.sent("io.quarry.Volume.Remove")), 2)

    result = Terminal("rm", "--yes", "vault").finish()
    same(result.code, 0, str(result))
    assert "[y/N]" not in result.out, result


@test
def progress_is_one_line_on_a_terminal_and_is_cleared():
    result = Terminal("create", "new", "--size", "1G").finish()
    parts = result.out.split("\r")
    same(parts[1:4], ["creating new: making the thin device (1/3)\x1b[K",
                      "creating new: making the filesystem (2/3)\x1b[K",
                      "creating new: making the root directory (3/3)\x1b[K"])
    same(parts[4], "\x1b[Knew\n")
    same(quarry("create", "other", "--size", "1G").err, "")
    assert "creating" not in Terminal("create", "third", "--size", "1G", "--json").finish().out


# --- pools


@test
def pool_create_sends_what_was_typed():
    create = ["pool", "create", "p"]
    os.chdir(world.folder)
    for arguments, sent in (
            (["/dev/a", "b"], {"devices": ["/dev/a", os.path.join(os.getcwd(), "b")]}),
            (["--vg", "vg0", "--size", "1T"], {"volumeGroup": "vg0", "sizeBytes": 1 << 40}),
            (["--file", "img", "--size", "10G", "--metadata-size", "100M", "--chunk-size", "128K"],
             {"file": os.path.join(os.getcwd(), "img"), "sizeBytes": 10 << 30, "metadataSizeBytes": 100 << 20,
              "chunkSizeBytes": 128 << 10})):
        result = quarry(*create, *arguments)
        same((result.code, result.out, result.err), (0, "p\n", ""))
        same(world.sent("io.quarry.Pool.Create")[-1][1], {"name": "p", **sent})
    assert "next: quarry create NAME --size 1G --pool p" in Terminal(*create, "/dev/a").finish().out
    same(quarry(*create, "/dev/a", "--json").json["pool"]["name"], "p")


@test
def pool_create_wants_exactly_one_place():
    create = ["pool", "create", "p"]
    usage(quarry(*create), "where shall it lie?", "usage: quarry pool create", "--file /var/lib/p.img")
    usage(quarry(*create, "/dev/a", "--vg", "v", "--size", "1G"), "give only one of")
    usage(quarry(*create, "--vg", "v", "--file", "f", "--size", "1G"), "give only one of")
    usage(quarry(*create, "--vg", "v"), "--vg needs --size")
    usage(quarry(*create, "/dev/a", "--size", "1G"), "devices are taken whole")
    same(world.server.requests, [])
    same(quarry(*create, "/dev/used").err,
         "quarry: cannot create pool p: /dev/used bears a signature: ext4\n"
         "  hint: to give it to quarry anyway: wipefs --all /dev/used\n")


@test
def pools_are_listed_and_inspected():
    same(quarry("pool", "ls").out, """\
NAME     SIZE  USED  USE%  META%  PROMISED  VOLUMES  STATE   SPACE
default  100G   25G   25%     1%      300G        8  active  ok
try       10G    0B    0%     1%        0B        0  active  ok
""")
    same(quarry("pool", "ls", "--sort", "-use%", "-o", "name,origin,file", "--no-legend").out,
         "default  devices  -\ntry      file     /var/lib/try.img\n")
    same(quarry("pool", "inspect", "try").out, """\
Name:         try
State:        active
Lies in:      file /var/lib/try.img
Devices:      /dev/loop0
Data:         10G (10737418240 bytes)
  used:       0B, 0% (0 bytes)
Metadata:     160M (167772160 bytes)
  used:       1M, 1% (1048576 bytes)
Chunks:       64K (65536 bytes)
Promised:     0B to 0 volumes; at most 1000G may be promised
UUID:         0b0e7f3c-0000-4000-8000-00000000000a
""")
    same([p["name"] for p in quarry("pool", "ls", "--json").json["pools"]], ["default", "try"])
    document = quarry("pool", "inspect", "default", "nix", "--json").json
    same((document["pools"][0]["name"], document["errors"][0]["kind"]), ("default", "NoSuchPool"))


@test
def pools_are_removed_imported_exported():
    result = quarry("pool", "rm", "default", "try")
    same((result.code, result.out), (4, "try\n"), str(result))
    result = quarry("pool", "rm", "--dry-run", "default")
    same(result.code, 4)
    assert "it holds 8 volumes\n  try: quarry ls --pool default" in result.err, result
    t = Terminal("pool", "rm", "default").answer("Destroy this pool? [y/N] ", "\n")
    same(t.finish().code, 1)
    same(len(world.sent("io.quarry.Pool.Remove")), 2)
    same(quarry("pool", "import", "/dev/sdc").out, "moved\n")
    same(quarry("pool", "import").out, "")
    same([r[1] for r in world.sent("io.quarry.Pool.Import")], [{"devices": ["/dev/sdc"]}, {}])
    same(quarry("pool", "extend", "default", "--size", "20G").out, "default\n")
    same(quarry("pool", "extend", "default", "/dev/sdd", "--json").json["pool"]["dataSizeBytes"], 200 << 30)
    same([r[1] for r in world.sent("io.quarry.Pool.Extend")],
         [{"name": "default", "sizeBytes": 20 << 30}, {"name": "default", "devices": ["/dev/sdd"]}])
    same(quarry("pool", "extend", "default").code, 2)
    same(quarry("pool", "check", "default").out, "default: sound\n")
    world.server.damaged = "bad checksum in superblock"
    result = quarry("pool", "check", "default")
    same((result.code, result.out.splitlines()[0]), (1, "default: damaged: bad checksum in superblock"))
    assert "quarry pool check default --repair" in result.out, result
    result = quarry("pool", "check", "--repair", "default")
    assert result.code == 0 and "kept in vg0/old" in result.out and "quarry doctor" in result.out, result
    same(quarry("pool", "check", "default", "--json").json["sound"], False)
    same([r[1] for r in world.sent("io.quarry.Pool.Check")][1:3],
         [{"name": "default"}, {"name": "default", "repair": True}])
    same(quarry("pool", "check", "nix").code, 3)
    same(quarry("pool", "export", "default").out, "default\n")
    same(quarry("pool", "export", "nix", "--json").json["errors"][0]["object"], "nix")


# --- tenants


@test
def a_tenant_is_asked_for_by_names():
    same(quarry("tenant", "create", "acme", "--user", "root", "--user", "4001", "--group", "daemon", "--max-size", "2G",
                "--if-absent").out, "acme\n")
    same(world.sent("io.quarry.Tenant.Create")[-1][1],
         {"name": "acme", "users": [0, 4001], "groups": [1], "maxSizeBytes": 2 << 30, "ifAbsent": True})
    same(quarry("tenant", "ls", "--no-legend", "-o", "name,users,groups").out, "acme  root,4001  daemon\n")
    same(quarry("tenant", "ls", "--json").json["tenants"][0]["users"], [0, 4001])
    out = quarry("tenant", "inspect", "acme").out
    assert "Users:        root\n              4001\nGroups:       daemon\n" in out, out
    notices = quarry("status", "--json").json["notices"]
    same([(n["object"], n["hint"]) for n in notices],
         [("tenant acme", "quarry tenant update acme --pool default --remove-user 4001")])


@test
def a_member_cannot_be_added_and_removed_at_once():
    for pair in (["--user", "root", "--remove-user", "0"], ["--remove-user", "root", "--user", "root"]):
        usage(quarry("tenant", "update", "acme", *pair), "--user and --remove-user exclude each other for ")
    usage(quarry("tenant", "update", "acme", "--group", "0", "--remove-group", "root"),
          "--group and --remove-group exclude each other for root", "usage: quarry tenant update")
    same(world.server.requests, [])


# --- the command as a whole


@test
def a_difference_is_told_in_words_lines_and_json():
    same(quarry("diff", "db", "db").out, "Nothing differs.\n")
    same(quarry("diff", "db", "hurt").out, "192K in 2 ranges differ.\n"
         "A volume was compared as it was in the pool at that moment; it may have changed since.\n")
    assert "Their sizes differ: 10G, then 20G" in quarry("diff", "db", "web10").out
    result = quarry("diff", "--ranges", "db", "web10")
    same(result.out, "65536 131072\n1048576 65536\n")  # nothing else: a program reads it
    assert "sizes differ" in result.err, result
    document = quarry("diff", "--json", "db", "hurt").json
    same((document["version"], document["from"], document["to"], document["totalBytes"]), (1, "db", "hurt", 196608))
    same(document["ranges"][1], {"offsetBytes": 1048576, "lengthBytes": 65536})
    same("ranges" in quarry("diff", "--json", "--total", "db", "hurt").json, False)
    same([sent[1]["totalOnly"] for sent in world.sent("io.quarry.Volume.Diff")], [True, True, True, False, False, True])
    same(quarry("diff", "db", "nix").code, 3)
    usage(quarry("diff", "--ranges", "--total", "db", "hurt"), "without the ranges")
    usage(quarry("diff", "db"), "an argument is missing")


@test
def volumes_are_trimmed():
    same(quarry("trim", "db").out, "db 120M\n")
    same(quarry("trim", "db", "nix", "--json").json["trimmed"], [{"volume": "db", "freedBytes": 120 << 20}])
    same(quarry("trim", "nix").code, 3)
    same(quarry("trim").code, 2)
    same(quarry("trim", "db", "--all").code, 2)
    lines = quarry("trim", "--all").out.splitlines()
    known = [v for v in quarry("ls", "--json").json["volumes"] if v["filesystem"] != "none" and v["state"] == "ready"]
    assert 0 < len(lines) <= len(known), lines


@test
def a_pool_without_space_says_what_to_do():
    world.server.pools[0].update(space="stopped", fullInSeconds=7200)
    world.server.volumes[0].update(stopped=True)
    out = quarry("pool", "inspect", world.server.pools[0]["name"]).out
    assert "stopped: filesystems get no new space" in out and "quarry pool extend" in out, out
    assert "about 2 hours" in out, out
    name = world.server.volumes[0]["name"]
    same(quarry("ls", "--filter", "state=stopped", "--no-legend", "-o", "name").out, name + "\n")
    assert "Stopped:" in quarry("inspect", name).out


@test
def an_unreachable_daemon_is_exit_code_8():
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(world.folder + "/stale")
    listening.close()
    for path in (world.folder + "/none", world.folder + "/stale"):
        for arguments in (["ls"], ["exists", "db"], ["rm", "db"], ["create", "x", "--size", "1G"], ["pool", "ls"]):
            result = quarry(*arguments, env={"QUARRY_SOCKET": path})
            same((result.code, result.out), (8, ""), str(result))
            assert "cannot reach quarryd at " + path in result.err, result
            assert "try: systemctl start quarryd.socket" in result.err, result
    same(quarry("ls", "--json", env={"QUARRY_SOCKET": "/none"}).json["error"]["kind"], "Unreachable")
    result = quarry("rm", "dropped", "web2")
    same((result.code, result.out), (8, "web2\n"), str(result))
    assert "quarryd ended the connection before it answered" in result.err, result


@test
def a_closed_socket_is_permission_denied():
    if os.geteuid() != 0:
        return "needs root"
    os.chmod(world.socket, 0o600)
    os.chmod(world.folder, 0o755)
    result = quarry("ls", user=65534)
    same(result.code, 6, str(result))


@test
def usage_errors_are_json_too():
    for arguments in (["create", "--json", "x", "--size", "0"], ["create", "x", "--colour", "--json"],
                      ["frob", "--json"], ["--json", "ls", "a"], ["rm", "--json"]):
        result = quarry(*arguments)
        same((result.code, result.err), (2, ""), str(result))
        same((result.json["version"], result.json["error"]["kind"]), (1, "BadRequest"))
    same(quarry("create", "x", "--json", "--size", "0").json["error"]["field"], "--size")
    same(quarry("rm", "--", "--json").code, 3)  # a name, behind --


@test
def unknown_words_are_usage_errors():
    usage(quarry("frob"), 'there is no verb "frob"', "try: quarry help")
    usage(quarry("pool"), "pool is followed by", "try: quarry help pool")
    usage(quarry("pool", "frob"), "pool is followed by")
    usage(quarry("help", "frob"), "there is no verb")
    usage(quarry("--frob"), "there is no option --frob")
    usage(quarry(), "Usage: quarry VERB")
    usage(quarry("ls", b"\xff".decode(errors="surrogateescape")), "not UTF-8")


@test
def every_verb_has_help_with_an_example_in_80_columns():
    top = quarry("--help")
    same((top.code, top.out), (0, quarry("help").out))
    for line in top.out.splitlines():
        assert len(line) <= 80, line
    verbs = re.findall(r"^  ([a-z]+(?: [a-z]+)?)  ", top.out, re.M)
    assert {"create", "snapshot", "pool create", "help"} <= set(verbs), verbs
    for verb in verbs:
        result = quarry(*verb.split(), "--help")
        same((result.code, result.err), (0, ""), verb)
        same(quarry("help", *verb.split()).out, result.out)
        same(quarry(*verb.split(), "-h").out, result.out)
        assert re.search(rf"^Examples:\n(  .*\n)*  .*quarry {verb}\b", result.out, re.M), result
        assert result.out.startswith(f"Usage: quarry {verb} "), result
        for line in result.out.splitlines():
            assert len(line) <= 80, f"{verb}: {line}"
    assert re.fullmatch(r"quarry \d+\.\d+\.\d+\n", quarry("--version").out)


@test
def output_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "wb") as full:
        result = quarry("ls", stdout=full)
    same(result.code, 1, str(result))
    assert "cannot write the output" in result.err, result


if __name__ == "__main__":
    sys.exit(main())
