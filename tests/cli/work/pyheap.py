# SPDX-License-Identifier: MIT
"""
pyheap.py FIFO OBJECTS: a Python with a large heap of small objects: dicts in lists in dicts, strings, integers, bytes,
tuples, and cycles for the collector. When told to go on (SIGUSR1) it collects, walks everything and compares the
digest with the one from before, then changes half of it, collects again and compares with what that must give.
"""

import gc
import hashlib
import os
import random
import signal
import sys
import time


def say(fifo, text):
    fd = os.open(fifo, os.O_WRONLY | os.O_APPEND)
    os.write(fd, (text + "\n").encode())
    os.close(fd)


def build(count):
    rnd = random.Random(42)
    heap = {}
    for i in range(count):
        record = {
            "id": i,
            "name": "record %d %s" % (i, rnd.getrandbits(64)),
            "big": rnd.getrandbits(200),
            "list": [rnd.random() for _ in range(5)],
            "tuple": (i, str(i), bytes([i & 255]) * (i % 100)),
            "nested": {"a": {"b": [i, i + 1, {"c": None}]}},
        }
        record["self"] = record
        heap[i] = record
    return heap


def digest(heap):
    h = hashlib.sha256()
    for key in heap:
        r = heap[key]
        h.update(repr((key, r["id"], r["name"], r["big"], r["list"], r["tuple"], r["nested"])).encode())
        if r["self"] is not r:
            return "cycle broken at %d" % key
    return h.hexdigest()


def change(heap):
    for key in range(0, len(heap), 2):
        del heap[key]
    for key in heap:
        heap[key]["list"].append(key)


def main():
    fifo, count = sys.argv[1], int(sys.argv[2])
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    heap = build(count)
    before = digest(heap)
    say(fifo, "ready %d %d objects" % (os.getpid(), len(gc.get_objects())))
    while signal.sigwait([signal.SIGUSR1]) != signal.SIGUSR1:
        pass
    t0 = time.monotonic()
    gc.collect()
    after = digest(heap)
    took = time.monotonic() - t0
    if after != before:
        return say(fifo, "BAD %d digest was %s and is %s" % (os.getpid(), before, after))
    change(heap)
    gc.collect()
    fresh = build(count)
    change(fresh)
    if digest(heap) != digest(fresh):
        return say(fifo, "BAD %d the changed heap is not what it must be" % os.getpid())
    say(fifo, "ok records=%d verify_ms=%d digest=%s" % (count, took * 1000, before[:16]))


main()
