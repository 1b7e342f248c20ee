#!/usr/bin/python3
"""Broker and worker die at a fifth of the points that a verb about pools passes; nothing is half there afterwards.
With the argument `all` they die and fail at each."""
# build: FAILPOINTS=1

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "failpoints"))

from verbs import POOLS  # noqa: E402
from walk import main, prepare  # noqa: E402

prepare()
sys.exit(main(POOLS).finish())
