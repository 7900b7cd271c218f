/* ident without a server: names, the decision, the signed form of tokens. */
#include "ident/ident_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void canonical(const char *in, const char *want)
{
    char out[LIBRARY_MAX];
    struct err err = {0};
    int rc = canonical_name(str_of(in), out, &err);
    if (want == NULL) {
        assert_int_equal(rc, ERR_NAME_INVALID);
        assert_true(err.text[0] != '\0');
    } else {
        assert_int_equal(rc, 0);
        assert_string_equal(out, want);
    }
}

static void test_names(void **state)
{
    (void)state;
    canonical("a", "library/a");
    canonical("busybox", "library/busybox");
    canonical("library/busybox", "library/busybox");
    canonical("a/b", "a/b");
    canonical("a/b/c/d/e", "a/b/c/d/e");
    canonical("a.b_c__d-e---f/0", "a.b_c__d-e---f/0");
    static const char *const wrong[] = {"", "/", "a/", "/a", "a//b", "A", "a/B", "a..b", "a___b", ".a", "a.", "a-", "-a", "a_", "a._b",
                                        "a b", "a/b:c", "ä", "a/../b", "a/.", "a\n"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        canonical(wrong[i], NULL);
}

static void test_name_length(void **state)
{
    (void)state;
    char name[300], out[LIBRARY_MAX];
    memset(name, 'a', sizeof name);
    assert_int_equal(canonical_name((struct str){name, NAME_MAX_BYTES}, out, NULL), 0);
    assert_int_equal(strlen(out), NAME_MAX_BYTES + 8);
    assert_int_equal(canonical_name((struct str){name, NAME_MAX_BYTES + 1}, out, NULL), ERR_NAME_INVALID);
    assert_int_equal(canonical_name((struct str){"a\0b", 3}, out, NULL), ERR_NAME_INVALID);
}

static void test_reserved_names(void **state)
{
    (void)state;
    static const char *const first[] = {"users", "orgs", "v2", "token", "api", "repositories", "search"};
    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        char text[64];
        canonical(first[i], NULL);
        (void)snprintf(text, sizeof text, "%s/x", first[i]);
        canonical(text, NULL);
        (void)snprintf(text, sizeof text, "library/%s", first[i]);
        canonical(text, NULL);
        (void)snprintf(text, sizeof text, "team/%s", first[i]); /* only where dialects look */
        canonical(text, text);
    }
}

static enum right_answer answer(enum right right, unsigned standing, enum scope scope)
{
    struct right_ask ask = {.right = right, .standing = standing, .token = scope != SCOPE_LOGIN, .scope = scope,
                            .public = (standing & IS_PUBLIC) != 0};
    return right_decide(&ask).answer;
}

static void test_rights(void **state)
{
    (void)state;
    assert_int_equal(answer(RIGHT_PULL, 0, SCOPE_LOGIN), RIGHT_NO_HIDDEN);
    assert_int_equal(answer(RIGHT_PULL, IS_PUBLIC, SCOPE_LOGIN), RIGHT_YES);
    assert_int_equal(answer(RIGHT_PUSH, IS_PUBLIC, SCOPE_LOGIN), RIGHT_NO);
    assert_int_equal(answer(RIGHT_PUSH, BY_TEAM_WRITE, SCOPE_LOGIN), RIGHT_YES);
    assert_int_equal(answer(RIGHT_DELETE, BY_TEAM_WRITE, SCOPE_LOGIN), RIGHT_NO);
    assert_int_equal(answer(RIGHT_DELETE, IS_SELF, SCOPE_WRITE), RIGHT_NO_TOKEN);
    assert_int_equal(answer(RIGHT_DELETE, IS_SELF, SCOPE_DELETE), RIGHT_YES);
    assert_int_equal(answer(RIGHT_PULL, IS_SELF, SCOPE_ANY), RIGHT_NO_HIDDEN); /* no bound names it */
    assert_int_equal(answer(RIGHT_PULL, IS_SELF, SCOPE_PUBLIC_READ), RIGHT_NO_HIDDEN);
    assert_int_equal(answer(RIGHT_PULL, IS_SELF | IS_PUBLIC, SCOPE_PUBLIC_READ), RIGHT_YES);
    assert_int_equal(answer(RIGHT_PUSH, IS_SELF | IS_AUDITOR, SCOPE_LOGIN), RIGHT_NO_AUDITOR);
    assert_int_equal(answer(RIGHT_USER, IS_SIGNED_IN | IS_SITE_ADMIN, SCOPE_ADMIN), RIGHT_NO_TOKEN);
    for (size_t i = 0; i < n_right_rows; i++) /* nobody is given more by a token than without */
        for (size_t k = 0; k < n_rank_rows; k++)
            for (int scope = SCOPE_ANY; scope <= SCOPE_ADMIN; scope++)
                if (answer(right_rows[i].right, rank_rows[k].standing, (enum scope)scope) == RIGHT_YES)
                    assert_int_equal(answer(right_rows[i].right, rank_rows[k].standing, SCOPE_LOGIN), RIGHT_YES);
}

static void test_every_right_has_one_row(void **state)
{
    (void)state;
    for (int right = RIGHT_UNSET + 1; right < RIGHT_COUNT; right++) {
        int n = 0;
        for (size_t i = 0; i < n_right_rows; i++)
            n += right_rows[i].right == (enum right)right;
        assert_int_equal(n, 1);
    }
}

static void test_patterns(void **state)
{
    (void)state;
    assert_true(pattern_fits(STR_LIT("*"), STR_LIT("a/b")));
    assert_true(pattern_fits(STR_LIT("a/*"), STR_LIT("a/b/c")));
    assert_false(pattern_fits(STR_LIT("a/*"), STR_LIT("ab/c")));
    assert_true(pattern_fits(STR_LIT("a/b*"), STR_LIT("a/bc")));
    assert_false(pattern_fits(STR_LIT("a/b"), STR_LIT("a/bc")));
    static const char *const bad[] = {"", "a", "/a", "a/", "a*", "a/*b", "**", "A/b", "a /b"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(pattern_check(str_of(bad[i]), NULL) < 0);
}

static void hub_init(struct ident *i, uint8_t seed)
{
    uint8_t bytes[32];
    memset(bytes, seed, sizeof bytes);
    memset(i, 0, sizeof *i);
    sign_key_from_seed(&i->key, bytes);
    i->service = mem_strdup("hub.example:5000");
    atomic_store(&i->token_life, 300000000);
}

static void make(struct ident *i, int64_t now, struct buf *out)
{
    struct principal *p = principal_new(STR_LIT("ann"), 0);
    struct token_scope scopes[] = {{STR_LIT("ann/x"), ACTION_PULL | ACTION_PUSH}, {STR_LIT("*"), 0}, {STR_LIT("library/y"), ACTION_DELETE}};
    p->epoch = 3;
    buf_init(out, 1 << 16);
    token_make(i, p, scopes, ARRAY_LEN(scopes), now, out);
    shared_unref(&p->shared);
}

static void test_token_round_trip(void **state)
{
    (void)state;
    struct ident hub;
    struct buf t;
    struct principal *p = NULL;
    hub_init(&hub, 1);
    int64_t now = clock_now();
    make(&hub, now, &t);
    assert_int_equal(token_check(&hub, buf_view(&t), &p, NULL), 0);
    assert_string_equal(p->name, "ann");
    assert_int_equal(p->epoch, 3);
    assert_true(p->bearer);
    assert_int_equal(p->user_id, 0); /* the row is asked, not the token */
    assert_int_equal(p->expires / 1000000, now / 1000000 + 300);
    assert_int_equal(p->n_scopes, 3);
    assert_true(str_is(p->scopes[0].name, "ann/x"));
    assert_int_equal(p->scopes[0].actions, ACTION_PULL | ACTION_PUSH);
    assert_true(str_is(p->scopes[1].name, "*"));
    assert_int_equal(p->scopes[2].actions, ACTION_DELETE);
    shared_unref(&p->shared);
    buf_release(&t);
    free(hub.service);
}

/* Every single byte changed: none of the tokens is taken. */
static void test_token_changed(void **state)
{
    (void)state;
    struct ident hub;
    struct buf t;
    struct principal *p = NULL;
    hub_init(&hub, 1);
    make(&hub, clock_now(), &t);
    for (size_t at = 0; at < t.n; at++) {
        char old = t.p[at];
        t.p[at] = old == 'A' ? 'B' : 'A';
        assert_int_equal(token_check(&hub, buf_view(&t), &p, NULL), ERR_UNAUTHORIZED);
        t.p[at] = old;
    }
    for (size_t n = 0; n < t.n; n++)
        assert_int_equal(token_check(&hub, (struct str){t.p, n}, &p, NULL), ERR_UNAUTHORIZED);
    buf_release(&t);
    free(hub.service);
}

static void test_token_of_another(void **state)
{
    (void)state;
    struct ident hub, other;
    struct buf t;
    struct principal *p = NULL;
    struct err err = {0};
    hub_init(&hub, 1);
    hub_init(&other, 2);
    make(&other, clock_now(), &t); /* another key */
    assert_int_equal(token_check(&hub, buf_view(&t), &p, &err), ERR_UNAUTHORIZED);
    buf_release(&t);
    free(other.service);
    hub_init(&other, 1);
    free(other.service);
    other.service = mem_strdup("other.example"); /* the same key, another audience */
    make(&other, clock_now(), &t);
    assert_int_equal(token_check(&hub, buf_view(&t), &p, &err), ERR_UNAUTHORIZED);
    assert_non_null(strstr(err.text, "another service"));
    buf_release(&t);
    make(&hub, clock_now() - 301000000, &t);
    assert_int_equal(token_check(&hub, buf_view(&t), &p, &err), ERR_UNAUTHORIZED);
    assert_non_null(strstr(err.text, "expired"));
    buf_release(&t);
    make(&hub, clock_now() + 60000000, &t);
    assert_int_equal(token_check(&hub, buf_view(&t), &p, &err), ERR_UNAUTHORIZED);
    assert_non_null(strstr(err.text, "not valid yet"));
    buf_release(&t);
    free(other.service);
    free(hub.service);
}

/* A well-signed token with another algorithm in its head: only ours is read. */
static void test_token_algorithm(void **state)
{
    (void)state;
    struct ident hub;
    struct buf t;
    char head[128], part[200];
    uint8_t sig[64];
    struct principal *p = NULL;
    hub_init(&hub, 1);
    make(&hub, clock_now(), &t);
    struct str rest = buf_view(&t), old, claims;
    str_split(&rest, '.', &old);
    str_split(&rest, '.', &claims);
    static const char *const algs[] = {"none", "HS256", "eddsa", "EdDSA"};
    for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
        struct buf made;
        int n = snprintf(head, sizeof head, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%s\"}", algs[i], hub.key.kid);
        buf_init(&made, 1 << 16);
        buf_add(&made, part, base64url_encode(part, head, (size_t)n));
        buf_char(&made, '.');
        buf_str(&made, claims);
        sign_make(&hub.key, buf_view(&made), sig);
        buf_char(&made, '.');
        buf_add(&made, part, base64url_encode(part, sig, sizeof sig));
        bool ours = strcmp(algs[i], "EdDSA") == 0;
        assert_int_equal(token_check(&hub, buf_view(&made), &p, NULL), ours ? 0 : ERR_UNAUTHORIZED);
        if (ours)
            shared_unref(&p->shared);
        buf_release(&made);
    }
    buf_release(&t);
    free(hub.service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_name_length),   cmocka_unit_test(test_reserved_names),
        cmocka_unit_test(test_rights), cmocka_unit_test(test_every_right_has_one_row), cmocka_unit_test(test_patterns),        cmocka_unit_test(test_token_round_trip), cmocka_unit_test(test_token_changed),
        cmocka_unit_test(test_token_of_another), cmocka_unit_test(test_token_algorithm),
    };
    struct err err = {0};
    return secret_setup(&err) < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
