/* The signing keys, keys/audit.keys: lines `public HEX` for keys of the past, `seed HEX` for the one
 * that signs. */
#include "audit/audit_int.h"

#include <stdlib.h>

static const char FILE_NAME[] = "audit.keys";
enum { SEED = 32, LINE_BYTES = 7 + 2 * SEED + 1, FILE_MAX = (KEYS_MAX + 1) * LINE_BYTES };

static void release(struct buf *b)
{
    if (b->p)
        secret_wipe(b->p, b->size);
    buf_release(b);
}

static void add_old(struct keys *k, const uint8_t pub[SEED])
{
    struct digest d;
    struct sign_key *o = &k->old[k->n++];
    memset(o, 0, sizeof *o);
    memcpy(o->pub, pub, SEED);
    hash_bytes(DIGEST_SHA256, pub, SEED, &d);
    hex_encode(o->kid, d.bytes, SEAL_KID / 2);
}

static bool take_line(struct keys *k, struct str line)
{
    uint8_t b[SEED];
    bool seed = str_starts(line, STR_LIT("seed ")), good;
    size_t head = seed ? 5 : 7;
    if (!seed && !str_starts(line, STR_LIT("public ")))
        return false;
    struct str hex = {line.p + head, line.n - head};
    good = hex.n == 2 * SEED && hex_decode(b, hex) == 0 && (seed ? k->now.kid[0] == 0 : k->n + 1 < KEYS_MAX);
    if (good && seed)
        sign_key_from_seed(&k->now, b);
    else if (good)
        add_old(k, b);
    secret_wipe(b, sizeof b);
    return good;
}

/* text: the file's; its owner wipes it. */
static int parse(struct str text, struct keys *k, struct err *err)
{
    struct str line;
    memset(k, 0, sizeof *k);
    while (str_split(&text, '\n', &line)) {
        if (line.n > 0 && !take_line(k, line)) {
            keys_wipe(k);
            return err_set(err, ERR_INVALID, "keys/%s is damaged", FILE_NAME);
        }
    }
    return 0;
}

int keys_read(struct store *store, struct keys *ret, struct err *err)
{
    struct buf text;
    buf_init(&text, FILE_MAX);
    int rc = store_key_read(store, FILE_NAME, &text, err);
    if (rc == 0)
        rc = parse(buf_view(&text), ret, err);
    release(&text);
    return rc;
}

static void public_lines(const struct keys *k, struct buf *out)
{
    for (size_t i = 0; i < k->n; i++) {
        buf_cstr(out, "public ");
        buf_hex(out, k->old[i].pub, SEED);
        buf_char(out, '\n');
    }
}

/* The file with a fresh seed behind all public halves. */
static int renew(struct store *store, struct keys *k, struct err *err)
{
    struct keys next;
    struct buf text;
    uint8_t seed[SEED];
    if (k->n + 1 >= KEYS_MAX)
        return err_set(err, ERR_QUOTA, "keys/%s holds %d keys already", FILE_NAME, KEYS_MAX - 1);
    next = *k;
    if (k->now.kid[0] != 0)
        add_old(&next, k->now.pub);
    secret_random(seed, sizeof seed);
    sign_key_from_seed(&next.now, seed);
    buf_init(&text, FILE_MAX);
    public_lines(&next, &text);
    buf_cstr(&text, "seed ");
    buf_hex(&text, seed, sizeof seed);
    buf_char(&text, '\n');
    BUG_ON(text.overflow);
    int rc = store_key_write(store, FILE_NAME, buf_view(&text), err);
    if (rc == 0)
        *k = next;
    release(&text);
    secret_wipe(seed, sizeof seed);
    keys_wipe(&next);
    return rc;
}

int keys_setup(struct store *store, struct keys *ret, struct err *err)
{
    int rc = keys_read(store, ret, err);
    if (rc == ERR_NOT_FOUND) {
        memset(ret, 0, sizeof *ret);
        rc = 0;
    }
    return rc < 0 || ret->now.kid[0] != 0 ? rc : renew(store, ret, err);
}

int keys_rotate(struct store *store, struct keys *k, struct err *err)
{
    return renew(store, k, err);
}

void keys_wipe(struct keys *k)
{
    secret_wipe(k, sizeof *k);
}

void keys_sign(const struct keys *k, struct seal *s)
{
    uint8_t m[SEAL_MESSAGE];
    memcpy(s->key, k->now.kid, sizeof s->key);
    seal_message(s, m);
    sign_make(&k->now, (struct str){(const char *)m, sizeof m}, s->sig);
}

static bool check_with(const struct sign_key *k, const struct seal *s)
{
    uint8_t m[SEAL_MESSAGE];
    if (strcmp(k->kid, s->key) != 0)
        return false;
    seal_message(s, m);
    return sign_check(k, (struct str){(const char *)m, sizeof m}, s->sig);
}

bool keys_check(const struct keys *k, const struct seal *s)
{
    if (s->malformed || s->key[0] == 0)
        return false;
    bool good = check_with(&k->now, s);
    for (size_t i = 0; !good && i < k->n; i++)
        good = check_with(&k->old[i], s);
    return good;
}

int audit_keys_public(struct store *store, struct buf *ret, struct err *err)
{
    struct keys *k = mem_zalloc(sizeof *k);
    int rc = keys_read(store, k, err);
    if (rc == 0) {
        if (k->now.kid[0] != 0)
            add_old(k, k->now.pub);
        public_lines(k, ret);
    }
    keys_wipe(k);
    free(k);
    return rc;
}
