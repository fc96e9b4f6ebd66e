#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
manager.py FIFO COMMAND...: stands in for systemd: runs the command with NOTIFY_SOCKET, keeps the descriptors that it
hands over by FDSTORE=1, and ends with its exit status. When that says READY=1 there is a file FIFO.ready. At a line "kill" in the fifo it kills the main process and its
children with SIGKILL, all stopped first so that none sees another die, and starts the command again with what it has
kept, in an order of its own.
"""
import array
import os
import random
import select
import signal
import socket
import sys

NOTIFY = "@lazyd-manager-%d" % os.getpid()


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(word) for word in f.read().split()]


def start(command, store):
    """A child with the stored descriptors from 3 on. Others it has are those of the manager."""
    kept = list(store)
    random.shuffle(kept)
    pid = os.fork()
    if pid:
        return pid
    os.environ["NOTIFY_SOCKET"] = NOTIFY
    if kept:
        high = [os.dup(fd) for _, fd in kept]  # above all that is to be replaced
        base = max(high) + 1
        high = [(os.dup2(fd, base + i), os.close(fd))[0] for i, fd in enumerate(high)]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i, inheritable=True)
        os.closerange(3 + len(high), base + len(high))
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.environ["LISTEN_FDS"] = str(len(high))
        os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _ in kept)
    os.execvp(command[0], command)


def hear(sock, store, main, fifo):
    text, ancillary, _, _ = sock.recvmsg(4096, socket.CMSG_SPACE(64))
    fds = array.array("i")
    for _, kind, data in ancillary:
        if kind == socket.SCM_RIGHTS:
            fds.frombytes(data)
    said = dict(line.split("=", 1) for line in text.decode().split("\n") if "=" in line)
    if "FDSTOREREMOVE" in said:
        for name, fd in [kept for kept in store if kept[0] == said["FDNAME"]]:
            store.remove((name, fd))
            os.close(fd)
    elif "FDSTORE" in said:
        store += [(said["FDNAME"], fd) for fd in fds]
    if "READY" in said:
        open(fifo + ".ready", "w").close()
    return int(said.get("MAINPID", main))


def tell(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # a child that somebody else has killed


def kill(main):
    """The status of the main process."""
    both = [main] + children(main)
    for pid in both:
        tell(pid, signal.SIGSTOP)
    both = [main] + children(main)
    for pid in both:
        tell(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(main, 0)[1])


def run(fifo, command):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind("\0" + NOTIFY[1:])
    control = os.open(fifo, os.O_RDWR)
    store = []
    main = start(command, store)
    while True:
        ready, _, _ = select.select([sock, control], [], [], 0.02)
        if sock in ready:
            main = hear(sock, store, main, fifo)
        elif control in ready:
            os.read(control, 64)
            status = kill(main)
            if status != -signal.SIGKILL:  # it had come to its end before
                return status
            # What they had said before they died is in the socket.
            while select.select([sock], [], [], 0)[0]:
                main = hear(sock, store, main, fifo)
            main = start(command, store)
        else:
            pid, status = os.waitpid(main, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)


sys.exit(run(sys.argv[1], sys.argv[2:]))
