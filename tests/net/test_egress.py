"""T40: which addresses a call may reach. Canaries listen on loopback, private, metadata and CGNAT addresses."""
import ipaddress

import pytest
from conftest import PRIVATE, PUBLIC, PUBLIC6, PUBLIC_IDLE, Netcall, serve


def spellings(address):
    """Ways to write an address that some parser takes."""
    a = ipaddress.ip_address(address)
    if a.version == 6:
        full = a.exploded
        return ["[%s]" % s for s in (str(a), full, full.upper(), str(a) + "%lo", str(a) + "%25lo", str(a) + "%1")] + [
            str(a), "[%s" % a, "[%s]x" % a, "[[%s]]" % a]
    n, o = int(a), [int(x) for x in address.split(".")]
    hexes = "%02x%02x:%02x%02x" % tuple(o)
    return [
        address, str(n), hex(n), "0%o" % n, "0x%08X" % n, "0%o.0%o.0%o.0%o" % tuple(o), "0x%x.0x%x.0x%x.0x%x" % tuple(o),
        "%d.%d" % (o[0], n & 0xffffff), "%d.%d.%d" % (o[0], o[1], n & 0xffff), "0x%x.%d" % (o[0], n & 0xffffff),
        "%03d.%03d.%03d.%03d" % tuple(o), "%d.%d.%d.0x%x" % tuple(o), address + ".", address + "..", "0" + address,
        "%d.%d.%d.%d" % (o[0] + 256, o[1], o[2], o[3]), str(n + 2**32), address.replace(".", "%2e"),
        address.replace(".", "。"), address.replace("1", "①"), address.replace("1", "%31"), address + "%00.good.test",
        address + " ", " " + address, address + "\t", address + "%20", "." + address, address + ",good.test",
        "[::ffff:%s]" % address, "[::ffff:%s]" % hexes, "[0:0:0:0:0:ffff:%s]" % hexes, "[::%s]" % address,
        "[::%s]" % hexes, "[64:ff9b::%s]" % hexes, "[64:ff9b::%s]" % address, "[64:ff9b:1::%s]" % hexes,
        "[2002:%s::1]" % hexes, "[2001:0:%s::1]" % hexes, "[::ffff:0:%s]" % hexes, "[%s]" % address]


def forms():
    found = []
    for address in PRIVATE:
        for host in spellings(address):
            found += ["https://%s/" % host, "https://%s:8443/x?y=z" % host]
        for host in spellings(address)[:1]:
            found += ["https://good.test@%s/" % host, "https://u:p@%s/" % host, "https://%s#@good.test/" % host,
                      "https://good.test\\@%s/" % host, "https://good.test#@%s/" % host, "https://good.test:443@%s/" % host,
                      "https:/%s/" % host, "https:///%s/" % host, "https:%s/" % host, "//%s/" % host,
                      "HTTPS://%s/" % host, "http://%s/" % host, "ftp://%s/" % host, "gopher://%s:6379/_x" % host,
                      "dict://%s:6379/x" % host, "file://%s/etc/passwd" % host, "ldap://%s/" % host, "smtp://%s/" % host,
                      "https://%s:0/" % host, "https://%s:65536/" % host, "https://%s:-1/" % host, "https://%s:/" % host,
                      "https://%s:0443/" % host, "https://%s:443:443/" % host, "https://%s:22/" % host,
                      "https://%s:80/" % host, "ht\ntps://%s/" % host, "https://good.test\r\nHost: %s/" % host,
                      "https://good.test\t@%s/" % host, "https://%s\\good.test/" % host, "jar:https://%s/" % host]
    found += ["https://", "https:///", "", "https://%s/" % ("a" * 254), "https://a..b/", "https://-a.test/", "https://*/",
              "https://ｇood.test/", "https://good.test/é", "https://0/", "https://0x0/",
              "https://[::]/", "https://0.0.0.0/", "https://255.255.255.255/", "https://224.0.0.1/", "https://240.0.0.1/",
              "https://[ff02::1]/", "https://[fe80::1]/", "https://[fec0::1]/", "https://168.63.129.16/",
              "https://100.100.100.200/", "https://192.0.0.192/", "https://[fd00:ec2::254]/", "https://198.18.0.1/",
              "https://203.0.113.9/", "https://[2001:db8::1]/", "https://[100::1]/", "https://[4000::1]/", "https://localhost/",
              "https://LOCALHOST:8443/", "https://inside.test/", "https://[v1.x]/", "https://good.test:443/" + "a" * 2048]
    return found


def test_forms_of_private_ends(call, canaries, resolver, site):
    """T40: no form of a private end is reached by a tenant, and each is refused by a rule, not by luck."""
    canaries.count()
    table = forms()
    assert len(set(table)) >= 500, len(set(table))
    wrong = []
    for url in table:
        got = call("http", url=url, who="tenant", plain=True, timeout=3000)
        if got["rc"] not in ("INVALID", "DENIED"):
            wrong.append((url, got))
    assert wrong == [] and canaries.count() == []


def test_settings_are_checked_before_they_are_stored(call):
    """The form, the port and a literal address are judged without a connection."""
    for url in ("https://127.0.0.1/", "https://[::1]/", "https://10.9.8.7:8443/", "https://169.254.169.254/", "http://good.test/",
                "https://good.test:25/", "ldaps://good.test/", "smtps://good.test/", "https://[fd00::8]/"):
        assert call("check", url=url, who="tenant", plain=True)["rc"] in ("DENIED", "INVALID"), url
    assert "user name" in call("check", url="https://u:p@good.test/", who="tenant")["error"]
    for host in spellings(PUBLIC)[1:13]: # also of a public address only the plain spelling is one
        assert call("check", url="https://%s/" % host, who="operator")["rc"] == "INVALID", host
    got = call("check", url="https://Good.Test:8443/x?y", who="tenant")
    assert (got["rc"], got["host"], got["port"]) == ("OK", "good.test", 8443)
    assert call("check", url="https://10.9.8.7/", who="operator")["rc"] == "OK"
    assert call("check", url="https://169.254.169.254/", who="operator")["rc"] == "DENIED"
    for kind, url, rc in ((1, "smtp://mail.test", "OK"), (2, "ldap://ldap.test", "OK"), (3, "syslogs://log.test", "OK"),
                          (3, "syslog://log.test", "DENIED"), (1, "ldap://ldap.test", "INVALID"), (2, "ldap://ldap.test/dc=x", "INVALID")):
        assert call("check", url=url, who="operator", kind=kind)["rc"] == rc, url


def test_canaries_sing(call, canaries):
    """The control: what the operator configures may be private, and then the canaries hear it."""
    canaries.count()
    for host in PRIVATE:
        url = "http://%s/" % ("[%s]" % host if ":" in host else host)
        got = call("http", url=url, who="operator", plain=True)
        assert got["rc"] == ("DENIED" if host == "169.254.169.254" else "UNAVAILABLE"), got
    assert sorted(canaries.count()) == sorted((h, 80) for h in PRIVATE if h != "169.254.169.254")


def test_operator_needs_to_say_plain(call, canaries):
    canaries.count()
    assert call("http", url="http://127.0.0.1/", who="operator")["rc"] == "DENIED"
    assert canaries.count() == []


def test_public_ends(call, site, resolver):
    for url in ("https://good.test/ok?x=1", "https://GOOD.test:443/ok?x=1", "https://good.test:8443/ok?x=1",
                "https://%s/ok?x=1" % PUBLIC, "https://good6.test/ok?x=1"):
        got = call("http", url=url, who="tenant")
        assert (got["rc"], got.get("status"), got.get("body")) == ("OK", 200, "hello"), (url, got)
        assert got["content_type"] == "text/plain" and got["cache_control"] == "max-age=60"


@pytest.mark.parametrize("answers", [
    [[PUBLIC], ["127.0.0.1"]], [["127.0.0.1"], [PUBLIC]], [[PUBLIC], ["169.254.169.254"]], [[PUBLIC6], ["::1"]],
    [[PUBLIC], ["fd00::8"]], [[PUBLIC], [PUBLIC], ["10.9.8.7"]],
])
def test_rebinding(call, canaries, resolver, site, answers):
    """T40: a name that is public when asked first and private when asked again."""
    canaries.count()
    resolver.names["rebind.test"] = answers
    resolver.asked.clear()
    seen = {call("http", url="https://rebind.test/ok?x=1", who="tenant", timeout=10000)["rc"] for _ in range(8)}
    assert canaries.count() == [] and "DENIED" in seen and seen <= {"OK", "DENIED"}, seen
    assert sum(resolver.asked.values()) >= 8 # nothing was remembered, each call asked


@pytest.mark.parametrize("answer", [["127.0.0.1"], ["10.9.8.7"], ["100.64.1.1"], ["169.254.169.254"], ["::1"], ["fd00::8"],
                                    ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["0.0.0.0"], ["::"],
                                    [PUBLIC_IDLE, "127.0.0.1"], [PUBLIC_IDLE, "::1"]])
def test_names_of_private_addresses(call, canaries, resolver, answer):
    """T40: also when the first address is public and does not answer."""
    canaries.count()
    resolver.names["late.test"] = [answer]
    got = call("http", url="https://late.test/", who="tenant")
    assert got["rc"] == "DENIED" and "late.test" in got["error"], got
    assert canaries.count() == []


def test_redirects_are_not_followed(call, canaries, site, resolver):
    canaries.count()
    site.seen.clear()
    for to in ("https://127.0.0.1/", "https://good.test/ok?x=1", "http://169.254.169.254/", "file:///etc/passwd"):
        got = call("http", url="https://good.test/to/" + to, who="tenant", headers={"Authorization": "Bearer the-secret"})
        assert (got["rc"], got["status"]) == ("OK", 302), got
    assert canaries.count() == [] and len(site.seen) == 4


def test_no_proxy_of_the_environment(authority, canaries, site, resolver):
    canaries.count()
    proxy = "http://127.0.0.1:8443"
    n = Netcall({"https_proxy": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "http_proxy": proxy})
    n("rules", allow="", ca=authority.ca)
    assert n("http", url="https://good.test/ok?x=1", who="tenant").get("status") == 200
    n.close()
    assert canaries.count() == []


def test_allow_list(authority, canaries, resolver):
    """What the operator lists: hosts for their private addresses, networks for whatever is in them."""
    canaries.count()
    n = Netcall()
    n("rules", allow="inside.test, 192.168.7.0/24, fd00::/64,169.254.169.254", ca=authority.ca)
    for url, rc in (("https://inside.test/", "UNAVAILABLE"), ("https://10.9.8.7/", "DENIED"),
                    ("https://192.168.7.7/", "UNAVAILABLE"), ("https://[fd00::8]/", "UNAVAILABLE"),
                    ("https://127.0.0.1/", "DENIED"), ("https://[::ffff:192.168.7.7]/", "DENIED"),
                    ("https://169.254.169.254/", "UNAVAILABLE"), ("http://inside.test/", "DENIED"),
                    ("https://xinside.test/", "UNAVAILABLE"), ("https://inside.test:22/", "DENIED")):
        assert n("http", url=url, who="tenant")["rc"] == rc, url
    assert sorted(set(h for h, _ in canaries.count())) == ["10.9.8.7", "169.254.169.254", "192.168.7.7", "fd00::8"]
    resolver.names["inside.test"] = [["169.254.169.254"]]
    n("rules", allow="inside.test", ca=authority.ca)
    assert n("http", url="https://inside.test/", who="tenant")["rc"] == "DENIED" # a host is no pass to metadata
    resolver.names["inside.test"] = [["10.9.8.7"]]
    assert canaries.count() == []
    for bad in ("10.0.0.0/33", "10.0.0/8", "x y", "https://a.test", "a.test:443", "::/129", ",", "a.test/8", "1.2.3"):
        got = n("rules", allow=bad, ca="")
        assert got["rc"] == "USAGE" and "egress_allow" in got["error"], (bad, got)
    for bad in ("/nowhere.pem", "/etc/hostname", "/"):
        got = n("rules", allow="", ca=bad)
        assert got["rc"] == "USAGE" and "egress_ca" in got["error"], (bad, got)
    n.close()


def test_tls_is_always_checked(authority, site, resolver, folder):
    from conftest import Authority
    import os
    os.makedirs(folder + "/evil", exist_ok=True)
    evil = Authority(folder + "/evil")
    resolver.names["evil.test"] = [[PUBLIC_IDLE]]
    servers = [serve(PUBLIC_IDLE, 443, evil.context("evil.test", "good.test")),
               serve(PUBLIC_IDLE, 8443, authority.context("good.test")),
               serve(PUBLIC_IDLE, 8444, authority.context("evil.test", days=-1))]
    n = Netcall()
    n("rules", allow="", ca=authority.ca)
    site.seen.clear()
    for who in ("tenant", "operator"):
        for url in ("https://evil.test/ok?x=1", "https://evil.test:8443/ok?x=1", "https://evil.test:8444/ok?x=1"):
            got = n("http", url=url, who=who, plain=True, headers={"Authorization": "Bearer the-secret"})
            assert got["rc"] == "UNAVAILABLE" and "certificate" in got["error"], got
    n("rules", allow="", ca="")
    assert n("http", url="https://good.test/ok?x=1", who="tenant")["rc"] == "UNAVAILABLE"
    assert site.seen == []
    n.close()
    for s in servers:
        s.shutdown()
        s.server_close()


def test_caps(call, site, resolver):
    got = call("http", url="https://good.test/endless", who="tenant", cap=100000)
    assert got["rc"] == "TOO_LARGE", got
    assert call("http", url="https://good.test/ok?x=1", who="tenant", cap=5)["rc"] == "OK"
    assert call("http", url="https://good.test/ok?x=1", who="tenant", cap=4)["rc"] == "TOO_LARGE"
    assert call("http", url="https://good.test/heads", who="tenant")["rc"] == "TOO_LARGE"
    assert call("http", url="https://good.test/silent", who="tenant", timeout=700)["rc"] == "TIMEOUT"


def test_post_and_headers(call, site, resolver):
    site.seen.clear()
    got = call("http", url="https://good.test/hook", who="tenant", method="POST", body="{\"a\":1}",
               headers={"Content-Type": "application/json", "X-Id": "7"})
    assert (got["status"], got["body"], got["retry_after"]) == (503, "later", "30"), got
    path, headers, body = site.seen[0]
    assert (path, body, headers["Content-Type"], headers["X-Id"]) == ("/hook", "{\"a\":1}", "application/json", "7")
    assert headers["Host"] in ("good.test", "good.test:443") and "Expect" not in headers
    for name, value in (("X-A", "b\r\nX-Evil: 1"), ("X-A\r\nX-Evil", "1"), ("X A", "1"), ("Host", "evil.test"), ("", "1"),
                        ("X-A:", "1"), ("X-A", "b\nc"), ("X-A", "b\x01")):
        got = call("http", url="https://good.test/hook", who="tenant", method="POST", headers={name: value})
        assert got["rc"] == "INVALID", (name, value, got)
    assert call("http", url="https://good.test/", who="tenant", method="TRACE")["rc"] == "INVALID"
    assert call("http", url="https://good.test/", who="tenant", body="x")["rc"] == "INVALID"
    assert len(site.seen) == 1


def test_errors_do_not_show_the_path(call, resolver):
    got = call("http", url="https://nowhere.test/a?token=the-secret", who="tenant")
    assert got["rc"] == "UNAVAILABLE" and "https://nowhere.test:443" in got["error"] and "secret" not in got["error"], got
