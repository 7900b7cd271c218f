"""spec_map.tsv: no row without a test, no test that does not exist, no case of the conformance tool missing."""
import ast
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
LEVELS = re.compile("MUST|MUST NOT|SHOULD|SHOULD NOT|MAY|OPTIONAL|RULE|NOTE|end-[0-9]+[abc]?|code-[0-9]+|case|data|api|untested")
BLOB_CASES = ["get-missing", "post only", "post+put", "chunked single", "stream", "mount", "mount anonymous", "mount missing", "post cancel",
              "chunked multi", "chunked multi and put chunk", "chunked out-of-order", "chunked out-of-order and put chunk",
              "range 500-1499", "range 500-", "range -500", "range 2000-5000", "range 500-0", "range 5000-10000", "empty", "emptyJSON",
              "bad digest post only", "bad digest post+put", "bad digest chunked", "bad digest chunked and put chunk", "bad digest stream"]


def rows():
    with open(os.path.join(HERE, "spec_map.tsv")) as f:
        return [line.rstrip("\n").split("\t") for line in f if not line.startswith("#")]


def known_tests(name):
    with open(os.path.join(HERE, name)) as f:
        return {n.name for n in ast.parse(f.read()).body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")}


def test_every_row_has_tests_that_exist():
    known, bad = {}, []
    for row in rows():
        if len(row) != 4 or not all(part.strip() for part in row) or not LEVELS.fullmatch(row[1]):
            bad.append(row)
            continue
        for ref in row[3].split(" "):
            name, _, test = ref.partition("::")
            if not os.path.exists(os.path.join(HERE, name)):
                bad.append(ref)
                continue
            if name not in known:
                known[name] = known_tests(name)
            if test not in known[name]:
                bad.append(ref)
    assert bad == []


def test_no_rule_stands_twice():
    seen = [tuple(r[:3]) for r in rows()]
    assert len(seen) == len(set(seen))


def test_the_table_is_whole():
    """Endpoints, error codes and the tool's cases are countable; the sentences are at least as many as were read."""
    table = rows()
    ends = {r[1] for r in table if r[0] == "Endpoints"}
    assert ends == {"end-%s" % e for e in "1 2 3 4a 4b 4c 5 6 7a 7b 8a 8b 9 10 11 12a 12b 13 14".split()}
    assert {r[1] for r in table if r[1].startswith("code-")} == {"code-%d" % i for i in range(1, 15)}
    tool = {r[2] for r in table if r[0] == "tool"}
    for alg in ("sha256", "sha512"):
        assert not [c for c in BLOB_CASES if "%s blobs/%s" % (alg, c) not in tool]
    assert len([r for r in table if r[:2] == ["tool", "data"]]) == 24
    assert len([r for r in table if r[:2] == ["tool", "api"]]) == 28
    assert len([r for r in table if re.match("MUST|SHOULD|MAY|OPTIONAL", r[1])]) >= 115
