"""Times in turn, what they are held to, and the table."""
import json
import os
import shlex
import statistics
import subprocess
import time

rounds = 9
results = []  # what has a peer and a target
figures = []  # what is only told


def run(*command, timeout=600, **options):
    return output(*command, timeout=timeout, **options) and None


def output(*command, timeout=600, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def timed(action):
    began = time.monotonic()
    action()
    return (time.monotonic() - began) * 1000


def in_turn(n, *contestants):
    """Each is a function of the round that gives its milliseconds, or None for all it took, and one that cleans up
    behind it, or None. The order changes from round to round: a slow moment of the machine hits all."""
    samples = [[] for _ in contestants]
    for i in range(n):
        for k in sorted(range(len(contestants)), reverse=i % 2 == 1):
            action, clean = contestants[k]
            began = time.monotonic()
            ms = action(i)
            samples[k].append((time.monotonic() - began) * 1000 if ms is None else ms)
            if clean:
                clean(i)
    return samples


def spread(samples):
    median = statistics.median(samples)
    digits = 0 if median >= 100 else 1 if median >= 10 else 3
    return f"{median:.{digits}f} ms ({min(samples):.{digits}f}..{max(samples):.{digits}f})"


def head():
    print(f"medians of {rounds} rounds in turn, in parentheses the smallest and the largest; {os.cpu_count()} processors.\n"
          "Quarry's are calls over one socket of its API, but where it says CLI; the peers' are the usual commands, each\n"
          "a process.\n\n"
          f"{'':<44} {'quarry':<28} {'peer':<44} {'':<28} {'ratio':>6}  target", flush=True)


def verdict(ratio, target, at_least):
    if ratio >= target if at_least else ratio <= target:
        return "met"
    return f"MISSED by {abs(ratio / target - 1) * 100:.0f} %"


def compare(case, ours, peer_name, peer, target=None, at_least=True):
    """How many times faster than the peer ours must be; or, not at_least, how many times slower it may be."""
    a, b = statistics.median(ours), statistics.median(peer)
    ratio = b / a if at_least else a / b
    row = {"case": case, "ours_ms": round(a, 3), "ours_min_ms": round(min(ours), 3), "ours_max_ms": round(max(ours), 3),
           "peer": peer_name, "peer_ms": round(b, 3), "peer_min_ms": round(min(peer), 3),
           "peer_max_ms": round(max(peer), 3), "ratio": round(ratio, 3), "rounds": len(ours)}
    line = f"{case:<44} {spread(ours):<28} {peer_name:<44} {spread(peer):<28} {ratio:6.2f}"
    if target is None:
        figures.append(row)
    else:
        said = verdict(row["ratio"], target, at_least)
        results.append({**row, "target": target, "at_least": at_least, "pass": said == "met"})
        line += f"  {'>=' if at_least else '<='} {target:g}: {said}"
    print(line, flush=True)


def figure(case, text, **values):
    figures.append({"case": case, **values})
    print(f"{case}: {text}", flush=True)


def tell():
    """For tests/bench/run, which writes them into files."""
    print("results: " + json.dumps(results))
    print("figures: " + json.dumps(figures), flush=True)


def summary():
    missed = [row for row in results if not row["pass"]]
    print(f"\n{len(results) - len(missed)} of {len(results)} targets met")
    for row in missed:
        print(f"missed: {row['case']}, against {row['peer']}: {row['ratio']:.2f}, must be at "
              f"{'least' if row['at_least'] else 'most'} {row['target']:g} "
              f"({verdict(row['ratio'], row['target'], row['at_least'])[7:]})")
