#!/usr/bin/python3
"""What quarry complete offers, and that shells do with it what they should: each on a terminal of its own, with TAB.
TAP on stdout."""

import os
import shutil
import socket
import subprocess
import sys
import time

from console import ESCAPES, TOP, Terminal, api_server, main, own_host, quarry
from tap import contains, eventually, same, test

world = None  # set by console for each test


def offered(line):
    """The words that can be at the end of the line."""
    result = quarry("complete", "--", *line.split(" "))
    same((result.code, result.err), (0, ""), line)
    return [entry.partition("\t")[0] for entry in result.out.splitlines()]


def snapshots():
    world.server.volumes += [api_server.snapshot("db@monday"), api_server.snapshot("db@tuesday")]
    world.server.tenants = [api_server.tenant("acme")]


@test
def verbs_are_offered_with_what_they_do():
    same(offered("exi"), ["exists"])
    same(offered("--json exi"), ["exists"])
    assert {"ls", "pool", "tenant", "df"} <= set(offered("")) and "pool create" not in offered("")
    same(len(offered("")), len(set(offered(""))))
    same(offered("pool i"), ["inspect", "import"])
    same(offered("help pool e"), ["extend", "export"])
    same(offered("--v"), ["--version"])
    contains(quarry("complete", "--", "d").out, "diff\tTell where", "doctor\tLook whether")
    same(quarry("complete").code, 0)


@test
def options_and_their_values_are_offered():
    same(offered("create db --key"), ["--key", "--key-file"])
    same(offered("create db --fs "), ["ext4", "xfs", "none"])
    same(offered("create db --fs=x"), ["--fs=xfs"])
    same(offered("create db --kind "), ["block", "bind", "tmpfs"])
    same(offered("create db --key h"), ["host"])
    same(offered("ls --type s"), ["snapshot"])
    same(offered("prune --"), ["--filter", "--dry-run", "--snapshots", "--yes", "--json", "--help"])
    same(offered("ls -- --"), [])
    same(offered("create x --uid roo"), ["root"])
    same(offered("create x --gid daem"), ["daemon"])
    same(offered("create x --size "), [])
    same(offered("log --pool d"), ["default"])
    same(offered("log -"), ["--since", "--until", "--lines", "--pool", "--tenant", "--json", "--help"])
    same(offered("events web1"), ["web10"])


@test
def columns_and_filters_are_offered():
    same(offered("ls --sort na"), ["name"])
    same(offered("ls --sort -na"), ["-name"])
    same(offered("ls -o name,si"), ["name,size"])
    same(offered("ls -o +si"), ["+size"])
    assert "help" in offered("ls -o ")
    same(offered("ls --filter sta"), ["state="])
    same(offered("ls --filter unused,sta"), ["unused,state="])
    same(offered("ls --filter unused,state=re"), ["unused,state=ready", "unused,state=removing"])
    same(offered("ls --filter fs!="), ["fs!=ext4", "fs!=xfs", "fs!=none", "fs!=bind", "fs!=tmpfs"])
    same(offered("ls --filter=pool=t"), ["--filter=pool=try"])
    same(offered("prune --filter unu"), ["unused="])
    same(offered("ls --filter label=ti"), ["label=tier="])
    same(offered("ls --filter label=app="), ["label=app=db", "label=app=web"])
    same(offered("pool ls --sort pro"), ["promised"])
    same(offered("df --sort tot"), ["total"])


@test
def live_names_are_offered_in_natural_order():
    snapshots()
    same(offered("rm web"), ["web2", "web10"])
    same(offered("rm --dry-run db web1"), ["web10"])
    same(offered("rm db@"), ["db@monday", "db@tuesday"])
    same(offered("snapshot db"), ["db"])
    same(offered("rollback d"), ["db@monday", "db@tuesday"])
    same(offered("clone db@monday "), [])
    same(offered("diff db@monday db@t"), ["db@tuesday"])
    same(offered("umount acme/"), ["acme/db"])
    same(offered("mount default:vau"), ["default:vault"])
    same(world.sent("io.quarry.Volume.List")[-1][1],
         {"type": "all", "pool": "default", "fields": ["name", "tenant"]})
    same(offered("resize db v"), [])
    same(offered("create v"), [])
    same(offered("pool inspect "), ["default", "try"])
    same(offered("pool create d"), [])
    same(offered("tenant rm a"), ["acme"])
    same(offered("ls --tenant "), ["acme"])
    same(offered("create x --pool t"), ["try"])
    same(offered("create x --pool=t"), ["--pool=try"])
    same(offered("create x --label t"), ["tier="])


@test
def backup_targets_are_offered():
    same(offered("backup "), ["target", "run", "ls", "restore", "verify", "prune"])
    same(offered("backup target "), ["add", "ls", "rm"])
    same(offered("backup run web"), ["web2", "web10"])
    same(offered("backup ls va"), ["vault"])
    same(offered("backup restore va"), ["vault"])
    same(offered("backup verify --deep va"), ["vault"])
    same(offered("backup restore vault "), [])
    with own_host():
        same(offered("backup run db --to "), [])
        os.mkdir("/etc/quarry/backup")
        for name in ("disk", "cloud", "cloud10", "cloud2"):
            with open(f"/etc/quarry/backup/{name}.json", "w", encoding="utf-8"):
                pass
        same(offered("backup run db --to "), ["cloud", "cloud2", "cloud10", "disk"])
        same(offered("backup ls --from=d"), ["--from=disk"])
        same(offered("backup target rm d"), ["disk"])
        same(offered("backup target add d"), [])
        same(offered("backup target ls d"), [])
        same(offered("backup target add d --key "), ["host", "passphrase"])


@test
def a_member_of_one_tenant_need_not_name_it():
    os.chmod(world.folder, 0o755)
    os.chmod(world.socket, 0o666)
    world.server.volumes = [v for v in world.server.volumes if v["tenant"] == "acme"]
    same(quarry("complete", "--", "rm", "d", user="nobody").out, "db\n")
    same(quarry("complete", "--", "rm", "acme/", user="nobody").out, "acme/db\n")
    same(quarry("complete", "--", "rm", "d").out, "")


@test
def files_are_offered():
    os.mkdir(world.folder + "/target")
    world.file("tar.key", b"")
    os.chdir(world.folder)
    same(offered("mount db t"), ["target/"])
    same(offered(f"mount db {world.folder}/t"), [world.folder + "/target/"])
    same(offered("create x --key-file t"), ["tar.key", "target/"])
    same(offered("create x --key-file=ta"), ["--key-file=tar.key", "--key-file=target/"])
    same(offered("create x --key-file /none/"), [])
    world.environment["HOME"] = world.folder
    same(offered("create x --key-file ~/tar."), ["~/tar.key"])
    assert all(w.startswith("/dev/") for w in offered("pool create x /dev/"))


@test
def a_daemon_that_does_not_answer_is_not_waited_for():
    world.environment["QUARRY_SOCKET"] = "/none"
    same(offered("rm web"), [])
    silent = world.folder + "/silent"
    world.environment["QUARRY_SOCKET"] = silent
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(silent)
        listener.listen(4)
        began = time.monotonic()
        same(quarry("complete", "--", "rm", "web").out, "")
        assert 1 < time.monotonic() - began < 6


# --- shells


def shell(program, *arguments, setup):
    """An interactive shell that has read the setup."""
    terminal = Terminal(*arguments, program=program, columns=200, env={"PS1": "ready> ", "HOME": world.folder})
    terminal.process_name = program
    for line in setup:
        os.write(terminal.master, line.encode() + b"\n")
    os.write(terminal.master, b"echo set''up\n")
    terminal.expect("setup\r")
    return terminal


def types(terminal, text, wanted):
    """What is typed, with TABs, becomes this command in the end: the daemon is asked to look at that volume."""
    before = len(world.sent("io.quarry.Volume.Inspect"))
    for part in text.replace("\t", "\t\0").split("\0"):
        os.write(terminal.master, part.encode())
        if part.endswith("\t"):
            time.sleep(0.1)
            end = time.monotonic() + 1.5
            while time.monotonic() < end and terminal._read(0.2):
                pass
    os.write(terminal.master, b"\n")
    eventually(lambda: terminal._read(0.01) or len(world.sent("io.quarry.Volume.Inspect")) > before,
               f"{text!r} is run; so far {ESCAPES.sub('', terminal.text)[-600:]!r}", 5)
    eventually(lambda: len(world.sent("io.quarry.Volume.Inspect")) > before, f"{text!r} is run", 5)
    same(world.sent("io.quarry.Volume.Inspect")[-1][1]["volume"], wanted, text)


def end(terminal):
    terminal.process.kill()
    terminal.finish()


def completes(terminal):
    snapshots()
    types(terminal, "quarry exi\tvau\t", "vault")
    types(terminal, "quarry exists web1\t", "web10")
    types(terminal, "quarry exists acme/\t", "acme/db")
    types(terminal, "quarry exists db@mo\t", "db@monday")
    types(terminal, "quarry exists default:vau\t", "default:vault")
    types(terminal, "quarry exists --js\tvau\t", "vault")
    types(terminal, "quarry df --filter=sta\tre\tady --sort=to\t raw", "raw")
    os.write(terminal.master, b"quarry inspect we\t\t\t")
    eventually(lambda: terminal._read(0.1) and "web10" in terminal.text[-800:], "both are shown")
    end(terminal)


@test
def bash_completes():
    terminal = shell("bash", "--norc", "--noprofile", "-i", setup=[
        f"source {TOP}/cli/completion.bash", "bind 'set bell-style none'"])
    world.server.volumes.append(api_server.volume("default:vault"))
    completes(terminal)


@test
def zsh_completes():
    if not shutil.which("zsh"):
        return "zsh is not here"
    world.server.volumes.append(api_server.volume("default:vault"))
    completes(shell("zsh", "-f", "-i", setup=[
        f"cd && mkdir f && cp {TOP}/cli/completion.zsh f/_quarry && fpath=($PWD/f $fpath)",
        "autoload -Uz compinit && compinit -u -d $PWD/dump"]))


@test
def fish_completes():
    if not shutil.which("fish"):
        return "fish is not here"
    world.server.volumes.append(api_server.volume("default:vault"))
    completes(shell("fish", "--no-config", "-i", setup=[f"source {TOP}/cli/completion.fish"]))


@test
def the_scripts_are_sound():
    for program, name in (("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")):
        if shutil.which(program):
            done = subprocess.run([program, "-n", f"{TOP}/cli/completion.{name}"], capture_output=True, timeout=20)
            same((done.returncode, done.stderr), (0, b""), name)


if __name__ == "__main__":
    sys.exit(main())
