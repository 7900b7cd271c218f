"""The weakest file system that POSIX allows, as a model: what may be on the disk after a power cut.

It replays a log of tests/tools/filelog. A file's bytes are durable up to its last fsync; of later writes any part
may be there, in pieces of 512 bytes, and its size is what the last piece reaches. A directory's entries are
durable up to the directory's last fsync; each later change of a name may have happened or not, in the order of that
name's changes. fsync of a file says nothing of its name. One thing is granted beyond POSIX, as every journal does: a
rename whose directories were not synced takes the old name away only if the new one is there.
"""
import os
import struct

RECORD = struct.Struct("=c3xIQQ")
SECTOR = 512


class File:
    def __init__(self):
        self.durable, self.pending = bytearray(), []

    def sync(self):
        for op in self.pending:
            apply(self.durable, op)
        self.pending = []

    def bytes(self, rng, keep):
        """keep: 0 nothing that was not synced, 1 all of it, between: each piece with that probability."""
        if not self.pending or keep == 0:
            return self.durable
        out = bytearray(self.durable)
        for op in self.pending:
            if keep == 1:
                apply(out, op)
            elif op[0] == "T" or rng.random() >= 0.125:
                if rng.random() < keep:
                    apply(out, op)
            else:  # torn
                for at in range(0, len(op[2]), SECTOR):
                    if rng.random() < 0.5:
                        apply(out, ("W", op[1] + at, op[2][at:at + SECTOR]))
        return out


def apply(data, op):
    if op[0] == "T":
        if op[1] < len(data):
            del data[op[1]:]
        else:
            data.extend(bytes(op[1] - len(data)))
        return
    _, at, piece = op
    if at > len(data):
        data.extend(bytes(at - len(data)))
    data[at:at + len(piece)] = piece


class Change:
    """Of one name: to a file, a directory, or None. needs: the change that has to be there first."""
    __slots__ = ("name", "to", "needs", "kept")

    def __init__(self, name, to, needs=None):
        self.name, self.to, self.needs, self.kept = name, to, needs, False


class Directory:
    def __init__(self):
        self.durable, self.pending = {}, []

    def sync(self):
        for c in self.pending:
            c.kept = True
            self.set(self.durable, c)
        self.pending = []

    @staticmethod
    def set(names, change):
        if change.to is None:
            names.pop(change.name, None)
        else:
            names[change.name] = change.to


class Model:
    def __init__(self):
        self.root = Directory()
        self.dirs, self.files, self.live = {"/": self.root}, {}, {}
        self.unlinked = set()

    def parent(self, path):
        folder, name = path.rsplit("/", 1)
        return self.dirs[folder or "/"], name

    def change(self, path, to, needs=None):
        d, name = self.parent(path)
        c = Change(name, to, needs)
        d.pending.append(c)
        return c

    def step(self, kind, file, at, data):
        if kind == "W":
            self.files[file].pending.append(("W", at, data))
        elif kind == "T":
            self.files[file].pending.append(("T", at))
        elif kind == "S":
            if file in self.files:
                self.files[file].sync()
        elif kind == "M":
            pass
        else:
            self.name_step(kind, file, data.decode())

    def name_step(self, kind, file, path):
        if kind == "C":
            self.files[file] = self.live[path] = File()
            self.change(path, self.live[path])
        elif kind == "D":
            self.dirs[path] = Directory()
            self.change(path, self.dirs[path])
        elif kind == "U":
            self.unlinked.add(path)
            if self.live.pop(path, None):
                self.change(path, None)
        elif kind == "X":
            self.change(path, None)
        elif kind == "R":
            old, new = path.split("\0")
            self.live[new] = self.live.pop(old)
            self.change(old, None, self.change(new, self.live[new]))
        elif kind == "Y":
            self.dirs[path].sync()
        else:
            raise ValueError(kind)

    # --- a state after a cut
    def draw(self, out, rng, keep):
        """Makes the directory `out` hold one possible state."""
        chosen = {}
        for d in self.dirs.values():
            self.choose(d, rng, keep)
        for d in self.dirs.values():
            names = dict(d.durable)
            gone = set()  # names whose further changes did not happen
            for c in d.pending:
                if c.name in gone:
                    continue
                if c.kept and (c.needs is None or c.needs.kept):
                    Directory.set(names, c)
                else:
                    gone.add(c.name)
            chosen[d] = names
        self.write(self.root, out, chosen, {}, rng, keep)

    @staticmethod
    def choose(d, rng, keep):
        ended = set()
        for c in d.pending:
            c.kept = c.name not in ended and (keep == 1 or keep > 0 and rng.random() < keep)
            if not c.kept:
                ended.add(c.name)

    def write(self, d, path, chosen, made, rng, keep):
        os.mkdir(path, 0o700)
        for name, to in chosen[d].items():
            at = path + "/" + name
            if isinstance(to, Directory):
                self.write(to, at, chosen, made, rng, keep)
            elif to in made:
                os.link(made[to], at)
            else:
                fd = os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                data = to.bytes(rng, keep)
                if data:
                    os.write(fd, data)
                os.close(fd)
                made[to] = at


def read(path):
    """[(type, file, at, bytes)]"""
    with open(path, "rb") as f:
        data = f.read()
    out, at = [], 0
    while at + RECORD.size <= len(data):
        kind, n, file, where = RECORD.unpack_from(data, at)
        at += RECORD.size
        out.append((kind.decode(), file, where, data[at:at + n]))
        at += n
    return out
