"""Creates by eight clients at once, 200 volumes in all: each round makes its share. None of quarry's goes before the
end; LVM's go after their round: each takes the space of a whole journal, and their pool has not that much."""
import concurrent.futures

import measure
import ours
import peers
from measure import compare, figure, in_turn, timed

VOLUMES = 200


def bench():
    share = -(-VOLUMES // measure.rounds)
    client = ours.Client()
    peers.set_up()
    ours.warm(client)

    def mine(i):
        return timed(lambda: ours.by_many(
            lambda one, k: one.call("Create", volume=f"p{i}-{k}", sizeBytes=10 * ours.GIB), range(share))) / share

    def names(i):
        return [f"p{i}-{k}" for k in range(share)]

    def lvm(i):
        with concurrent.futures.ThreadPoolExecutor(ours.CLIENTS) as pool:
            return timed(lambda: list(pool.map(peers.create_formatted, names(i)))) / share

    a, b = in_turn(measure.rounds, (mine, None), (lvm, lambda i: peers.remove_all(names(i))))
    made = share * measure.rounds
    compare(f"a create, {ours.CLIENTS} clients, {made} volumes", a, "lvcreate -V + mkfs.ext4", b, 15)
    rates = [1000 * len(ms) / sum(ms) for ms in (a, b)]
    figure(f"creates per second, {ours.CLIENTS} clients, {made} volumes", f"{rates[0]:.1f}; lvcreate + mkfs.ext4 {rates[1]:.2f}",
           ours_per_s=round(rates[0], 2), peer_per_s=round(rates[1], 3))
