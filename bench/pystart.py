# SPDX-License-Identifier: MIT
"""
pystart.py FIFO: a Python program that has started: much of the standard library is imported, its tables are built. When
told to go on (SIGUSR1) it does its first piece of work, which uses a little of everything, and says what came of it.
"""

import argparse
import ast
import asyncio
import collections
import csv
import datetime
import decimal
import email.message
import fractions
import hashlib
import html.parser
import http.client
import inspect
import io
import ipaddress
import json
import logging
import os
import pickle
import pydoc
import random
import re
import signal
import sqlite3
import statistics
import sys
import time
import unittest
import urllib.parse
import xml.etree.ElementTree
import zoneinfo


def say(fifo, text):
    fd = os.open(fifo, os.O_WRONLY | os.O_APPEND)
    os.write(fd, (text + "\n").encode())
    os.close(fd)


async def squares(count):
    async def square(n):
        await asyncio.sleep(0)
        return n * n

    return sum(await asyncio.gather(*(square(n) for n in range(count))))


def database(rows):
    db = sqlite3.connect(":memory:")
    db.execute("create table t (id integer primary key, name text, value real)")
    db.executemany("insert into t values (?, ?, ?)", rows)
    return db.execute("select count(*), sum(value) from t where name like '%7%'").fetchone()


def work(records, patterns):
    """What the first request of a service might do; the same records always give the same digest."""
    h = hashlib.sha256()
    text = json.dumps(records[::97])
    h.update(pickle.dumps(json.loads(text)))
    for p in patterns:
        h.update(str(len(p.findall(text))).encode())
    h.update(str(database([(r["id"], r["name"], r["value"]) for r in records[::101]])).encode())
    h.update(str(asyncio.run(squares(20))).encode())
    h.update(ast.dump(ast.parse(inspect.getsource(argparse.ArgumentParser).replace("\t", " "))).encode())
    h.update(str(sum(decimal.Decimal(str(r["value"])) for r in records[::103])).encode())
    h.update(str(statistics.fmean(r["value"] for r in records)).encode())
    tree = xml.etree.ElementTree.fromstring("<a>%s</a>" % "".join("<b c='%d'/>" % r["id"] for r in records[::107]))
    h.update(str(len(tree)).encode())
    return h.hexdigest()


def main():
    fifo = sys.argv[1]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    rnd = random.Random(7)
    records = [
        {"id": i, "name": "record %d" % i, "value": rnd.random(), "tags": [str(rnd.getrandbits(32)) for _ in range(8)]}
        for i in range(100000)
    ]
    patterns = [re.compile(p) for p in (r"record \d*7\b", r'"tags": \["1', r"0\.\d{3}9")]
    before = work(records, patterns)
    say(fifo, "ready %d %d records" % (os.getpid(), len(records)))
    while signal.sigwait([signal.SIGUSR1]) != signal.SIGUSR1:
        pass
    t0 = time.monotonic_ns()
    after = work(records, patterns)
    took = time.monotonic_ns() - t0
    if after != before:
        return say(fifo, "BAD %d the digest was %s and is %s" % (os.getpid(), before, after))
    say(fifo, "ok work_ns=%d" % took)


main()
