"""make install: what lands where, the unit's hardening, completions that complete."""
import glob
import os
import pty
import re
import select
import stat
import subprocess
import time

import pytest
from berth import DEADLINE, commands
from conftest import ROOT, binary, replaced, run, text, wait_for

FILES = {
    "bin/berth": 0o755, "lib/systemd/system/berth.service": 0o644, "lib/sysusers.d/berth.conf": 0o644,
    "share/man/man1/berth.1": 0o644, "share/man/man5/berth.conf.5": 0o644, "share/berth/alerts.yml": 0o644,
    "share/berth/grafana-dashboard.json": 0o644, "share/bash-completion/completions/berth": 0o644,
    "share/zsh/site-functions/_berth": 0o644, "share/fish/vendor_completions.d/berth.fish": 0o644,
    "share/doc/berth/README.md": 0o644, "share/doc/berth/LICENSE": 0o644, "share/doc/berth/docs/operations.md": 0o644,
    "share/doc/berth/docs/recipes/nginx.md": 0o644,
}


def test_what_lands_where(dest):
    for name, mode in FILES.items():
        path = dest + "/usr/" + name
        assert os.path.getsize(path) > 50 and stat.S_IMODE(os.stat(path).st_mode) == mode, name
    assert os.readlink(dest + "/usr/bin/docker-credential-berth") == "berth"
    assert os.listdir(dest) == ["usr"] and not glob.glob(dest + "/usr/**/__pycache__", recursive=True)
    assert run(dest + "/usr/bin/berth", "version") == run(binary(), "version")
    assert "/build" not in text(dest + "/usr/lib/systemd/system/berth.service")


def test_another_prefix(exec_dir):
    """The default one, /usr/local; the unit follows it."""
    path = exec_dir + "/local"
    run("make", "-C", ROOT, "install", "BUILD=" + os.path.dirname(binary()), "DESTDIR=" + path)
    assert "ExecStart=/usr/local/bin/berth serve" in text(path + "/usr/local/lib/systemd/system/berth.service")
    assert os.access(path + "/usr/local/bin/berth", os.X_OK) and not os.path.exists(path + "/usr/bin")


def test_the_installed_program_serves(dest, make_hub, monkeypatch):
    monkeypatch.setenv("BERTH_BIN", dest + "/usr/bin/berth")
    h = make_hub()
    d, doc = h.admin().push_image("library/x", "t")
    assert h.admin().pull("library/x", "t") == doc
    h.stop()


@pytest.fixture(scope="module")
def unit(dest, tmp_path_factory):
    """The installed unit, with the program at the place where it is here."""
    path = str(tmp_path_factory.mktemp("unit") / "berth.service")
    with open(path, "w") as f:
        f.write(replaced(text(dest + "/usr/lib/systemd/system/berth.service"), [("ExecStart=/usr/bin/", "ExecStart=%s/usr/bin/" % dest)]))
    return path


def test_systemd_takes_the_unit(unit):
    done = subprocess.run(["systemd-analyze", "verify", unit], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    # It looks for the pages among those installed on this machine.
    assert [line for line in done.stdout.splitlines() if "Command 'man berth" not in line] == [] and done.returncode in (0, 1)


def test_the_unit_is_hardened(unit):
    out = run("systemd-analyze", "security", "--offline=true", unit)
    score = float(re.search(r"Overall exposure level for berth.service: ([\d.]+)", out).group(1))
    assert score <= 2.0, out
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=\n", "UMask=0077", "Type=notify",
                 "ExecReload=/bin/kill -HUP $MAINPID", "StateDirectory=berth"):
        assert line in text(unit), line


def test_the_user_is_made(dest, tmp_path):
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", "--root", str(tmp_path), dest + "/usr/lib/sysusers.d/berth.conf")
    assert re.search(r"^berth:x:\d+:\d+:Berth container registry:/var/lib/berth:", (tmp_path / "etc/passwd").read_text(), re.M)


def allowed_calls():
    """System calls of @system-service, and what every filter allows."""
    groups, name = {}, None
    for line in run("systemd-analyze", "syscall-filter").splitlines():
        word = line.strip()
        if line.startswith("@"):
            name = word
            groups[name] = []
        elif word and not word.startswith("#") and line.startswith(" "):
            groups.setdefault(name, []).append(word)
    calls, todo = set(), ["@system-service", "@default"]
    while todo:
        for word in groups[todo.pop()]:
            (todo if word.startswith("@") else calls.add(word) or [word]).append(word)
    return calls


def test_the_filter_lets_through_what_the_server_does(make_hub, tmp_path):
    """Every system call from start to end is in the unit's filter; no memory is writable and executable."""
    assert "SystemCallFilter=@system-service\n" in text("dist/berth.service.in")
    allowed, path = allowed_calls(), str(tmp_path / "calls")
    assert {"read", "openat", "ioprio_set"} <= allowed and "mount" not in allowed and "ptrace" not in allowed
    h = make_hub(wrapper=["strace", "-D", "-f", "-q", "-o", path])
    c = h.add_user("zoe")
    c.push_image("zoe/x", "t", layers=2)
    big = c.push_blob("zoe/x", b"x" * 300000, alg="sha512")
    assert c.pull("zoe/x", "t") and len(c.get("/v2/zoe/x/blobs/" + big).body) == 300000
    c.delete("/v2/zoe/x/manifests/t")
    for args in (["gc", "--now"], ["fsck", "--full"], ["backup", str(tmp_path / "b.tar")], ["status"]):
        h.command(*args)
    h.metrics()
    h.reload()
    h.wait_log(lambda r: r["msg"] == "reloaded")
    h.stop()
    wait_for(lambda: "+++ exited with 0 +++" in text(path), "the trace")
    lines = text(path).splitlines()
    used = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", "\n".join(lines), re.M))
    assert {"openat", "fdatasync", "sendfile", "epoll_wait"} <= used and len(used) > 40, used
    assert used - allowed - {"execve"} == set()
    assert [x for x in lines if re.search(r"(mmap|mprotect)\(.*PROT_WRITE\|PROT_EXEC", x)] == []
    families = set(re.findall(r" socket\((AF_[A-Z0-9]+)", "\n".join(lines)))
    assert families and families <= {"AF_INET", "AF_INET6", "AF_UNIX"}, families


# --- completions
def of_users():
    return [name.split()[1] for name, _ in commands() if name.startswith("user ")]


def test_bash_completes(dest):
    script = ('source "$1"; complete -p berth; go() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _berth; echo "${COMPREPLY[*]}"; }\n'
              "go berth use; go berth user ''; go berth user add --a; go berth gc --d; go berth serve --log_level ''; go berth completion z;"
              "go berth help ba; go berth user set x --role ''; go berth token add x --host h --ex; go berth ''")
    out = run("bash", "--norc", "-c", script, "-", dest + "/usr/share/bash-completion/completions/berth").splitlines()
    assert out[0] == "complete -F _berth berth"
    assert out[1:8] == ["user", " ".join(of_users()), "--admin", "--dry-run --data", "debug info warn error", "zsh", "backup"], out
    assert out[8:10] == ["none admin auditor", "--expires-in-days"], out
    every = set(re.findall(r"^  ([a-z-]+)", run(binary(), "help"), re.M))
    assert set(out[10].split()) == every | {"help"}


def typed(argv, setup, keys, expect):
    """A shell on a terminal: after the setup, the keys must make it show what is expected."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="dumb", PS1="> ", HOME="/nonexistent")
        os.execvp(argv[0], argv)
    seen, sent, end = "", 0, time.monotonic() + DEADLINE
    steps = [(None, setup + "; echo set''up\n"), ("setup\r\n", keys)]
    while time.monotonic() < end and not re.search(expect, seen):
        if sent < len(steps) and (steps[sent][0] is None or steps[sent][0] in seen):
            os.write(fd, steps[sent][1].encode())
            sent += 1
        if select.select([fd], [], [], 0.2)[0]:
            try:
                seen += os.read(fd, 4096).decode("utf-8", "replace")
            except OSError:
                break
    os.close(fd)
    os.waitpid(pid, 0)
    assert re.search(expect, seen), seen


def test_bash_completes_at_the_keyboard(dest):
    typed(["bash", "--norc", "-i"], "source %s/usr/share/bash-completion/completions/berth" % dest, "berth use\tad\t--ad\t", r"berth user add --admin ")


def test_zsh_completes_at_the_keyboard(dest):
    run("zsh", "-n", dest + "/usr/share/zsh/site-functions/_berth")
    typed(["zsh", "-f", "-i"], "fpath=(%s/usr/share/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D" % dest,
          "berth use\tad\t--ad\t", r"(?s)berth .*ser .*add.*admin")


def test_zsh_offers_words_and_values(dest):
    """The completion also loads by `source <(berth completion zsh)`."""
    typed(["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source <(%s/usr/bin/berth completion zsh)" % dest,
          "berth serve --log_level=wa\t", r"--log_level=warn")


def fish(dest, line):
    out = run("fish", "--no-config", "-c", "source %s/usr/share/fish/vendor_completions.d/berth.fish; complete -C '%s'" % (dest, line),
              env=dict(os.environ, HOME="/nonexistent", XDG_CONFIG_HOME="/nonexistent", XDG_DATA_HOME="/nonexistent"), cwd="/proc/self/fdinfo")  # without files to complete
    return {row.split("\t")[0] for row in out.splitlines()}


def test_fish_completes(dest):
    every = set(re.findall(r"^  ([a-z-]+)", run(binary(), "help"), re.M)) | {"help"}
    assert fish(dest, "berth ") == every
    assert fish(dest, "berth user ") == set(of_users())
    assert {"--dry-run", "--data"} == fish(dest, "berth gc --d")
    assert fish(dest, "berth serve --log_level ") == {"debug", "info", "warn", "error"}
    assert "--admin" in fish(dest, "berth user add --a") and "--admin" not in fish(dest, "berth user list --a")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_option_is_completed(dest, shell):
    """Of every command; secrets are no flags."""
    out = run(binary(), "completion", shell)
    for key in re.findall(r"^  --([a-z_]+) ", run(binary(), "serve", "--help").split("Configuration keys")[1], re.M):
        assert re.search(r"(--|-l )%s\b" % key, out), key
    for option in ("dry-run", "now", "full", "repair", "admin"):
        assert re.search(r"(--|-l )%s\b" % option, out), option
    assert "admin_password" not in out and "--database" not in out and "-l database" not in out
    subprocess.run([shell, "-n"], input=out.encode(), check=True)
