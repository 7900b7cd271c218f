/* Tokens. First byte even: the rest is a token as a client sends it; only one that this key signed
 * passes, byte for byte. Odd: the rest is head, line end, claims; both are signed here (bit 1: by the APIs' key), so that what
 * reads claims is reached: nothing passes that is expired, not yet valid or made for another service,
 * and what passes can be issued and read again. */
#include "ident/ident_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char service[] = "hub.example";

static struct ident *hub(void)
{
    static struct ident i;
    static const uint8_t seed[32] = {1, 2, 3, 4, 5, 6, 7, 8}, other[32] = {8, 7, 6};
    if (i.service == NULL) {
        BUG_ON(secret_setup(NULL) < 0);
        sign_key_from_seed(&i.key, seed);
        sign_key_from_seed(&i.api_key, other);
        i.service = service;
        atomic_store(&i.token_life, 300000000);
    }
    return &i;
}

static void add64(struct buf *b, struct str s)
{
    auto_free char *text = mem_alloc(s.n * 2 + 8);
    buf_add(b, text, base64url_encode(text, s.p, s.n));
}

static void sign(struct buf *b, const struct sign_key *key)
{
    uint8_t sig[64];
    sign_make(key, buf_view(b), sig);
    buf_char(b, '.');
    add64(b, (struct str){(char *)sig, sizeof sig});
}

/* Ed25519 is deterministic: what passed is exactly what signing its first two parts gives. */
static void check_signature(struct str token, const struct sign_key *key)
{
    struct buf b;
    const char *dot = memrchr(token.p, '.', token.n);
    BUG_ON(dot == NULL);
    buf_init(&b, token.n + 256);
    buf_add(&b, token.p, (size_t)(dot - token.p));
    sign(&b, key);
    BUG_ON(!str_eq(buf_view(&b), token));
    buf_release(&b);
}

static void check_again(const struct principal *p)
{
    struct buf b;
    struct err err = {0};
    struct principal *q = NULL;
    buf_init(&b, 32 << 10);
    token_make(hub(), p, p->scopes, p->n_scopes, clock_now(), &b);
    BUG_ON(token_check(hub(), buf_view(&b), &q, &err) != 0);
    BUG_ON(strcmp(q->name, p->name) != 0 || q->epoch != p->epoch || q->n_scopes > p->n_scopes);
    BUG_ON(q->n_scopes < p->n_scopes && b.n < 8 << 10); /* only a full token leaves scopes out */
    for (size_t i = 0; i < q->n_scopes; i++)
        BUG_ON(!str_eq(q->scopes[i].name, p->scopes[i].name) ||
               (q->scopes[i].actions != p->scopes[i].actions && !str_is(p->scopes[i].name, "*")));
    shared_unref(&q->shared);
    buf_release(&b);
}

static void check(struct str token)
{
    struct principal *p = NULL;
    struct err err = {0};
    int rc = token_check(hub(), token, &p, &err);
    if (rc != 0) {
        BUG_ON(rc != ERR_UNAUTHORIZED || p != NULL || err.text[0] == '\0');
        return;
    }
    check_signature(token, p->bearer ? &hub()->key : &hub()->api_key);
    BUG_ON(p->bearer != (p->signed_for == SIGNED_REGISTRY) || p->expires <= clock_now() - 1000000);
    BUG_ON(p->user_id != 0 || p->role != SITE_NONE || p->kind != WHO_NOBODY || p->credential_id < 0);
    BUG_ON(p->n_scopes > SCOPES_MAX || strlen(p->name) > NAME_MAX_BYTES);
    for (size_t i = 0; i < p->n_scopes; i++)
        BUG_ON((p->scopes[i].actions & ~(unsigned)(ACTION_PULL | ACTION_PUSH | ACTION_DELETE)) != 0);
    if (p->bearer)
        check_again(p);
    shared_unref(&p->shared);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str rest = {(const char *)data + 1, size - 1}, head;
    if ((data[0] & 1) == 0) {
        check(rest);
        return 0;
    }
    struct buf b;
    str_split(&rest, '\n', &head);
    buf_init(&b, 2 * size + 256);
    add64(&b, head);
    buf_char(&b, '.');
    add64(&b, rest);
    sign(&b, (data[0] & 2) == 0 ? &hub()->key : &hub()->api_key);
    check(buf_view(&b));
    buf_release(&b);
    return 0;
}
