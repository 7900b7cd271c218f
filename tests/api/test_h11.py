"""The parser of HTTP heads and bodies beside python3-h11: the corpus of its fuzzer and mutations of it.

Whatever h11 refuses we refuse, what both take they read alike, and what only we refuse is refused for one of the
reasons below. So no proxy that reads like h11 can be led to see another message than we do (request smuggling).
"""
import os
import random
import re
import struct
import subprocess

import h11

import berth

CORPUS = os.path.join(berth.ROOT, "fuzz", "corpus", "head")
MUTATIONS = int(os.environ.get("H11_MUTATIONS", "20000"))
SEED = os.environ.get("H11_SEED", "berth")

# Our refusals of what h11 takes: why, and the texts of the error (behind "malformed request: ", if that is there).
STRICTER = {
    "a bare LF or CR is no line end: RFC 9112 2.2 lets a recipient refuse it, and proxies differ on it": [
        "lines end with CR LF", "Missing expected LF after header value", "Expected LF after headers",
        "Expected LF after CR", "Expected LF after chunk size", "Expected CRLF", "Expected CRLF after version"],
    "control characters": [
        "Invalid header value char", "control character in a header value", "Invalid header token",
        "Invalid header field char"],
    "obsolete line folding: RFC 9112 5.2 lets a server refuse it": [
        "folded header line", "Unexpected whitespace after header value"],
    "both framings, or one twice: RFC 9112 6.1 and 6.3 let a server refuse it; the classic smuggling": [
        "one Content-Length or one Transfer-Encoding, not both", "Duplicate Content-Length",
        "Content-Length can't be present with Transfer-Encoding",
        "Transfer-Encoding can't be present with Content-Length"],
    "lists of equal lengths, and numbers above 2^63 - 1": [
        "Content-Length is a decimal number", "Invalid character in Content-Length", "Content-Length overflow",
        "Empty Content-Length"],
    "no coding but chunked is offered, and HTTP/1.0 has none": [
        "the only transfer coding is chunked", "Invalid `Transfer-Encoding` header value",
        "Request has invalid `Transfer-Encoding`", "Transfer-Encoding in HTTP/1.0"],
    "the only versions are HTTP/1.0 and HTTP/1.1": [
        "the version is HTTP/1.1 or HTTP/1.0", "Invalid HTTP version", "Expected HTTP/", "Expected dot",
        "Invalid minor version", "Invalid major version", "Expected HTTP/2 Connection Preface"],
    "only methods that some HTTP has, and no tunnels": [
        "Invalid method encountered", "CONNECT and Upgrade are not offered"],
    "a target is a path, or an absolute http or https URL of ASCII": [
        "the target is an absolute path", "Unexpected start char in url", "Unexpected char in url schema",
        "Unexpected char in url server", "Invalid characters in url", "Invalid characters in url (strict mode)",
        "Invalid char in url path", "Invalid char in url query", "Invalid char in url fragment start",
        "bytes in the target that must be percent-encoded"],
    "exactly one space between the parts of a request line, and nothing before it": [
        "the request line is METHOD SP target SP HTTP/1.1", "Expected space after method",
        "Unexpected space after start line", "empty line"],
    "h11 counts the Host lines of HTTP/1.1 only": ["exactly one Host header is needed"],
    "RFC 9112 3.2: a Host that is none": ["Host is a name or address and a port"],
    "RFC 9110 10.1.1: 417": ["the only expectation is 100-continue"],
    "our limits": [
        "more than 128 header lines", "the request head is larger than 16384 bytes",
        "the request line is longer than 16384 bytes", "too much chunk framing for so little body"],
    "chunk sizes and extensions by the letter of RFC 9112 7.1": [
        "Chunk size overflow", "Invalid character in chunk size", "Invalid character in chunk extensions",
        "Invalid character in chunk extensions name", "Invalid character in chunk extensions value",
        "Invalid character in chunk extensions quoted value", "Invalid character in chunk extensions quote value"],
}
LISTED = {text for texts in STRICTER.values() for text in texts}


class Ours:
    def __init__(self):
        tool = os.path.join(os.path.dirname(berth.binary()), "fuzz", "httphead")
        self.proc = subprocess.Popen([tool], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, stream):
        """(messages, end, text); a message: [method, target, headers, keep, body or None]."""
        self.proc.stdin.write(struct.pack("<I", len(stream)) + stream)
        self.proc.stdin.flush()
        messages = []
        while True:
            raw = self.proc.stdout.readline().decode()
            assert raw.endswith("\n"), "the tool ended on %r" % stream
            kind, rest = raw[:-1].split(" ", 1)
            if kind == "end":
                why, _, text = rest.split(" ", 2)
                return messages, why, text.replace("malformed request: ", "", 1)
            part = [b"" if x == "-" else bytes.fromhex(x) if len(x) > 1 else x for x in rest.split(" ")]
            if kind == "body":
                messages[-1][4] = part[0]
                continue
            target = part[1] + (b"?" + part[2] if part[3] == "1" else b"")
            fields = part[5:]
            headers = [(fields[i].lower(), fields[i + 1]) for i in range(0, len(fields), 2)]
            messages.append([part[0], target, headers, part[4] == "1", None])

    def close(self):
        self.proc.stdin.close()
        assert self.proc.wait(60) == 0
        self.proc.stdout.close()


def theirs(stream):
    """The same shape from h11; a connection for each message, fed with what the last one left."""
    messages = []
    while len(messages) < 64:
        conn = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        conn.receive_data(stream)
        message = None
        try:
            while True:
                event = conn.next_event()
                if isinstance(event, h11.Request):
                    message = [bytes(event.method), bytes(event.target), [(k, bytes(v)) for k, v in event.headers],
                               None, None]
                    messages.append(message)
                    version, body = event.http_version, b""
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    break
                elif event is h11.NEED_DATA:
                    if message is not None:
                        return messages, "in-body", "-"
                    return messages, "in-head" if conn.trailing_data[0] else "between", "-"
                else:
                    return messages, "paused", "-"
        except h11.RemoteProtocolError as e:
            return messages, "refused", str(e)
        # h11 never keeps HTTP/1.0; and an Upgrade that is not answered with 101 leaves the connection as it is.
        message[3] = conn.their_state in (h11.DONE, h11.MIGHT_SWITCH_PROTOCOL) or version == b"1.0"
        message[4] = body
        stream = conn.trailing_data[0]
    return messages, "stopped", "-"


def origin(target):
    """An absolute URL's path."""
    m = re.match(rb"https?://[^/]*(/.*)?$", target, re.S)
    return (m.group(1) or b"/") if m else target


def same_case(headers):
    """h11 gives the transfer coding in lower case."""
    return [(k, v.lower() if k == b"transfer-encoding" else v) for k, v in headers]


def judge(ours, h):
    """None, or what is wrong."""
    (a, a_end, a_text), (b, b_end, b_text) = ours, h
    stricter = a_end == "refused" and a_text in LISTED
    if a_end == "differs":
        return "the pieces change the result"
    for i in range(max(len(a), len(b))):
        if i >= len(a):  # h11 took a head that we did not
            if b[i][0] == b"PRI":  # the preface of HTTP/2, which ends later than a head
                return None
            return None if stricter else "h11 sees message %d, we are %s: %s" % (i, a_end, a_text)
        if i >= len(b):
            return "we see message %d, h11 is %s: %s" % (i, b_end, b_text)
        x, y = a[i], b[i]
        if x[0] != y[0] or x[1] != origin(y[1]) or same_case(x[2]) != same_case(y[2]):
            return "message %d is read otherwise: %r, %r" % (i, x[:3], y[:3])
        if x[4] is not None and y[4] is not None:
            if x[4] != y[4]:
                return "the body of message %d is read otherwise" % i
            if x[3] and not y[3]:
                return "message %d: h11 closes, we keep" % i
        elif x[4] is not None:
            return "message %d: the body ends for us, h11 is %s: %s" % (i, b_end, b_text)
        elif y[4] is not None:
            return None if stricter else "message %d: the body ends for h11, we are %s: %s" % (i, a_end, a_text)
    if b_end == "refused" and a_end not in ("refused", "in-head", "in-body"):
        return "h11 refuses (%s), we are %s" % (b_text, a_end)
    return None


TOKENS = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b"Transfer-Encoding: chunked\r\n",
          b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"0\r\n\r\n", b"3\r\nabc\r\n", b"Host: x\r\n",
          b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.0", b"chunked", b"identity", b",", b";", b"\x0b", b"\xff",
          b"Connection: close\r\n", b"-", b"+", b"0x", b"00", b"\x7f", b"\x85", b"X: y\r\n", b"A" * 20, b"f" * 17]


def mutate(rng, seeds):
    s = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(s) + 1)
        kind = rng.randrange(7)
        if kind == 0 and s:
            s[at % len(s)] = rng.randrange(256)
        elif kind == 1:
            s[at:at] = rng.choice(TOKENS)
        elif kind == 2:
            del s[at:at + rng.choice((1, 1, 2, 5))]
        elif kind == 3:
            other = rng.choice(seeds)
            s[at:] = other[rng.randrange(len(other) + 1):]
        elif kind == 4:  # a line twice
            lines = bytes(s).split(b"\r\n")
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            s = bytearray(b"\r\n".join(lines))
        elif kind == 5:
            s += rng.choice(seeds)
        elif s:
            s[at % len(s)] ^= 1 << rng.randrange(8)
    return bytes(s[:8000])


def corpus():
    seeds = []
    for name in sorted(os.listdir(CORPUS)):
        with open(os.path.join(CORPUS, name), "rb") as f:
            seeds.append(f.read()[1:])  # the first byte is for the fuzzer
    assert len(seeds) > 40
    return seeds


def compare(inputs):
    tool, wrong, taken, refused = Ours(), [], 0, 0
    for stream in inputs:
        ours, h = tool.read(stream), theirs(stream)
        why = judge(ours, h)
        taken += ours[1] != "refused"
        refused += h[1] == "refused"
        if why:
            wrong.append("%s\n  %r\n  ours %r\n  h11  %r" % (why, stream[:600], ours, h))
    tool.close()
    assert not wrong, "%d of %d differ\n%s" % (len(wrong), len(inputs), "\n".join(wrong[:12]))
    return taken, refused


def test_corpus():
    taken, refused = compare(corpus())
    assert taken > 10 and refused > 10


def test_mutations():
    rng, seeds = random.Random(SEED), corpus()
    taken, refused = compare([mutate(rng, seeds) for _ in range(MUTATIONS)])
    assert taken > MUTATIONS // 20 and refused > MUTATIONS // 20
