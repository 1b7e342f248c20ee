#!/usr/bin/python3
"""What every verb prints, word for word: one file for each in the folder golden. TAP on stdout.

A verb without a file fails. UPDATE=1 writes the files anew: read what git says of them before you commit it.
"""

import difflib
import glob
import os
import re
import shutil
import sys

from console import ESCAPES, TOP, Terminal, api_server, main, own_host, quarry
from tap import same, test

GIB = api_server.GIB
FOLDER = TOP + "/tests/scenario/golden"
UPDATE = os.environ.get("UPDATE")
world = None  # set by console for each test

# For each verb what is asked, in the order given, of the host of prepare(). "--json" is tried with each, too, and
# whatever has WIDE on a terminal of 80 and of 200 columns.
WIDE = ("ls", "pool ls", "tenant ls", "df", "status", "doctor", "inspect db")
CASES = {
    "create": ["new --size 1G", "new --size 1G --if-absent", "db --size 1G", "new --size many", "error-NoSpace --size 1G",
               "unlucky --size 1G", "nopool --size 1G", "new"],
    "ls": ["", "--type snapshot", "--tenant acme -o name,size,labels", "--sort -size --bytes", "--filter unused,size>5G",
           "-o colour", "--filter fs=ntfs"],
    "inspect": ["db", "db@monday", "nix acme/db", ""],
    "exists": ["db", "nix", "db raw"],
    "mount": ["web2", "raw", "nix", "web2 /none/such"],
    "umount": ["db nix", "web2", "--lazy db"],
    "rm": ["--dry-run web2 web10 db nix", "--yes web2 db nix", "--yes kept", "--lazy --yes db"],
    "prune": ["--dry-run", "--dry-run --filter name=web*", "--yes --filter name=web2", ""],
    "check": ["db nix", ""],
    "trim": ["db nix", "--all", ""],
    "export": ["", "db", "nix --to /none/such/db.tar", "raw", "db@monday --to /none/such/db.tar"],
    "send": ["", "db --to /none/such/x", "db@monday --to /none/such/x", "db@monday --to x --format tar",
             "db@monday --to x --resume --format raw", "nix@x --to /none/such/x"],
    "receive": ["db --from /none/such/x", "db@monday --from /none/such/x", "db --from /etc/hostname",
                "db --from /dev/null"],
    "migrate": ["db", "db --to b", "db --to ssh://-oProxyCommand=x", "db --to ssh://u@-x", "db --to ssh://b:0",
                "db --to ssh://b/db@monday", "db --to ssh://b/x;reboot", "db@monday --to ssh://b", "nix --to ssh://b"],
    "snapshot": ["db web2 --name night", "db@now", "nix"],
    "hold": ["db@monday nix@x"],
    "release": ["db@monday nix@x"],
    "update": ["db --label a=b", "db", "nix --protect", "db --protect --no-protect", "db --mode 9"],
    "rename": ["db db2", "nix db2", "db"],
    "resize": ["db 20G", "db +5G", "db -2G --dry-run", "db 1X", "nix 1G"],
    "diff": ["db@monday db", "--ranges db@monday db", "db@monday db@monday", "db nix"],
    "clone": ["db@monday copy --label a=b", "nix@x copy"],
    "rollback": ["--yes db@monday", "--yes --discard-current db@monday", "--dry-run db@monday", "--dry-run db", "nix@x"],
    "pool create": ["fresh /dev/vdz", "fresh --file /var/lib/x.img --size 10G", "fresh /dev/used", "fresh", "fresh --vg v"],
    "pool ls": ["", "-o +origin,devices --sort -size", "--filter state=lost"],
    "pool inspect": ["default", "nix try"],
    "pool extend": ["default --size 200G", "nix --size 1G", "default"],
    "pool check": ["default", "--repair default", "nix"],
    "pool update": ["default --snapshot-schedule none", "default", "nix --snapshot-schedule none"],
    "pool rm": ["--dry-run try default nix", "--yes default nix", "--yes try"],
    "pool import": ["", "/dev/vdz"],
    "pool export": ["try", "nix"],
    "tenant create": ["web --max-volumes 3 --max-size 10G --user root", "acme", "web --max-size lots", "web --user no-such-user"],
    "tenant ls": ["", "-o name,users --bytes", "--sort colour"],
    "tenant inspect": ["acme", "nix acme"],
    "tenant update": ["acme --max-volumes none", "acme", "acme --user root --remove-user 0", "nix --user root"],
    "tenant rm": ["--dry-run acme nix", "acme nix"],
    "driver": ["", "Acme"],
    "key status": ["nix"],
    "key rotate": ["more"],
    "key lock": ["vault nix", ""],
    "key unlock": ["nix", ""],
    "key add": ["", "nix one-too-many"],
    "key remove": [""],
    "key change": [""],
    "key backup": ["", "nix one-too-many"],
    "key restore": ["", "nix --from /none/such"],
    "backup target": ["ls", "ls --filter name=disk", "", "add other", "add disk file:///other",
                      "add other file://{folder}/other --key passphrase --key-file {folder}/passphrase",
                      "add other file://{folder}/disk --existing --key-file {folder}/passphrase",
                      "add other file://{folder}/disk --key-file {folder}/passphrase",
                      "add other file://{folder}/disk --existing --key-file {folder}/wrong",
                      "add other ftp://host", "add Other file:///other", "add other s3://bucket?endpoint=https://host",
                      "add other s3://bucket --credentials x", "add other file:///other --key both", "rm other", "rm disk"],
    "backup run": ["db", "nix --to disk", "db --to nix", "", "db --schedule daily --full", "--scheduled disk:daily",
                   "--scheduled disk", "db --scheduled disk:daily", "db --to disk --schedule never"],
    "backup ls": ["", "--from disk", "db --from nix", "--from disk --sort colour", "--from disk -o help",
                  "nix --from disk"],
    "backup restore": ["db copy", "db copy --from disk", "db@yesterday copy --from disk", "db copy@x", "db"],
    "backup verify": ["", "--from disk", "--from disk 0123456789abcdef", "--from disk --deep db@2026-02-31",
                      "--key-file /etc/hostname"],
    "backup prune": ["", "--from disk", "--from disk --keep 7", "--from disk db", "--from disk --keep 1,last",
                     "--from disk --dry-run --keep 7-daily"],
    "status": ["", "more"],
    "df": ["", "acme/db nix", "--bytes -o name,total --filter total>1G", "--all --sort name"],
    "doctor": ["", "--fix", "more"],
    "log": ["", "db --since 2026-02-03T10:00:03Z", "-n 2 --until 2026-02-03", "--tenant acme -n 1", "nix", "--tenant secret",
            "--since yesterday", "--since 2026-02-31", "-n 0", "--since 2026-02-04 --until 2026-02-03"],
    "events": ["", "db --pool default", "--tenant secret"],
    "help": ["", "pool", "no-such-verb", "pool no-such-verb"],
    "complete": ["-- pool c", "-- rm web", "-- ls --filter fs="],
}


def prepare():
    """A host on which there is one of everything."""
    server = world.server
    next(v for v in server.volumes if v["name"] == "db" and v["tenant"] == "default")["snapshots"] = 1
    server.volumes = [v for v in server.volumes if len(v["name"]) < 60]
    server.volumes += [api_server.volume("kept", protected=True),
                       api_server.snapshot("db@monday", exclusiveBytes=GIB, exclusiveAgeSeconds=7)]
    server.tenants = [api_server.tenant("acme", maxVolumes=1, maxSizeBytes=100 * GIB, users=[0])]
    server.findings = [
        {"kind": "strayMountPoint", "object": "/run/quarry/mnt/default/old", "message": "nothing is mounted there",
         "fixable": True},
        {"kind": "volumeBroken", "object": "hurt", "message": "this volume is broken: undo of mkfs failed",
         "hint": "quarry rm hurt", "fixable": False}]


def add_target():
    """A repository of no backups, which a passphrase opens."""
    passphrase = world.file("passphrase", b"correct horse")
    world.file("wrong", b"wrong")
    added = quarry("backup", "target", "add", "disk", f"file://{world.folder}/disk", "--key", "passphrase",
                   "--key-file", passphrase)
    same((added.code, added.out), (0, "disk\n"), str(added))


def verbs():
    listed = re.findall(r"^  ([a-z]+(?: [a-z]+)?)  ", quarry("help").out, re.MULTILINE)
    assert len(listed) > 30, listed
    return listed


def clean(text):
    text = ESCAPES.sub("", text).replace(world.folder, "/FOLDER")
    return re.sub('"repository":"[0-9a-f-]{36}"', '"repository":"UUID"', text)


def transcript(command, result):
    text = f"$ quarry {clean(command)}".rstrip() + "\n" + clean(result.out)
    if text[-1] != "\n":
        text += "\n[no newline]\n"
    if result.err:
        text += "--- stderr\n" + clean(result.err)
    return text + f"--- exit {result.code}\n\n"


def case(verb, arguments, *more, columns=None):
    """Each is asked of a fresh host."""
    world.server.close()
    os.unlink(world.socket)
    world.server = api_server.Server(world.socket)
    prepare()
    words = [*verb.split(), *arguments.format(folder=world.folder).split(), *more]
    if verb == "complete":
        words = ["complete", *more, *arguments.split()]
    if columns:
        return transcript(f"{' '.join(words)}  # on a terminal of {columns} columns",
                          Terminal(*words, columns=columns).finish())
    if not verb.startswith("backup "):
        return transcript(" ".join(words), quarry(*words))
    for name in ("disk", "other"):
        shutil.rmtree(f"{world.folder}/{name}", ignore_errors=True)
    with own_host("[Encryption]\nArgon2Memory=32K\nArgon2Iterations=4\n"):
        if "disk" in re.split(r"\W", arguments):
            add_target()
        return transcript(" ".join(words), quarry(*words))


def golden_of(verb):
    text = case(verb, "--help") if verb != "complete" else transcript("help complete", quarry("help", "complete"))
    for arguments in CASES[verb]:
        text += case(verb, arguments)
        if verb not in ("help", "complete"):
            text += case(verb, arguments, "--json")
        if f"{verb} {arguments}".strip() in WIDE:
            text += case(verb, arguments, columns=80) + case(verb, arguments, columns=200)
    return text


@test
def every_verb_has_its_cases():
    same(sorted(set(verbs()) ^ set(CASES)), [], "verbs without cases, or cases without a verb")
    names = {v.replace(" ", "-") for v in CASES}
    if UPDATE:
        os.makedirs(FOLDER, exist_ok=True)
        return
    same(sorted(set(os.listdir(FOLDER)) ^ names), [], "files in golden without a verb, or the other way round")


def compare(verb):
    def compares():
        have, path = golden_of(verb), f"{FOLDER}/{verb.replace(' ', '-')}"
        if UPDATE:
            with open(path, "w", encoding="utf-8") as f:
                f.write(have)
            return
        with open(path, encoding="utf-8") as f:
            want = f.read()
        if have != want:
            raise AssertionError("UPDATE=1 takes it over, if it is meant:\n" + "".join(difflib.unified_diff(
                want.splitlines(True), have.splitlines(True), path, "now", n=2)))
    compares.__name__ = f"{verb.replace(' ', '_')}_prints_what_it_did"
    test(compares)


for one in CASES:
    compare(one)


@test
def help_is_the_same_on_any_terminal_and_names_a_page_that_tells_of_it():
    pages = {}
    for verb in verbs():
        plain = quarry("help", *verb.split())
        for columns in (80, 200):
            shown = Terminal("help", *verb.split(), columns=columns).finish().out
            same(ESCAPES.sub("", shown), plain.out, verb)
        assert max(map(len, plain.out.splitlines())) <= 80, plain.out
        page = re.search(r"^More: man (quarry[a-z-]*)$", plain.out, re.MULTILINE).group(1)
        if page not in pages:
            path, = glob.glob(f"{TOP}/docs/{page}.[18]")
            with open(path, encoding="utf-8") as f:
                pages[page] = f.read()
        if page == "quarry":
            continue
        section = re.search(rf"^\.Ss quarry {verb}(?: .*)?\n(?s:(.*?))(?=^\.S[sh] )", pages[page], re.MULTILINE)
        assert section, f"{page} has no section about {verb}"
        for option in re.findall(r"^  (?:-\w,|   ) --([a-z-]+)", plain.out, re.MULTILINE):
            common = ("json", "help") + (("output", "sort", "filter", "no-legend", "bytes") if "--sort" in plain.out else ())
            told = option in common or f"Fl -{option}\n" in pages[page] or f"Fl -{option} " in pages[page]
            assert told, f"{page} does not tell of {verb} --{option}"


@test
def the_overview_lists_every_verb():
    with open(f"{TOP}/docs/quarry.1", encoding="utf-8") as f:
        told = dict(re.findall(r"^\.It Cm ([a-z]+(?: [a-z]+)?) Ta (.*)$", f.read(), re.MULTILINE))
    summaries = dict(re.findall(r"^  ([a-z]+(?: [a-z]+)?)  +(.*)$", quarry("help").out, re.MULTILINE))
    same(told, {verb: text[0].lower() + text[1:] for verb, text in summaries.items()})


if __name__ == "__main__":
    sys.exit(main())
