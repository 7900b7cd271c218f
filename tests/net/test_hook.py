"""Signatures of webhooks against Python's HMAC (threat T41)."""
import base64
import hashlib
import hmac
import itertools

SECRET = "s" * 24


def test_signature(call):
    for secret, i, t, body in itertools.product((SECRET, "k" * 100, "ü" * 20), ("a", "msg_2-B", "x" * 64), (0, 1700000000),
                                                ("", "{}", "é\x00." * 100)):
        got = call("hook", secret=secret, id=i, seconds=t, body=body)
        mac = hmac.new(secret.encode(), b"%s.%d.%s" % (i.encode(), t, body.encode()), hashlib.sha256).digest()
        assert got["signature"] == "v1," + base64.b64encode(mac).decode(), got


def test_no_two_deliveries_sign_the_same_bytes(call):
    """An id with a dot, a time with a sign: what could move bytes from one field into the next is refused."""
    for i in ("", "a.1", "a.", ".", "a b", "ä", "x" * 65, "a\n"):
        assert call("hook", secret=SECRET, id=i, seconds=1, body="b")["rc"] == "INVALID", i
    assert call("hook", secret=SECRET, id="a", seconds=-1, body="b")["rc"] == "INVALID"
    assert call("hook", secret="s" * 23, id="a", seconds=1, body="b")["rc"] == "INVALID"
    seen = {}
    for i, t, body in itertools.product(("a", "a1", "1"), (0, 1, 11), ("", ".", "1", "1.", ".1", "a.1.")):
        s = call("hook", secret=SECRET, id=i, seconds=t, body=body)["signature"]
        assert seen.setdefault(s, (i, t, body)) == (i, t, body)
    assert len(seen) == 54
