/* Sealing of secrets that must be read again (TOTP secrets, clients' secrets for SMTP, LDAP, OIDC) with
 * keys that lie outside the database and its backups (T50): XChaCha20-Poly1305 of libsodium.
 *
 * A sealed value names its key and opens only in the cell it was sealed for, so that who can write the
 * database cannot move another's secret into his row. Rotation: a new key in front seals from now on,
 * the old ones still open; when seal_needs_reseal says no of every row, they can be dropped.
 *
 *   sealed   1 byte version (1) · 4 key id · 24 nonce (random) · ciphertext · 16 tag
 *   bound    version, key id, then table, column and row, each with its length in front
 *
 * File keys/seal.keys (0600; read and written by store_key_read, store_key_write, which are durable):
 *   berth-seal-keys 1
 *   0a1b2c3d active 64 hex digits      first, and the only active one
 *   99887766 old 64 hex digits         newest first, at most 15
 * Any other byte, a line twice or an id twice: the file is refused. It never goes into a backup. */
#ifndef CRYPT_SEAL_H
#define CRYPT_SEAL_H
#include "base/err.h"
#define SEAL_KEYS_FILE "seal.keys"
enum { SEAL_ID = 4, SEAL_KEY = 32, SEAL_KEYS_MAX = 16, SEAL_OVERHEAD = 1 + 4 + 24 + 16, SEAL_SECRET_MAX = 64 << 10,
       SEAL_FILE_MAX = 4096 };
struct seal_keys { /* the first one seals; wipe with seal_keys_wipe */
    size_t n;
    struct {
        uint8_t id[SEAL_ID], key[SEAL_KEY];
    } key[SEAL_KEYS_MAX];
};
/* The cell. Names come from the code, the row from the database. */
struct seal_place {
    const char *table, *column;
    int64_t row;
};
void seal_keys_new(struct seal_keys *k); /* one fresh key */
int seal_keys_parse(struct str file, struct seal_keys *k, struct err *err); /* ERR_CORRUPT with the line */
void seal_keys_print(const struct seal_keys *k, struct buf *file);          /* wipe the buffer after use */
int seal_keys_rotate(struct seal_keys *k, struct err *err); /* ERR_EXISTS: SEAL_KEYS_MAX are kept already */
void seal_keys_drop_old(struct seal_keys *k);               /* keeps the active one */
void seal_keys_wipe(struct seal_keys *k);

/* Appends secret.n + SEAL_OVERHEAD bytes. ERR_TOO_LARGE above SEAL_SECRET_MAX. */
int seal_close(const struct seal_keys *k, struct seal_place at, struct str secret, struct buf *ret, struct err *err);
/* Appends the secret; the caller wipes. ERR_CORRUPT: key not in the file, or altered, or of another cell. */
int seal_open(const struct seal_keys *k, struct seal_place at, struct str sealed, struct buf *ret, struct err *err);
bool seal_needs_reseal(const struct seal_keys *k, struct str sealed); /* not under the active key */
#endif
