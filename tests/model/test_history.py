"""Tests of the judge: it lets good histories pass and finds each kind of bad one. A test returns its faults."""
import itertools
import random

from history import Op, History, linearize, step, NO

S = 1_000_000_000  # a second


def expect(good, ops):
    ops = [Op(*o) for o in ops]
    return [] if (linearize(ops) is None) == good else ["%s: %r" % ("refused" if good else "passed", ops)]


def test_registers():
    return [
        *expect(True, [(0, 1, "write", "a", None), (2, 3, "read", None, "a")]),
        *expect(False, [(0, 1, "write", "a", None), (2, 3, "read", None, None)]),
        # A read beside a write sees either; after one has seen the new value nobody sees the old one.
        *expect(True, [(0, 9, "write", "a", None), (1, 2, "read", None, None), (3, 4, "read", None, "a")]),
        *expect(False, [(0, 9, "write", "a", None), (1, 2, "read", None, "a"), (3, 4, "read", None, None)]),
        *expect(True, [(0, 1, "write", "a", None), (2, 9, "write", "b", None), (3, 8, "unset", None, True),
                       (10, 11, "read", None, "b")]),
        *expect(False, [(0, 1, "write", "a", None), (2, 3, "unset", None, True), (4, 5, "unset", None, True)]),
        *expect(True, [(0, 1, "write", "a", None), (2, 3, "unset_if", "b", None), (4, 5, "read", None, "a")]),
        *expect(False, [(0, 1, "write", "a", None), (2, 3, "unset_if", "a", None), (4, 5, "present", None, True)]),
        *expect(False, [(0, 1, "write", "a", None), (2, 3, "not", "a", None)]),
    ]


def brute(ops):
    for order in itertools.permutations(range(len(ops))):
        at = {i: k for k, i in enumerate(order)}
        if any(ops[i].resp < ops[j].inv and at[i] > at[j] for i in range(len(ops)) for j in range(len(ops))):
            continue
        state = None
        for i in order:
            state = step(state, ops[i])
            if state is NO:
                break
        if state is not NO:
            return True
    return False


def test_against_all_orders():
    """Small random histories, half of them bad, against trying every order."""
    rng, faults, good = random.Random(7), [], 0
    for _ in range(800):
        ops = []
        for _ in range(rng.randint(2, 6)):
            inv = rng.randrange(12)
            kind = rng.choice(("write", "write", "read", "read", "unset", "unset_if", "present"))
            arg = rng.choice("ab") if kind in ("write", "unset_if") else None
            ret = None
            if kind == "read":
                ret = rng.choice((None, "a", "b"))
            elif kind in ("unset", "present"):
                ret = rng.random() < 0.5
            ops.append(Op(inv, inv + rng.randrange(6), kind, arg, ret))
        want = brute(ops)
        good += want
        if (linearize(ops) is None) != want:
            faults.append("%s wrongly: %r" % ("refused" if want else "passed", ops))
    return faults if 100 < good < 700 else faults + ["%d of 800 good: the test is lopsided" % good]


def judged(records, expiry=0):
    h = History(2 * S, expiry)
    h.add(records)
    return len(h.check_misses())


def claim(tag=None, start=0, resp=S, tag_inv=0):
    return ("claim", "r", tag, "m", tag_inv, ("m", "b"), ("m",), start, resp)


def miss(inv, what="b"):
    return ("miss", "r", what, inv, inv + 10, "gone")


def test_misses():
    cases = [
        (1, [claim(), miss(5 * S)]),                                              # named, and gone
        (1, [claim(), miss(5 * S, "m")]),
        (0, [claim(), miss(S - 5)]),                                              # before it was acknowledged
        (0, [claim(resp=3 * S), miss(5 * S)]),                                    # the push took too long
        (0, [claim(), ("delete", "r", "m", True, 2 * S, 3 * S), miss(5 * S)]),    # the manifest was deleted
        (1, [claim(), ("delete", "r", "m", True, 6 * S, 7 * S), miss(5 * S)]),    # but not yet
        (1, [("seen", "r", "b", 0, 5), miss(S)]),
        (0, [("seen", "r", "b", 0, 5), miss(2 * S)]),
        (0, [("seen", "x", "b", 0, 5), miss(S)]),                                 # another repository
        (0, [("seen", "r", "m", 0, 5), ("delete", "r", "m", True, 6, 9), miss(S, "m")]),
    ]
    expiring = [
        (0, [claim(), miss(5 * S)]),                                              # without a tag it may go
        (1, [claim("t"), miss(5 * S)]),
        (0, [claim("t"), ("tag", "r", "t", "write", "n", None, 2 * S, 3 * S), miss(5 * S)]),
        (1, [claim("t"), ("tag", "r", "t", "write", "m", None, 2 * S, 3 * S), miss(5 * S)]),
        (0, [claim("t"), ("tag", "r", "t", "unset", None, True, 2 * S, 3 * S), miss(5 * S)]),
        (1, [claim("t"), ("tag", "r", "t", "unset", None, False, 2 * S, 3 * S), miss(5 * S)]),
        (0, [claim("t", tag_inv=0), ("tag", "r", "t", "write", "n", None, 0, S // 2), miss(5 * S)]),  # at the same time
    ]
    return ["case %r: %d faults" % (c, n) for e, cs in ((0, cases), (S // 3, expiring)) for want, c in cs
            for n in [judged(c, e)] if n != want]
