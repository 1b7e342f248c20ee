#!/usr/bin/python3
"""quarry status, df, log and events against a stand-in for the daemon: what they call a problem, what takes most, and
what is told of what happens. TAP on stdout."""

import os
import signal
import subprocess
import sys
import threading

from console import QUARRY, Terminal, api_server, main, quarry
from tap import contains, same, test

GIB, MIB = api_server.GIB, api_server.MIB
world = None  # set by console for each test


def quiet():
    """A host on which all is well."""
    world.server.volumes = [api_server.volume("db"), api_server.volume("web2", sizeBytes=GIB, usedBytes=MIB)]
    world.server.pools = [api_server.pool("default")]


def problems(*members):
    document = quarry("status", "--json").json
    return [tuple(p[m] for m in members) for p in document["problems"]], \
           [tuple(p[m] for m in members) for p in document["notices"]]


@test
def status_of_a_host_where_all_is_well():
    quiet()
    result = quarry("status")
    same((result.code, result.err), (0, ""))
    same(result.out, """\
POOL     SIZE  USED  FREE  USE%  PROMISED  FULL IN  VOLUMES  STATE
default  100G   25G   75G   25%      300G        -        8  ok

All is well.
""")
    same(problems("object"), ([], []))


@test
def a_host_without_pools_is_told_what_to_begin_with():
    world.server.volumes = world.server.pools = []
    for verb in ("status", "df"):
        result = quarry(verb)
        same((result.code, result.out, result.err),
             (0, "No pools yet. How to make one: quarry help pool create\n", ""), verb)


@test
def status_names_what_is_wrong_and_what_to_do():
    world.server.pools = [
        api_server.pool("default", space="low", fullInSeconds=7200),
        api_server.pool("far", fullInSeconds=3 * 86400),
        api_server.pool("gone", state="unavailable", failure="a disk is missing", advice="quarry pool import"),
    ]
    world.server.volumes = [
        api_server.volume("hurt", state="broken", failure="undo of mkfs failed"),
        api_server.volume("full", stopped=True),
        api_server.volume("leaving", state="removing"),
        api_server.volume("lazy", state="removing", failure="it is in use, and goes when it is not", waitsForUsers=True),
        api_server.volume("held", open=True, encryption={"keySource": "host", "locked": True}),
        api_server.volume("shut", open=False, encryption={"keySource": "host", "locked": True}),
        api_server.volume("stuck", state="removing", failure="cannot close it"),
        api_server.volume("late", tenant="acme", scheduleRules=[
            {"expression": "hourly", "keep": 3, "failure": "no space", "lastRunAt": "2026-02-03T10:00:00Z",
             "nextRunAt": "2026-02-03T11:00:00Z"}]),
    ]
    world.server.tenants = [
        api_server.tenant("acme", volumes=20, maxVolumes=20, sizeBytes=GIB, maxSizeBytes=100 * GIB),
        api_server.tenant("frozen", volumes=0, maxVolumes=0),
    ]
    result = quarry("status")
    same((result.code, result.err), (1, ""))
    contains(result.out,
             "pool default: its space is low: no volumes are made in it\n"
             "  what to do: quarry pool extend default DEVICE; quarry trim --all; quarry rm VOLUME\n",
             "pool gone: it is unavailable: a disk is missing\n  what to do: quarry pool import\n",
             "hurt: it is broken: undo of mkfs failed\n  what to do: quarry inspect hurt; quarry rm hurt\n",
             "full: it gets no new space", "acme/late: no snapshot by the rule \"hourly\"",
             "\nBefore long:\npool far: it is full in 3d",
             "tenant acme: it has 20 of the 20 volumes that it may have in pool default\n"
             "  what to do: quarry tenant update acme --pool default --max-volumes N; ",
             "leaving: it is being removed",
             "held: it is locked while it is in use: whoever reads or writes it waits\n  what to do: quarry key unlock held\n")
    contains(quarry("ls", "--no-legend", "-o", "name,state", "--filter", "state=locked").out, "held  ready,locked")
    assert "All is well" not in result.out and "frozen" not in result.out, result
    same(problems("object"), ([("pool default",), ("pool gone",), ("hurt",), ("full",), ("stuck",), ("acme/late",)],
                              [("pool far",), ("leaving",), ("lazy",), ("held",), ("tenant acme",)]))
    shown = Terminal("status").finish().out
    assert "\x1b[1;31m" in shown and max(map(len, shown.split("\n")[0:4])) < 90, shown


@test
def a_day_until_it_is_full_is_a_problem():
    quiet()
    world.server.pools = [api_server.pool("default", fullInSeconds=86399)]
    same(problems("object", "message"),
         ([("pool default", "it is full in 23h, if it fills as within the last day")], []))


@test
def a_member_sees_how_it_stands_with_the_own_tenant():
    quiet()
    world.server.pools = []
    world.server.volumes = [api_server.volume("db", tenant="acme", state="broken", failure="why")]
    world.server.tenants = [api_server.tenant("acme", sizeBytes=99 * GIB, maxSizeBytes=100 * GIB)]
    os.chmod(world.folder, 0o755)
    os.chmod(world.socket, 0o666)
    for user in ("nobody", None):
        result = quarry("status", user=user)
        same(result.code, 1, str(result))
        contains(result.out, "NAME  VOLUMES", "acme/db: it is broken: why",
                 "Before long:\ntenant acme: it has 99G of the 100G", "an administrator can raise it")
    world.server.volumes = []
    same(quarry("status", user="nobody").code, 0)
    same(quarry("df", user="nobody").code, 0)
    world.server.tenants = []
    for verb in ("status", "df"):
        result = quarry(verb, user="nobody")
        same((result.code, result.out), (6, ""))
        contains(result.err, "you are a member of no tenant", "group quarry-admin")
        same(quarry(verb, "--json", user="nobody").json["error"]["kind"], "PermissionDenied")


# --- df


def full_house():
    world.server.volumes = [
        api_server.volume("db", usedBytes=4 * GIB, exclusiveBytes=GIB, snapshots=2),
        api_server.volume("db", tenant="acme", sizeBytes=2 * GIB, usedBytes=GIB, snapshots=1),
        api_server.volume("web", usedBytes=5 * GIB, exclusiveBytes=5 * GIB, snapshots=0),
        api_server.volume("new", usedBytes=None),
        api_server.snapshot("db@a", usedBytes=4 * GIB, exclusiveBytes=2 * GIB),
        api_server.snapshot("db@b", usedBytes=4 * GIB, exclusiveBytes=GIB),
        api_server.snapshot("db@b", tenant="acme", usedBytes=GIB, exclusiveBytes=512 * MIB),
        api_server.snapshot("web@of-another-pool", pool="try", exclusiveBytes=GIB),
    ]
    world.server.tenants = [api_server.tenant("acme", maxSizeBytes=100 * GIB)]


@test
def df_shows_what_takes_most_first():
    full_house()
    result = quarry("df")
    same((result.code, result.err), (0, ""))
    pools, tenants, volumes = result.out.split("\n\n")
    same(pools.splitlines()[1].split(), "default 100G 25G 75G 25% 300G - 8 ok".split())
    same(tenants.splitlines()[1].split()[:1], ["acme"])
    same(volumes, """\
NAME     SIZE  USED  USE%  EXCL  SNAPS  SNAPS HOLD  TOTAL  POOL
db        10G    4G   40%    1G      2          3G     7G  default
web       10G    5G   50%    5G      0           -     5G  default
acme/db    2G    1G   50%     -      1        512M   1.5G  default
new       10G     -     -     -      -           -      -  default
""")


@test
def df_sorts_filters_and_counts_bytes():
    full_house()
    same(quarry("df", "-o", "name", "--no-legend", "--sort", "name", "--filter", "total>1G").out.split("\n\n")[2],
         "acme/db\ndb\nweb\n")
    same(quarry("df", "--bytes", "--no-legend", "-o", "name,total").out.split("\n\n")[2].splitlines()[0],
         f"db       {7 * GIB}")
    same(quarry("df", "-o", "help", env={"QUARRY_SOCKET": "/none"}).code, 0)
    same(quarry("df", "--sort", "colour").code, 2)


@test
def df_of_named_volumes_shows_where_they_lie():
    full_house()
    result = quarry("df", "acme/db", "nix", "web")
    same(result.code, 3)
    contains(result.err, "cannot tell how full is nix: there is no volume nix")
    pools, tenants, volumes = result.out.split("\n\n")
    same(len(pools.splitlines()), 2)
    same([line.split()[0] for line in volumes.splitlines()[1:]], ["web", "acme/db"])
    document = quarry("df", "--json", "web").json
    same([len(document[m]) for m in ("pools", "tenants", "volumes", "errors")], [1, 0, 1, 0])
    same(document["volumes"][0]["totalBytes"], 5 * GIB)


@test
def df_shows_ten_unless_all_are_wanted():
    world.server.volumes = [api_server.volume(f"v{i}", usedBytes=i * GIB) for i in range(12)]
    world.server.tenants = [api_server.tenant(f"t{i}", sizeBytes=i * GIB) for i in range(11)]
    result = quarry("df", "-o", "name", "--no-legend")
    same(result.out.split("\n\n")[2].split(), [f"v{i}" for i in range(11, 1, -1)])
    same(result.err, "and 1 more tenants: quarry df --all\nand 2 more volumes: quarry df --all\n")
    same(len(quarry("df", "--all", "-o", "name", "--no-legend").out.split("\n\n")[2].split()), 12)
    same(len(quarry("df", "--json").json["volumes"]), 12)


@test
def df_that_lacks_a_pool_says_so_and_fails():
    world.server.missing = [{"name": "gone", "state": "unavailable", "volumes": 0}]
    for arguments in ([], ["--json"]):
        same(quarry("df", *arguments).code, 1)
    same([e["object"] for e in quarry("df", "--json").json["errors"]], ["gone"])


@test
def events_come_at_once_and_an_interrupt_ends_them_quietly():
    world.server.follow = threading.Event()
    shown = Terminal("events", "--tenant", "acme")
    shown.expect("refused: tenant acme may have 3 volumes")
    same(shown.process.poll(), None)
    shown.process.send_signal(signal.SIGINT)
    result = shown.finish()
    same(result.code, -signal.SIGINT)
    same(len(result.out.splitlines()), 3, result.out)  # two, and what is missing before the second
    world.server.follow.set()


@test
def events_end_quietly_where_nobody_reads_any_more():
    read, write = os.pipe()
    os.close(read)
    ignore = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    done = subprocess.run([QUARRY, "events"], stdout=write, stderr=subprocess.PIPE, timeout=20, env=world.environment,
                          restore_signals=False)
    signal.signal(signal.SIGPIPE, ignore)
    os.close(write)
    same((done.returncode, done.stderr), (-signal.SIGPIPE, b""))
    with open("/dev/full", "w", encoding="utf-8") as full:
        result = quarry("events", stdout=full)
    same((result.code, result.err), (1, "quarry: cannot write the output: No space left on device\n"))


@test
def what_is_about_a_tenant_is_told_with_its_name():
    world.server.events = [api_server.event("space", "the tenant uses 2G of pool default", 1770112800000000,
                                            pool="default", tenant="acme", callerRole="quarryd")]
    same(quarry("log").out, "2026-02-03T10:00:00Z quarryd: acme: the tenant uses 2G of pool default\n")


@test
def log_asks_for_what_is_named():
    quarry("log", "acme/db@s", "--pool", "default", "--tenant", "acme")
    same(world.sent("io.quarry.Event.List")[-1][1], {"volumes": ["acme/db@s"], "pool": "default", "tenant": "acme"})
    same([e["verb"] for e in quarry("log", "--json", "--pool", "default", "-n", "2").json["events"]],
         ["rename", "update"])
    result = quarry("log", env={"QUARRY_SOCKET": "/none/such"})
    same((result.code, result.out), (8, ""))
    contains(result.err, "cannot show what happened: cannot reach quarryd at ")


if __name__ == "__main__":
    sys.exit(main())
