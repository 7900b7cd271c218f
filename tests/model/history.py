"""Judges what the clients of a run wrote down. All times are CLOCK_MONOTONIC nanoseconds of one machine: `inv` was
taken before a request was sent, `resp` after its answer was read, so what the server did lies between.

- Each tag is a register: its history must be linearizable. So is the existence of each manifest, as long as only
  clients delete (untagged_expiry off).
- A claim is a push that went as clients push, within gc_grace: whatever it consists of must be there until somebody
  deletes it (with untagged_expiry: until its tag moves). A sight is a 200 or 201 for an object: it must be there for
  gc_grace. Each 404 is held against both.
"""
import bisect
from collections import defaultdict, namedtuple

Op = namedtuple("Op", "inv resp kind arg ret")
Claim = namedtuple("Claim", "repo tag value tag_inv closure manifests start resp")
Miss = namedtuple("Miss", "repo digest inv resp what")


# --- one register
def step(state, op):
    """The state after op, or NO when op could not have answered so."""
    kind = op.kind
    if kind == "write":
        return op.arg
    if kind == "read":
        return state if state == op.ret else NO
    if kind == "present":
        return state if (state is not None) == op.ret else NO
    if kind == "unset":  # ret: there was one
        return None if (state is not None) == op.ret else NO
    if kind == "unset_if":  # the manifest arg was deleted
        return None if state == op.arg else state
    if kind == "not":  # the manifest arg did not exist
        return NO if state == op.arg else state
    raise AssertionError(kind)


NO = object()


def linearize(ops):
    """None when one order of ops within their intervals explains every answer; else the op that cannot be explained.

    Goes through the calls and answers in the order of time. A configuration is a state and the set of calls under way
    that have taken effect already; at an answer only those live on in which that call has."""
    events = []
    for i, op in enumerate(ops):
        events.append((op.inv, 0, i))  # at the same moment the call is first: the two overlap
        events.append((op.resp, 1, i))
    events.sort()
    pending, configs = set(), {(None, frozenset())}
    for _, answer, i in events:
        if not answer:
            pending.add(i)
            continue
        done, seen, todo = set(), set(configs), list(configs)
        while todo:
            state, taken = todo.pop()
            if i in taken:
                done.add((state, taken - {i}))
                continue
            for j in pending - taken:
                after = step(state, ops[j])
                if after is not NO:
                    config = (after, taken | {j})
                    if config not in seen:
                        seen.add(config)
                        todo.append(config)
        if not done:
            return ops[i]
        configs = done
        pending.discard(i)
    return None


def around(ops, bad, short):
    """The ops that touch the time of a bad one, for people."""
    from_, to = bad.inv - 300_000_000, bad.resp
    near = sorted(o for o in ops if o.resp >= from_ and o.inv <= to)
    return "\n".join("    %9.3f..%9.3f ms %s %s -> %s%s" % (
        (o.inv - from_) / 1e6, (o.resp - from_) / 1e6, o.kind, short(o.arg), short(o.ret), "   <--" if o is bad else "")
        for o in near[-40:])


# --- all of it
class History:
    def __init__(self, grace, expiry, short=lambda d: str(d)):
        """grace and expiry in nanoseconds; expiry 0: off."""
        self.grace, self.expiry, self.short = grace, expiry, short
        self.tags, self.exist = defaultdict(list), defaultdict(list)
        self.deleted = defaultdict(list)  # (repo, manifest) -> [(inv, resp, answered 202)]
        self.gone = defaultdict(list)     # (repo, digest) -> [(inv, resp)], by clients
        self.claims, self.sights = defaultdict(list), defaultdict(list)
        self.misses, self.wrong, self.merged = [], [], False
        self.count = defaultdict(int)

    def add(self, records):
        for r in records:
            kind, rest = r[0], r[1:]
            self.count[kind] += 1
            if kind == "tag":
                repo, tag, what, arg, ret, inv, resp = rest
                self.tags[repo, tag].append(Op(inv, resp, what, arg, ret))
            elif kind == "exist":
                repo, digest, what, arg, ret, inv, resp = rest
                self.exist[repo, digest].append(Op(inv, resp, what, arg, ret))
            elif kind == "delete":
                repo, digest, ret, inv, resp = rest
                self.deleted[repo, digest].append((inv, resp, ret))
                self.gone[repo, digest].append((inv, resp))
            elif kind == "seen":
                repo, digest, inv, resp = rest
                self.sights[repo, digest].append((resp, inv))
            elif kind == "claim":
                claim = Claim(*rest)
                sound = claim.resp - claim.start < self.grace
                self.count["sound claim" if sound else "slow claim"] += 1
                for digest in claim.closure if sound else ():
                    self.claims[claim.repo, digest].append(claim)
            elif kind == "miss":
                self.misses.append(Miss(*rest))
            elif kind == "wrong":
                self.wrong.append(rest[0])

    # --- registers
    def tag_histories(self):
        """Deleting a manifest takes its tags with it, all of them."""
        if self.merged:
            return self.tags
        self.merged = True
        values = {key: {op.arg for op in ops if op.kind == "write"} for key, ops in self.tags.items()}
        for (repo, digest), times in self.deleted.items():
            for key, ops in self.tags.items():
                if key[0] == repo and digest in values[key]:
                    ops += [Op(inv, resp, "unset_if" if ret else "not", digest, None) for inv, resp, ret in times]
        return self.tags

    def check_registers(self, histories):
        faults = []
        for key, ops in sorted(histories.items()):
            bad = linearize(ops)
            if bad is not None:
                name = " ".join(map(self.short, key))
                faults.append("%s: not linearizable\n%s" % (name, around(ops, bad, self.short)))
        return faults

    def check_tags(self):
        return self.check_registers(self.tag_histories())

    def check_manifests(self):
        """Only without untagged_expiry: else the collector is one of the writers."""
        return self.check_registers(self.exist) if self.expiry == 0 else []

    # --- what must be there
    def touched(self, repo, digests, from_, to):
        """A client deleted one of them, or was about to, between from_ and to."""
        return any(inv <= to and resp >= from_ for d in digests for inv, resp in self.gone.get((repo, d), ()))

    def moved(self, claim, to):
        """The tag may have got another value since it was set."""
        for op in self.tags.get((claim.repo, claim.tag), ()):
            if op.inv <= to and op.resp >= claim.tag_inv:
                if op.kind == "write" and op.arg != claim.value or op.kind == "unset" and op.ret or \
                        op.kind == "unset_if" and op.arg == claim.value:
                    return True
        return False

    def holds(self, claim, to):
        if self.touched(claim.repo, claim.manifests, claim.start, to):
            return False
        if self.expiry == 0:
            return True
        if claim.tag is None:
            return to - claim.start < min(self.grace, self.expiry)
        return not self.moved(claim, to)

    def check_misses(self):
        self.tag_histories()
        faults = []
        for key in self.sights:
            self.sights[key].sort()
        for m in self.misses:
            key = (m.repo, m.digest)
            for claim in self.claims.get(key, ()):
                if claim.resp <= m.inv and self.holds(claim, m.resp):
                    faults.append("%s %s: %s, pushed %.3f..%.3f s before with %s (tag %s)" % (
                        m.repo, self.short(m.digest), m.what, (m.inv - claim.start) / 1e9, (m.inv - claim.resp) / 1e9,
                        self.short(claim.value), claim.tag))
                    break
            sights = self.sights.get(key, [])
            for resp, inv in reversed(sights[:bisect.bisect_right(sights, (m.inv, m.inv))]):
                if m.resp - inv >= self.grace:
                    break
                if not self.touched(m.repo, [m.digest], inv, m.resp):
                    faults.append("%s %s: %s, %.3f s after it was answered for" % (
                        m.repo, self.short(m.digest), m.what, (m.resp - inv) / 1e9))
                    break
        return faults
