"""Records to Debian's rsyslog, over TLS and plain TCP; a receiver that goes, one that does not read, one that lies."""
import socket

import pytest
from conftest import Netcall, free_port, wait_for
from ends import Receiver

@pytest.fixture(scope="module")
def receiver(folder, authority, resolver):
    r = Receiver(folder + "/rsyslog", authority, "log.test")
    yield r
    r.stop()


def start(call, url, **over):
    args = dict(who="operator", url=url, hostname="hub.test", app="berth", facility=13, plain=url.startswith("syslog:"))
    args.update(over)
    return call("syslog-open", **args)


@pytest.mark.parametrize("how", ["tls", "tcp"])
def test_records_arrive(call, receiver, how):
    url = ("syslogs://log.test:%d" if how == "tls" else "syslog://log.test:%d") % getattr(receiver, how)
    before = len(receiver.lines())
    assert start(call, url)["rc"] == "OK"
    big = "x" * 60000
    texts = ["{\"n\":%d,\"who\":\"Jürgen €\"}" % i for i in range(300)] + [big, "", "<0>1 forged", "9 <1>"]
    for i, text in enumerate(texts):
        got = call("syslog", severity=i % 8, time=1700000000123456 + i, msgid="login", text=text)
        assert got["rc"] == "OK", got
    lines = receiver.has(before + len(texts))[before:]
    assert len(lines) == len(texts)
    for i, (line, text) in enumerate(zip(lines, texts)):
        assert line == "%d|2023-11-14T22:13:20.%06dZ|hub.test|berth|login|%s" % (13 * 8 + i % 8, 123456 + i, text), line[:200]


def test_headers_are_tokens(call, receiver):
    before = len(receiver.lines())
    assert start(call, "syslogs://log.test:%d" % receiver.tls, hostname="my host\n<1>", app="")["rc"] == "OK"
    assert call("syslog", msgid="two words\nand é", text="t")["rc"] == "OK"
    assert call("syslog", text="a\nb")["rc"] == "INVALID"
    assert call("syslog", text="x" * 65537)["rc"] == "INVALID"
    assert call("syslog", text="x" * 65536, data="[a@1]")["rc"] == "INVALID"
    assert call("syslog", text="t", severity=8)["rc"] == "INVALID"
    line = receiver.has(before + 1)[before]
    assert line.split("|")[2:] == ["my_host_<1>", "-", "two_words_and___", "t"], line


def test_structured_data(call, folder, authority):
    r = Receiver(folder + "/rsyslog-data", authority, "log.test", "%structured-data%|%msg%")
    assert start(call, "syslogs://log.test:%d" % r.tls)["rc"] == "OK"
    for data, text in (('[a@1 x="1 \\" \\] \\\\"]', "with"), ("", "without")):
        assert call("syslog", data=data, text=text)["rc"] == "OK"
    assert [line.split("|") for line in r.has(2)] == [['[a@1 x="1 \\" \\] \\\\"]', "with"], ["-", "without"]]
    r.stop()


def test_server_away_and_back(call, receiver):
    """What was refused is sent again by the caller; the sender waits before it connects anew, and says so."""
    before = len(receiver.lines())
    assert start(call, "syslogs://log.test:%d" % receiver.tls)["rc"] == "OK"
    assert call("syslog", text="first")["new"]
    receiver.has(before + 1)
    receiver.stop()
    got = call("syslog", text="second")
    assert got["rc"] == "UNAVAILABLE", got # the closed connection is noticed before the record is given away
    got = call("syslog", text="second")
    assert got["rc"] == "UNAVAILABLE" and "next attempt in 1 s" in got["error"], got
    receiver.start()
    answers = []
    wait_for("the sender", lambda: answers.append(call("syslog", text="second")) or answers[-1]["rc"] == "OK")
    assert answers[-1]["new"] and not call("syslog", text="third")["new"]
    assert [line.split("|")[5] for line in receiver.has(before + 3)[before:]] == ["first", "second", "third"]


def test_waits_longer_each_time(call, resolver):
    assert start(call, "syslogs://log.test:%d" % free_port())["rc"] == "OK"
    seen = set()

    def third():
        got = call("syslog", text="t")
        assert got["rc"] == "UNAVAILABLE", got
        seen.add(got["error"].split("next attempt in ")[-1])
        return "4 s" in seen
    wait_for("a wait of 4 s", third)
    assert {"1 s", "2 s", "4 s"} <= seen


def test_a_server_that_does_not_read(call, resolver):
    s = socket.create_server(("127.0.0.1", 0))
    assert start(call, "syslog://log.test:%d" % s.getsockname()[1], timeout=300)["rc"] == "OK"
    for _ in range(2000):
        got = call("syslog", text="x" * 65536)
        if got["rc"] != "OK":
            break
    assert got["rc"] == "TIMEOUT" and "does not read" in got["error"], got
    assert call("syslog", text="t")["rc"] == "UNAVAILABLE" # half a frame is out: never on that connection again
    s.close()
    mute = socket.create_server(("127.0.0.1", 0)) # TLS with nobody who answers
    assert start(call, "syslogs://log.test:%d" % mute.getsockname()[1], timeout=300)["rc"] == "OK"
    assert call("syslog", text="t")["rc"] == "TIMEOUT"
    mute.close()


def test_tls_is_checked(call, receiver, folder, authority):
    before = len(receiver.lines())
    other = Receiver(folder + "/rsyslog-other", authority, "other.test")
    assert start(call, "syslogs://log.test:%d" % other.tls)["rc"] == "OK"
    got = call("syslog", text="secret")
    assert got["rc"] == "UNAVAILABLE" and "certificate" in got["error"], got
    n = Netcall()
    n("rules", allow="", ca="")
    assert start(n, "syslogs://log.test:%d" % receiver.tls)["rc"] == "OK"
    got = n("syslog", text="secret")
    assert got["rc"] == "UNAVAILABLE" and "certificate" in got["error"], got
    n.close()
    assert start(call, "syslog://log.test:%d" % receiver.tcp, plain=False)["rc"] == "DENIED"
    assert start(call, "syslogs://log.test:%d" % receiver.tls, who="tenant")["rc"] == "DENIED"
    assert start(call, "syslogs://log.test", facility=24)["rc"] == "INVALID"
    assert start(call, "syslogs://log.test:%d" % receiver.tls)["rc"] == "OK"
    assert call("syslog", text="last")["rc"] == "OK"
    assert [line.split("|")[5] for line in receiver.has(before + 1)[before:]] == ["last"] and other.lines() == []
    other.stop()
