"""The same when there are many already: quarry's exist, LVM's are active."""
import statistics

import measure
import ours
import peers
import picture
from measure import compare, in_turn, run, timed

FEW, MOST = 10, 1000
NUMBERS = (FEW, 100, 300, MOST)


def listing(client, **parameters):
    n = sum(volume["name"].startswith("filler") for volume in client.call("List", **parameters)["volumes"])
    if n != MOST:
        raise RuntimeError(f"{n} volumes are listed, not {MOST}")


def bench():
    client = ours.Client()
    peers.set_up()
    ours.warm(client)
    mine, lvm, have = {}, {}, 0
    ours_turn = (lambda i: client.create_mounted(f"m{i}") and None, lambda i: ours.removed(client, f"m{i}"))
    lvm_turn = (lambda i: peers.create_mounted(f"m{i}"), lambda i: peers.remove(f"m{i}"))
    for n in NUMBERS:
        took = timed(lambda: ours.fill(n)), timed(lambda: peers.fill(n, have))
        print(f"-- {n} volumes are there: quarry's after {took[0] / 1000:.0f} s, LVM's after {took[1] / 1000:.0f} s", flush=True)
        have = n
        rounds = measure.rounds if n in (FEW, MOST) else min(measure.rounds, 5)
        mine[n], lvm[n] = in_turn(rounds, ours_turn, lvm_turn)
    compare(f"create + mount at {MOST} volumes", mine[MOST], f"lvcreate + mkfs.ext4 + mount at {MOST} active", lvm[MOST], 25)

    ours.memory(MOST)
    rows = in_turn(
        measure.rounds,
        (lambda i: listing(client, fields=["name", "sizeBytes"]), None),
        (lambda i: run("lvs", "-o", "lv_name,lv_size", "--reportformat", "json", "peer"), None),
        (lambda i: run("quarry", "ls", "--json", "-o", "name,size"), None),
        (lambda i: listing(client), None))
    peer = f"lvs of {MOST} active, name and size, JSON"
    compare(f"list of {MOST} volumes, name and size, JSON", rows[0], peer, rows[1], 10)
    compare(f"list of {MOST} volumes, name and size, JSON, CLI", rows[2], peer, rows[1])
    compare(f"list of {MOST} volumes, all members, JSON", rows[3], peer, rows[1])

    # Few again, so that a machine that became slower or faster meanwhile is not taken for quarry.
    ours.fill(FEW)
    mine[FEW] += in_turn(measure.rounds, ours_turn)[0]
    compare(f"create + mount at {MOST} volumes", mine[MOST], f"the same at {FEW}, before and after", mine[FEW], 1.2, at_least=False)
    ours.fill(1)
    points = [(n, statistics.median(mine[n]), statistics.median(lvm[n])) for n in NUMBERS]
    print("latency.svg: " + picture.latency(points), flush=True)
