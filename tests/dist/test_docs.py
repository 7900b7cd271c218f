"""Man pages and documents say what the program knows, all of it, and nothing else."""
import os
import re
import shlex

import pytest
from berth import commands
from conftest import ROOT, binary, blocks, config_keys, run, text

PAGES = ["dist/berth.1", "dist/berth.conf.5"]
DOCS = ["README.md", "docs/operations.md", "docs/command-line.md", "docs/metrics.md", "docs/accounts.md", "docs/keyless.md", "docs/sign-on.md", "docs/api.md", "docs/security.md", "docs/hub-api.md"] + sorted("docs/recipes/" + f for f in os.listdir(ROOT + "/docs/recipes"))


@pytest.mark.parametrize("page", PAGES)
def test_man_pages_are_clean(page):
    assert run("mandoc", "-Tlint", "-Wwarning", ROOT + "/" + page) == ""
    assert run("groff", "-mandoc", "-ww", "-z", "-Tutf8", ROOT + "/" + page) == ""


def test_the_man_page_has_every_command_and_option():
    page = text("dist/berth.1").replace("\\-", "-")
    found = re.findall(r"^\.It Cm ([a-z-]+(?: [a-z-]+)?)(?: (Op )?Ar ([A-Z ]+))?$", page, re.M)
    items = {name: "[%s]" % operands if optional else operands for name, optional, operands in found}
    assert {k: v for k, v in items.items() if k != "help"} == dict(commands())
    for name, operands in commands():
        head = ".It Cm " + name + (" Op" if operands[:1] == "[" else "") + (" Ar " + operands.strip("[]") if operands else "") + "\n"
        part = re.split(r"^\.It Cm |^\.Sh ", page.split(head)[1], flags=re.M)[0]
        said = set(re.findall(r"^\.It Fl -([a-z-]+)(?: Ar \S+)?$", part, re.M))
        own = re.findall(r"^  --([a-z-]+)", run(binary(), *name.split(), "--help").split("\nConfiguration keys")[0], re.M)
        assert said - {"ca"} == set(own) - {"data", "config", "json", "help", "host", "ca", "login"}, name
    for option in ("data", "config", "json", "help", "host", "ca", "login"):
        assert re.search(r"^\.It Fl -%s" % option, page, re.M), option


def test_the_man_page_has_every_key_as_it_is():
    page, keys = text("dist/berth.conf.5"), config_keys()
    found = {}
    for part in re.split(r"^\.It Cm ", page, flags=re.M)[1:]:
        name = part.split("\n")[0]
        allowed = re.search(r"^Allowed: (.*)\.$", part, re.M).group(1).replace("\\&", "")
        default = re.search(r"^Default: (.*)\.$", part, re.M).group(1)
        flags = re.findall(r"^\.Em (.*) \.$", part, re.M)
        found[name] = (default, allowed, "Reload" in " ".join(flags), "Secret" in " ".join(flags))
    want = {n: (d or "none", a.replace("|", ", "), r, k == "SECRET") for n, (k, d, a, r) in keys.items()}
    assert found == want


def test_the_example_of_the_man_page(tmp_path):
    example = re.search(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text("dist/berth.conf.5"), re.M | re.S).group(1)
    (tmp_path / "berth.conf").write_text(example)
    out = run(binary(), "config", "--config", str(tmp_path / "berth.conf"))
    assert out.count("# file ") == len(example.splitlines()) >= 4


def test_metrics_are_described(hub):
    described = dict(re.findall(r"^\| `([a-z_]+)` \| ([a-z]+) \|", text("docs/metrics.md"), re.M))
    live = dict(re.findall(r"^# TYPE (\S+) (\S+)$", hub.connect().request("GET", "/metrics").body.decode(), re.M))
    assert described == live


def anchors(path):
    found = set()
    for line in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text(path), flags=re.M | re.S), re.M):
        found.add(re.sub(r"[^a-z0-9 _-]", "", line.lower()).replace(" ", "-"))
    return found


@pytest.mark.parametrize("path", DOCS)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)]+)\)", text(path)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        full = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        if full in ("docs/durability.md", "docs/benchmarks.md") and not os.path.exists(ROOT + "/" + full):
            continue  # written by the suites they report on
        assert os.path.exists(ROOT + "/" + full), target
        assert not anchor or anchor in anchors(full), target


def shell_commands(path):
    """Every call of the program in a document: blocks and `code`."""
    words = "|".join(sorted({name.split()[0] for name, _ in commands()}))
    prose = re.sub(r"^```.*?^```", "", text(path), flags=re.M | re.S)
    lines = "\n".join(blocks(path, "sh")).replace("\\\n", " ").splitlines()
    lines += [c.replace("\n", " ") for c in re.findall(r"`([^`]+)`", prose)]
    for line in lines:
        for m in re.finditer(r"(?:^|[ |;&])(berth (?:%s)\b[^|;&#<>)]*)" % words, line):
            yield m.group(1).strip()


def test_commands_in_documents_exist():
    """Each is read by the program, with --help behind it."""
    n = 0
    for path in DOCS + ["docs/architecture.md"]:
        for line in shell_commands(path):
            if "|" in line or "·" in line or line.count(" ") == 1 and any(name.startswith(line.split()[1] + " ") for name, _ in commands()):
                continue  # a list of commands, not one
            words = [w for w in shlex.split(line)[1:] if w != "..."]
            if "+" in words:
                continue
            assert "Usage: berth " + words[0] in run(binary(), *words, "--help"), (path, line)
            n += 1
    assert n >= 25, n


def test_settings_in_documents_exist():
    keys, n = config_keys(), 0
    for path in DOCS:
        for block in blocks(path, "ini"):
            for line in block.splitlines():
                m = re.match(r"([a-z_]+) = ", line)
                if m:
                    assert m.group(1) in keys, (path, line)
                    n += 1
        for name in re.findall(r"BERTH_([A-Z_]+)", text(path)):
            name = re.sub("_FILE$", "", name).lower()
            assert name in keys or name in ("", "config", "bin", "host"), (path, name)
        for name in re.findall(r"berth_[a-z_]+", text(path)):
            assert name in text("docs/metrics.md"), (path, name)
    assert n >= 12


def test_security_md_names_tests_and_files_that_exist():
    rows = dict(re.findall(r"^\| (T\d\d) \|(.*)$", text("docs/security.md"), re.M))
    for row, line in rows.items():
        named = re.findall(r"`([a-z]+/\w+\.(?:py|c))::(\w+)`", line)
        assert named, row
        assert line.count("::") == len(named), (row, "a test is not written as FILE::NAME")
        for path, name in named:
            head = r"^def %s\(" if path.endswith(".py") else r"^static void %s\("
            assert re.search(head % name, text("tests/" + path), re.M), (row, path, name)
        for path in re.findall(r"`((?:src|tests)/[^`*]+)`", line):
            assert os.path.exists(os.path.join(ROOT, path)), (row, path)
    numbers = list(range(1, 18)) + [22, 26, 40, 47, 48, 49, 50, 52, 53, 54, 56, 57, 58, 59]
    assert sorted(rows) == ["T%02d" % n for n in numbers]
