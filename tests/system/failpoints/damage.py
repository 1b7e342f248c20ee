#!/usr/bin/python3
"""Damages the metadata of a thin pool, on the device that is named."""

import os
import struct
import sys

BLOCK = 4096
DATA_MAP_ROOT = 80  # in the superblock: the block in which the map of free chunks begins


def chunk_map(path):
    """Garbage where free chunks are counted: that can be made anew of what is mapped."""
    with open(path, "r+b", buffering=0) as f:
        (block,) = struct.unpack_from("<Q", f.read(BLOCK), DATA_MAP_ROOT)
        f.seek(block * BLOCK)
        f.write(b"\xa5" * BLOCK)
        os.fsync(f.fileno())


def overwrite(path, blocks):
    with open(path, "r+b", buffering=0) as f:
        for _ in range(blocks):
            f.write(b"\xa5" * BLOCK)
        os.fsync(f.fileno())


if __name__ == "__main__":
    {"chunk-map": chunk_map,
     "superblock": lambda path: overwrite(path, 1),
     "all": lambda path: overwrite(path, 4096)}[sys.argv[1]](sys.argv[2])
