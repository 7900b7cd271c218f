/* What is hashed and signed. Every field has a fixed size or its length in front, and every kind of
 * message a name of its own, so no two contents give the same bytes (T57). */
#include "audit/audit_int.h"

#include <stdio.h>

static const char ROWS_TAG[] = "berth audit rows 1\n", SEAL_TAG[] = "berth audit seal 1\n";
static const char SIGNED_TAG[24] = "berth audit signature 1\n";

static uint8_t *put_int(uint8_t *p, int64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)((uint64_t)v >> (56 - 8 * i));
    return p + 8;
}

static void hash_int(struct hash *h, int64_t v)
{
    uint8_t b[8];
    (void)put_int(b, v);
    hash_update(h, b, sizeof b);
}

static void hash_str(struct hash *h, struct str s)
{
    hash_int(h, (int64_t)s.n);
    if (s.n > 0)
        hash_update(h, s.p, s.n);
}

void chain_start(struct chain *c, const uint8_t prev[SEAL_HASH])
{
    c->count = c->last = 0;
    hash_init(&c->h, DIGEST_SHA256);
    hash_update(&c->h, ROWS_TAG, sizeof ROWS_TAG - 1);
    hash_update(&c->h, prev, SEAL_HASH);
}

int chain_row(void *arg, const struct audit_row *row, struct err *err)
{
    (void)err;
    struct chain *c = arg;
    const int64_t ints[] = {row->seq,           row->at,     row->account_id, row->actor_id,
                            row->credential_id, row->result, row->count};
    const struct str texts[] = {row->actor, row->action, row->object, row->address, row->client, row->data};
    hash_update(&c->h, "r", 1);
    for (size_t i = 0; i < ARRAY_LEN(ints); i++)
        hash_int(&c->h, ints[i]);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        hash_str(&c->h, texts[i]);
    c->count++;
    c->last = row->seq;
    return 0;
}

void chain_end(const struct chain *c, const struct seal *s, uint8_t ret[SEAL_HASH])
{
    struct hash h = c->h;
    struct digest d;
    const int64_t ints[] = {s->id, s->at, s->first, s->last, s->count};
    hash_update(&h, SEAL_TAG, sizeof SEAL_TAG - 1);
    for (size_t i = 0; i < ARRAY_LEN(ints); i++)
        hash_int(&h, ints[i]);
    hash_final(&h, &d);
    memcpy(ret, d.bytes, SEAL_HASH);
}

void seal_message(const struct seal *s, uint8_t ret[SEAL_MESSAGE])
{
    const int64_t ints[] = {s->kind, s->id, s->at, s->first, s->last, s->count};
    uint8_t *p = ret;
    memcpy(p, SIGNED_TAG, sizeof SIGNED_TAG);
    p += sizeof SIGNED_TAG;
    for (size_t i = 0; i < ARRAY_LEN(ints); i++)
        p = put_int(p, ints[i]);
    memcpy(p, s->prev, SEAL_HASH);
    memcpy(p + SEAL_HASH, s->hash, SEAL_HASH);
    memcpy(p + 2 * SEAL_HASH, s->key, SEAL_KID);
}

/* ---- an anchor's line ---- */
static const char LINE_TAG[] = "berth-audit-1";
enum { LINE_WORDS = 11 };

void seal_text(const struct seal *s, struct buf *out)
{
    const int64_t ints[] = {s->id, s->kind, s->at, s->first, s->last, s->count};
    buf_cstr(out, LINE_TAG);
    for (size_t i = 0; i < ARRAY_LEN(ints); i++) {
        buf_char(out, ' ');
        buf_i64(out, ints[i]);
    }
    buf_char(out, ' ');
    buf_hex(out, s->prev, SEAL_HASH);
    buf_char(out, ' ');
    buf_hex(out, s->hash, SEAL_HASH);
    buf_printf(out, " %s ", s->key);
    buf_hex(out, s->sig, SEAL_SIG);
}

static bool word_hex(struct str w, void *out, size_t n)
{
    return w.n == 2 * n && hex_decode(out, w) == 0;
}

int seal_parse(struct str line, struct seal *ret, struct err *err)
{
    struct str rest = str_trim(line), w[LINE_WORDS + 1];
    struct seal s = {0};
    int64_t *ints[] = {&s.id, &s.kind, &s.at, &s.first, &s.last, &s.count};
    uint8_t kid[SEAL_KID / 2];
    size_t n = 0;
    while (n <= LINE_WORDS && str_split(&rest, ' ', &w[n]))
        n++;
    bool good = n == LINE_WORDS && str_is(w[0], LINE_TAG);
    for (size_t i = 0; good && i < ARRAY_LEN(ints); i++) {
        uint64_t v = 0;
        good = str_u64(w[i + 1], &v) && v <= INT64_MAX;
        *ints[i] = (int64_t)v;
    }
    good = good && word_hex(w[7], s.prev, SEAL_HASH) && word_hex(w[8], s.hash, SEAL_HASH) &&
           word_hex(w[9], kid, sizeof kid) && word_hex(w[10], s.sig, SEAL_SIG);
    if (!good)
        return err_set(err, ERR_INVALID, "the anchor is no line of `berth audit anchor`");
    text_copy(s.key, sizeof s.key, w[9]);
    *ret = s;
    return 0;
}

/* ---- against the database ---- */
int seal_tx_matches(struct db_tx *tx, const struct seal *s, bool *ret, struct err *err)
{
    struct chain c;
    uint8_t hash[SEAL_HASH];
    int64_t max = s->count < INT64_MAX ? s->count + 1 : s->count; /* one more than there were: inserted */
    chain_start(&c, s->prev);
    int rc = row_tx_range(tx, s->first, s->last, max, chain_row, &c, err);
    if (rc < 0)
        return rc;
    chain_end(&c, s, hash);
    *ret = c.count == s->count && memcmp(hash, s->hash, SEAL_HASH) == 0;
    return 0;
}

int seal_tx_holds(struct db_tx *tx, const struct seal *anchor, const char **why, struct err *err)
{
    struct seal s;
    int rc = seal_tx_get(tx, anchor->id, &s, err);
    if (rc < 0)
        return rc;
    if (rc == 1) {
        *why = "another seal stands where the anchor's was: the log was set back and went on";
        return !s.malformed && memcmp(s.hash, anchor->hash, SEAL_HASH) == 0;
    }
    rc = seal_tx_first(tx, &s, err);
    if (rc == 1 && s.kind == SEAL_TOMBSTONE && s.id > anchor->id)
        return 1; /* removed by retention, as the tombstone says that is checked like any seal */
    *why = "the log ends before the anchor: it was set back or cut off";
    return rc < 0 ? rc : 0;
}
