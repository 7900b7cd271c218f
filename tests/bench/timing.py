#!/usr/bin/python3
"""Does the time of an answer tell what the answer does not? Interleaved samples, Welch's t (T05, T17, T19).

  tests/bench/timing.py [BERTH] [--samples N]

Three questions: is there such a user, such a repository, such a blob? Prints both means and t; |t| below 4.5 tells
nothing. Wants a quiet machine.
"""
import argparse
import math
import os
import random
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/lib"))
from berth import Hub  # noqa: E402
from rawhttp import build  # noqa: E402
from registry import basic, digest  # noqa: E402

BOUND = 4.5


def welch(one, two):
    def mean_and_error(v):
        m = sum(v) / len(v)
        return m, sum((x - m) ** 2 for x in v) / (len(v) - 1) / len(v)
    (m1, e1), (m2, e2) = mean_and_error(one), mean_and_error(two)
    return m1, m2, (m1 - m2) / math.sqrt(e1 + e2)


def sample(n, ask):
    """ask(which, i) is called 2n times in random order; returns the times of both."""
    order = [(which, i) for which in (0, 1) for i in range(n)]
    random.shuffle(order)
    times = ([], [])
    for which, i in order:
        times[which].append(ask(which, i))
    return times


def timed(c, request):
    begin = time.perf_counter()
    c.send(request)
    a = c.answer()
    return time.perf_counter() - begin, a.status


def users(hub, n):
    """A wrong password of a known user, and of nobody."""
    names = ("alice", "nobod")
    with hub.connect() as c:
        def ask(which, i):
            seconds, status = timed(c, build("GET", "/v2/", [("Authorization", basic(names[which], "wrong-%d" % i))]))
            assert status == 401
            return seconds
        return sample(n, ask)


def repositories(hub, bob, n):
    """Somebody else's private one, and none."""
    asks = [build("GET", "/v2/alice/%s/tags/list" % name, [("Authorization", bob.authorization(None))])
            for name in ("there", "never")]
    with hub.connect() as c:
        def ask(which, i):
            seconds, status = timed(c, asks[which])
            assert status == 404
            return seconds
        return sample(n, ask)


def blobs(hub, alice, bob, n):
    """An upload of what the server has from somebody else, and of what it has not."""
    data = [[os.urandom(100000) for _ in range(n)] for _ in (0, 1)]
    for blob in data[0]:
        alice.push_blob("alice/there", blob)
    with hub.connect() as c:
        auth = ("Authorization", bob.authorization(None))

        def ask(which, i):
            blob = data[which][i]
            seconds, status = timed(c, build("POST", "/v2/bob/x/blobs/uploads/?digest=" + digest(blob), [auth], blob))
            assert status == 201
            return seconds
        return sample(n, ask)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("berth", nargs="?", default=os.path.join(ROOT, "build/berth"))
    p.add_argument("--samples", type=int, default=10000, help="of each kind; logins and uploads take a fifth")
    a = p.parse_args()
    os.environ["BERTH_BIN"] = a.berth
    few = max(2, a.samples // 5)
    told = 0
    with Hub(env={"BERTH_ACCESS_LOG": "false", "BERTH_LOG_LEVEL": "warn", "BERTH_MAX_LOGINS_PER_ADDRESS": "0"}) as hub:
        alice, bob = hub.add_user("alice"), hub.add_user("bob")
        alice.push_blob("alice/there", b"x")
        for name, (one, two) in (("user known, unknown", users(hub, few)),
                                 ("repository private, absent", repositories(hub, bob, a.samples)),
                                 ("blob there, new", blobs(hub, alice, bob, few))):
            m1, m2, t = welch(one, two)
            told += abs(t) >= BOUND
            print("%-28s %6d samples each: %.3f ms, %.3f ms, t %.2f" % (name, len(one), 1000 * m1, 1000 * m2, t), flush=True)
    sys.exit(1 if told else 0)


if __name__ == "__main__":
    main()
