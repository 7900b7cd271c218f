"""Configuration: where values come from, who wins, what is refused and how."""
import json
import os
import re

import pytest
from conftest import berth


def write(path, text):
    with open(str(path), "w") as f:
        f.write(text)
    return str(path)


def effective(*args, env=None, cwd="/"):
    done = berth("config", "--json", *args, env=env, cwd=cwd)
    assert done.code == 0, done
    return {d["key"]: (d["value"], d["origin"]) for d in json.loads(done.out)}


def test_defaults_and_text():
    values = effective()
    assert values["listen"] == ("127.0.0.1:5000", "default") and values["max_header"] == ("16K", "default")
    assert values["gc_delay"] == ("1d", "default") and values["read_only"] == ("false", "default")
    lines = berth("config").out.splitlines()
    assert len(lines) == len(values) and all(line.split()[0] in values and " # " in line for line in lines)


def test_each_place_and_who_wins(tmp_path):
    conf = write(tmp_path / "berth.conf", "# a comment\n\nlisten = 127.0.0.1:1\r\nmax_header=\"32K\"\nworkers = 3\nloops = 2\n")
    env = {"BERTH_WORKERS": "4", "BERTH_LOOPS": "4"}
    values = effective("--config", conf, "--loops", "5", "--read-only", env=env)
    assert values["listen"] == ("127.0.0.1:1", "file %s:3" % conf)
    assert values["max_header"] == ("32K", "file %s:4" % conf)
    assert values["workers"] == ("4", "environment") and values["loops"] == ("5", "flag")
    assert values["read_only"] == ("true", "flag")
    assert effective("--read_only", "false")["read_only"] == ("false", "flag")


def test_which_file(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    mine = write(data / "berth.conf", "workers = 7\n")
    other = write(tmp_path / "other.conf", "workers = 8\n")
    assert effective("--data", str(data))["workers"] == ("7", "file %s:1" % mine)
    assert effective(env={"BERTH_DATA": str(data)})["workers"][0] == "7"
    assert effective("--data", str(data), env={"BERTH_CONFIG": other})["workers"][0] == "8"
    assert effective("--data", str(data), "--config", mine, env={"BERTH_CONFIG": other})["workers"][0] == "7"
    assert effective("--data", str(tmp_path / "none"))["workers"] == ("0", "default")


def test_secrets_are_masked_and_have_their_own_ways_in(tmp_path):
    creds = tmp_path / "creds"
    creds.mkdir()
    write(creds / "berth.database", "postgresql://u:canary-1@db/x\n")
    write(creds / "berth.admin_password", "canary-2\n")
    path = write(tmp_path / "secret", "canary-3\n")
    env = {"CREDENTIALS_DIRECTORY": str(creds)}
    values = effective(env=env)
    assert values["database"] == ("********", "credential") and values["admin_password"] == ("********", "credential")
    env["BERTH_ADMIN_PASSWORD_FILE"] = path
    env["BERTH_DATABASE"] = "postgresql://u:canary-4@db/y"
    values = effective(env=env)
    assert values["admin_password"] == ("********", "file from BERTH_ADMIN_PASSWORD_FILE")
    assert values["database"] == ("********", "environment")
    done = berth("config", env=env)
    assert "canary" not in done.out + done.err and "********" in done.out
    assert effective()["database"] == ("", "default")


REFUSED = [
    ("max_haeder = 16K", [":1", 'unknown key "max_haeder"', 'did you mean "max_header"']),
    ("\n\nnothing_like_it = 1", [":3", 'unknown key "nothing_like_it"', "allowed keys:", " max_header ", " gc_delay "]),
    ("max_header = 1", [":1", "max_header", '"1" is not allowed', "4K to 256K"]),
    ("max_header = big", ["max_header", '"big"', "4K to 256K (bytes)"]),
    ("gc_delay = 3 fortnights", ["gc_delay", "3 fortnights", "time"]),
    ("read_only = maybe", ["read_only", '"maybe"', "true or false"]),
    ("log_level = loud", ["log_level", "debug|info|warn|error"]),
    ("listen = localhost:5000", ["listen", "ADDR:PORT"]),
    ("listen = 127.0.0.1:99999", ["listen", "ADDR:PORT"]),
    ("public_url = hub.example.org", ["public_url", "http(s)://host[:port]"]),
    ("trusted_proxies = 10.0.0.0/33", ["trusted_proxies", "CIDR"]),
    ("workers", [":1", "key = value"]),
    ("database = postgresql://u:canary@db/x", [":1", "database is a secret"]),
    ("admin_password = canary", [":1", "admin_password is a secret"]),
    ("tls_cert = /etc/x.pem", ["tls_cert and tls_key go together", "tls_key is not set"]),
    ("tls_cert = a\ntls_key = b\ntls_self_signed = true", ["exclude each other"]),
]


@pytest.mark.parametrize("text,said", REFUSED, ids=[t.strip().split("\n")[0] for t, _ in REFUSED])
def test_a_wrong_file_stops_everything(tmp_path, text, said):
    """Key, place and what is allowed; nothing is made, no secret repeated; commands refuse it as well."""
    conf = write(tmp_path / "berth.conf", text + "\n")
    data = str(tmp_path / "data")
    for command in (["config"], ["serve"], ["gc"], ["user", "list"]):
        done = berth(*command, "--config", conf, "--data", data)
        assert done.code == 2 and done.out == "" and all(s in done.err for s in said), done
        assert "canary" not in done.err and not os.path.exists(data), done


@pytest.mark.parametrize("env,said", [
    ({"BERTH_MAX_HAEDER": "1"}, ["BERTH_MAX_HAEDER", 'did you mean "max_header"']),
    ({"BERTH_TLS": "1"}, ['unknown key "tls"', "allowed keys:"]),
    ({"BERTH_WORKERS": "-1"}, ["environment: workers", '"-1"', "0 to 1024"]),
    ({"BERTH_LISTEN_FILE": "/etc/hostname"}, ["BERTH_LISTEN_FILE", "unknown key"]),
    ({"BERTH_ADMIN_PASSWORD_FILE": "/nonexistent/pw"}, ["BERTH_ADMIN_PASSWORD_FILE", "/nonexistent/pw does not exist"]),
    ({"BERTH_DATABASE": "mysql://u:canary@h/x"}, ["database", "postgresql://"]),
    ({"BERTH_CONFIG": "/nonexistent/berth.conf"}, ["/nonexistent/berth.conf does not exist"]),
], ids=lambda v: " ".join(v))
def test_a_wrong_environment(tmp_path, env, said):
    for command in (["config"], ["serve"]):
        done = berth(*command, "--data", str(tmp_path / "data"), env=env)
        assert done.code == 2 and all(s in done.err for s in said) and "canary" not in done.err, done
    assert not os.path.exists(str(tmp_path / "data"))


def test_T53_a_value_does_not_drive_the_terminal():
    done = berth("config", env={"BERTH_LOG_LEVEL": "\x1b[2Jloud\u009b31m\r\x7f"})
    assert done.code == 2 and "?[2Jloud??31m??" in done.err, repr(done.err)


def test_no_far_fetched_guess(tmp_path):
    for key in ("x", "tls", "port", "timeout"):
        done = berth("config", env={"BERTH_" + key.upper(): "1"})
        assert done.code == 2 and "did you mean" not in done.err and "allowed keys: data listen" in done.err, done


@pytest.mark.parametrize("env,said", [
    ({"BERTH_ADMIN_USER": "No Name"}, ["admin_user (environment)", '"No Name"', "a-z and 0-9"]),
    ({"BERTH_ADMIN_USER": "a/b"}, ["admin_user (environment)"]),
    ({"BERTH_ADMIN_USER": "token"}, ["admin_user (environment)", "reserved"]),
    ({"BERTH_ADMIN_PASSWORD": "canary" * 1000}, ["admin_password (environment)", "4096"]),
    ({"BERTH_ADMIN_PASSWORD": "canary"}, ["admin_password (environment)", "8 to 4096"]),
    ({"BERTH_TLS_CERT": "/nonexistent/a.pem", "BERTH_TLS_KEY": "/nonexistent/b.pem"}, ["tls_cert (environment)", "/nonexistent/a.pem"]),
], ids=lambda v: "" if isinstance(v, list) else list(v)[0])
def test_what_a_start_would_stumble_over(tmp_path, env, said):
    """Found before anything is made."""
    done = berth("serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", env=env)
    assert done.code == 2 and all(s in done.err for s in said) and "canary" not in done.err, done
    assert not os.path.exists(str(tmp_path / "data"))


@pytest.mark.parametrize("flags,said", [
    (["--admin-password", "canary"], "secrets are never flags"),
    (["--admin_password=canary"], "secrets are never flags"),
    (["--database=postgresql://u:canary@h/x"], "secrets are never flags"),
    (["--max-header", "1"], "flag: max_header"),
    (["--max-haeder", "16K"], "unknown option --max-haeder"),
], ids=lambda v: v[0] if isinstance(v, list) else "")
def test_wrong_flags(tmp_path, flags, said):
    for command in ("config", "serve"):
        done = berth(command, "--data", str(tmp_path / "data"), *flags)
        assert done.code == 2 and said in done.err and "canary" not in done.err, done
    assert not os.path.exists(str(tmp_path / "data"))


def test_values_round_trip(tmp_path):
    """What `berth config` prints is a file that means the same."""
    flags = ["--gc-delay", "90m", "--max-upload", "1536M", "--header-timeout", "1500ms", "--log-level", "warn", "--scrub-rate", "0"]
    secrets = set(re.findall(r"^    ([a-z_]+) ", berth("serve", "--help").out, re.M))
    assert {"database", "admin_password"} <= secrets
    text = "".join(line.split(" # ")[0] + "\n" for line in berth("config", *flags).out.splitlines()
                   if line.split()[0] not in secrets)
    before, after = effective(*flags), effective("--config", write(tmp_path / "again.conf", text))
    assert {k: v for k, (v, _) in before.items()} == {k: v for k, (v, _) in after.items()}
    assert after["gc_delay"][0] == "90m" and after["max_upload"][0] == "1536M" and after["header_timeout"][0] == "1500ms"
