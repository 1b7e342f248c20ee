"""Create + mount, one at a time."""
import time

import bare
import measure
import ours
import peers
from measure import compare, in_turn, run


def cli_create(name):
    run("quarry", "create", name, "--size", "10G")
    run("quarry", "mount", name)


def cli_remove(name):
    run("quarry", "umount", name)
    run("quarry", "rm", "--yes", name)
    time.sleep(ours.AHEAD_S)


def bench():
    client = ours.Client()
    peers.set_up()
    ours.warm(client)
    ours.warm(client, filesystem="xfs")
    ours.warm(client, keySource="host")
    peers.create_mounted("warm")
    peers.remove("warm")

    floor = bare.Floor()
    mine, lvm, least, cli = in_turn(
        measure.rounds,
        (lambda i: client.create_mounted(f"v{i}") and None, lambda i: ours.removed(client, f"v{i}")),
        (lambda i: peers.create_mounted(f"v{i}"), lambda i: peers.remove(f"v{i}")),
        (floor.run, floor.clean),
        (lambda i: cli_create(f"c{i}"), lambda i: cli_remove(f"c{i}")))
    compare("create + mount, ext4 10 GiB", mine, "lvcreate -V + mkfs.ext4 + mount", lvm, 12)
    compare("create + mount, ext4 10 GiB", mine, "floor", least, 1.5, at_least=False)
    compare("create + mount, ext4 10 GiB, CLI", cli, "lvcreate -V + mkfs.ext4 + mount", lvm)
    floor.end()
    ours.breakdown("create + mount, ext4")

    mine, lvm = in_turn(
        measure.rounds,
        (lambda i: client.create_mounted(f"x{i}", filesystem="xfs") and None, lambda i: ours.removed(client, f"x{i}")),
        (lambda i: peers.create_mounted(f"x{i}", "xfs"), lambda i: peers.remove(f"x{i}")))
    compare("create + mount, XFS 10 GiB", mine, "lvcreate -V + mkfs.xfs + mount", lvm, 8)
    ours.breakdown("create + mount, XFS", filesystem="xfs")

    mine, lvm = in_turn(
        measure.rounds,
        (lambda i: client.create_mounted(f"e{i}", keySource="host") and None,
         lambda i: ours.removed(client, f"e{i}", keySource="host")),
        (lambda i: peers.create_encrypted(f"e{i}"), lambda i: peers.remove(f"e{i}", encrypted=True)))
    compare("create + mount, encrypted ext4 10 GiB", mine, "lvcreate + luksFormat + open + mkfs + mount", lvm, 5)
    ours.breakdown("create + mount, encrypted", keySource="host")
