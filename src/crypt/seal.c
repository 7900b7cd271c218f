/* Sealed secrets and the file of their keys. See seal.h. */
#include "crypt/seal.h"
#include "crypt/secret.h"

#include <sodium.h>
#include <stdlib.h>

enum { VERSION = 1, HEAD = 1 + SEAL_ID, NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
       TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES, BOUND_MAX = 256 };
_Static_assert(HEAD + NONCE + TAG == SEAL_OVERHEAD, "what seal.h says");
static const char first_line[] = "berth-seal-keys 1";

static int find(const struct seal_keys *k, const uint8_t id[SEAL_ID])
{
    for (size_t i = 0; i < k->n; i++)
        if (memcmp(k->key[i].id, id, SEAL_ID) == 0)
            return (int)i;
    return -1;
}

/* --- keys */

static void fresh_key(struct seal_keys *k, size_t at)
{
    uint8_t id[SEAL_ID];
    do
        secret_random(id, sizeof id);
    while (find(k, id) >= 0);
    memcpy(k->key[at].id, id, sizeof id);
    secret_random(k->key[at].key, SEAL_KEY);
}

void seal_keys_new(struct seal_keys *k)
{
    k->n = 0;
    fresh_key(k, 0);
    k->n = 1;
}

int seal_keys_rotate(struct seal_keys *k, struct err *err)
{
    if (k->n == SEAL_KEYS_MAX)
        return err_set(err, ERR_EXISTS, "keys/%s holds %d keys already: reseal and drop the old ones first", SEAL_KEYS_FILE,
                       SEAL_KEYS_MAX);
    memmove(&k->key[1], &k->key[0], k->n * sizeof k->key[0]);
    k->n++;
    fresh_key(k, 0);
    return 0;
}

void seal_keys_drop_old(struct seal_keys *k)
{
    secret_wipe(&k->key[1], sizeof k->key - sizeof k->key[0]);
    k->n = k->n > 0 ? 1 : 0;
}

void seal_keys_wipe(struct seal_keys *k) { secret_wipe(k, sizeof *k); }

void seal_keys_print(const struct seal_keys *k, struct buf *file)
{
    buf_printf(file, "%s\n", first_line);
    for (size_t i = 0; i < k->n; i++) {
        buf_hex(file, k->key[i].id, SEAL_ID);
        buf_cstr(file, i == 0 ? " active " : " old ");
        buf_hex(file, k->key[i].key, SEAL_KEY);
        buf_char(file, '\n');
    }
}

/* "ID STATE KEY"; the first key is the active one. */
static bool parse_line(struct str line, struct seal_keys *k)
{
    struct str id, state;
    uint8_t raw[SEAL_ID];
    if (k->n == SEAL_KEYS_MAX || !str_split(&line, ' ', &id) || !str_split(&line, ' ', &state) ||
        id.n != 2 * (size_t)SEAL_ID || line.n != 2 * (size_t)SEAL_KEY || !str_is(state, k->n == 0 ? "active" : "old") ||
        hex_decode(raw, id) < 0 || find(k, raw) >= 0 || hex_decode(k->key[k->n].key, line) < 0)
        return false;
    memcpy(k->key[k->n++].id, raw, sizeof raw);
    return true;
}

int seal_keys_parse(struct str file, struct seal_keys *k, struct err *err)
{
    struct str line = {NULL, 0};
    int number = 1;
    k->n = 0;
    bool good = file.n <= SEAL_FILE_MAX && str_ends(file, STR_LIT("\n")) && str_split(&file, '\n', &line) &&
                str_is(line, first_line);
    while (good && file.n > 0) {
        number++;
        good = str_split(&file, '\n', &line) && parse_line(line, k);
    }
    if (good && k->n > 0)
        return 0;
    seal_keys_wipe(k);
    return err_set(err, ERR_CORRUPT, "keys/%s is damaged at line %d; nothing was changed: put back the file as it was",
                   SEAL_KEYS_FILE, number);
}

/* --- sealing */

static void bind_text(struct buf *b, const char *text)
{
    size_t n = strlen(text);
    BUG_ON(n == 0 || n > 64);
    buf_char(b, (char)n);
    buf_add(b, text, n);
}

static void bind(struct buf *b, const uint8_t head[HEAD], struct seal_place at)
{
    buf_init(b, BOUND_MAX);
    buf_add(b, head, HEAD);
    bind_text(b, at.table);
    bind_text(b, at.column);
    buf_char(b, 8);
    for (int i = 0; i < 8; i++)
        buf_char(b, (char)(uint8_t)((uint64_t)at.row >> (56 - 8 * i)));
}

int seal_close(const struct seal_keys *k, struct seal_place at, struct str secret, struct buf *ret, struct err *err)
{
    BUG_ON(k->n == 0);
    if (secret.n > SEAL_SECRET_MAX)
        return err_set(err, ERR_TOO_LARGE, "a secret of at most %d bytes can be sealed", SEAL_SECRET_MAX);
    struct buf bound;
    uint8_t head[HEAD + NONCE] = {VERSION};
    size_t n = secret.n + TAG;
    auto_free uint8_t *out = mem_alloc(n);
    memcpy(head + 1, k->key[0].id, SEAL_ID);
    secret_random(head + HEAD, NONCE);
    bind(&bound, head, at);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, (const uint8_t *)secret.p, secret.n, (const uint8_t *)bound.p,
                                                     bound.n, NULL, head + HEAD, k->key[0].key);
    buf_release(&bound);
    buf_add(ret, head, sizeof head);
    buf_add(ret, out, n);
    return ret->overflow ? err_set(err, ERR_TOO_LARGE, "no room for a sealed secret") : 0;
}

int seal_open(const struct seal_keys *k, struct seal_place at, struct str sealed, struct buf *ret, struct err *err)
{
    const uint8_t *p = (const uint8_t *)sealed.p;
    if (sealed.n < SEAL_OVERHEAD || sealed.n > (size_t)SEAL_SECRET_MAX + SEAL_OVERHEAD || p[0] != VERSION)
        return err_set(err, ERR_CORRUPT, "%s.%s of row %lld is no sealed secret of this version", at.table, at.column,
                       (long long)at.row);
    int i = find(k, p + 1);
    if (i < 0)
        return err_set(err, ERR_CORRUPT, "%s.%s of row %lld is sealed with key %02x%02x%02x%02x, which keys/%s does not hold",
                       at.table, at.column, (long long)at.row, p[1], p[2], p[3], p[4], SEAL_KEYS_FILE);
    struct buf bound;
    size_t n = sealed.n - SEAL_OVERHEAD;
    uint8_t *out = mem_alloc(n + 1);
    bind(&bound, p, at);
    int rc = crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, p + HEAD + NONCE, n + TAG, (const uint8_t *)bound.p,
                                                        bound.n, p + HEAD, k->key[i].key);
    buf_release(&bound);
    if (rc == 0)
        buf_add(ret, out, n);
    secret_wipe(out, n + 1);
    free(out);
    if (rc != 0)
        return err_set(err, ERR_CORRUPT, "%s.%s of row %lld does not open: it was altered, or sealed for another place", at.table,
                       at.column, (long long)at.row);
    return ret->overflow ? err_set(err, ERR_TOO_LARGE, "no room for an opened secret") : 0;
}

bool seal_needs_reseal(const struct seal_keys *k, struct str sealed)
{
    return sealed.n < HEAD || sealed.p[0] != VERSION || memcmp(sealed.p + 1, k->key[0].id, SEAL_ID) != 0;
}
