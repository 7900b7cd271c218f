"""One-time codes against oathtool, tokens against Python's own CRC-32, base32 and BLAKE2b."""
import base64, hashlib, os, re, subprocess, urllib.parse, zlib

from conftest import b64, unb64

PREFIXES = ["bpt_", "bot_", "bkt_", "bst_", "brt_", "boc_"]


def oathtool(secret, at, window=0):
    text = base64.b32encode(secret).decode()
    out = subprocess.run(["oathtool", "--totp", "-b", "-w", str(window), "-N", "@%d" % at, text], check=True, capture_output=True, text=True)
    return out.stdout.split()


def test_codes_are_oathtools(crypt):
    for at in (0, 59, 1_111_111_109, 1_800_000_000, 20_000_000_000):
        secret = os.urandom(20)
        for i, code in enumerate(oathtool(secret, at, 60)):
            assert crypt("totp", secret=b64(secret), at=at + 30 * i, issuer="h", account="a")["code"] == code


def test_a_code_of_the_app_is_taken_once(crypt):
    secret, at = os.urandom(20), 1_800_000_015
    for shift in (-30, 0, 30):
        code, = oathtool(secret, at + shift)
        got = crypt("totp", secret=b64(secret), at=at, code=code, last=-1)
        assert got == {"step": (at + shift) // 30}
        assert "used already" in crypt("totp", secret=b64(secret), at=at, code=code, last=got["step"])["text"]
    code, = oathtool(secret, at + 60)
    assert "wrong code" in crypt("totp", secret=b64(secret), at=at, code=code, last=-1)["text"]


def test_the_uri_is_what_apps_read(crypt):
    secret = os.urandom(20)
    uri = urllib.parse.urlsplit(crypt("totp", secret=b64(secret), at=0, issuer="hub.example:5000", account="jane doe")["uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert urllib.parse.unquote(uri.path) == "/hub.example:5000:jane doe"
    query = urllib.parse.parse_qs(uri.query, strict_parsing=True)
    assert query == {"secret": [base64.b32encode(secret).decode()], "issuer": ["hub.example:5000"], "algorithm": ["SHA1"], "digits": ["6"], "period": ["30"]}


def test_tokens_are_what_the_header_says(crypt):
    key, seen = os.urandom(32), set()
    for kind, prefix in enumerate(PREFIXES):
        for _ in range(50):
            got = crypt("token", key=b64(key), kind=kind)
            text = got["text"]
            assert re.fullmatch(prefix + "[a-z2-7]{58}", text)
            raw = base64.b32decode(text[4:].upper() + "=" * (-58 % 8))
            assert raw[32:] == zlib.crc32(prefix.encode() + raw[:32]).to_bytes(4, "big")
            assert unb64(got["hash"]) == hashlib.blake2b(text.encode(), key=key, digest_size=32).digest()
            seen.add(raw[:32])
    assert len(seen) == 50 * len(PREFIXES)
