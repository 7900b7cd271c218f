/* Second factors: what proves one, and that each proof counts once (T12, T13, T14).
 *
 * A proof is for a ticket, a one-time code bound to the account. What is used up (a step, a counter, a
 * recovery code, the ticket) is used up in one transaction with the check; of two at once one wins. A
 * challenge goes in a transaction of its own before its answer is looked at. */
#include "base/config.h"
#include "crypt/hash.h"
#include "crypt/totp.h"
#include "ident/ident_int.h"
#include "store/store.h"

static const char ANY[] = "SELECT id FROM factors WHERE account_id = $1 AND kind < 3 AND state = 1 LIMIT 1";
static const char OF_KIND[] = "SELECT " FACTOR_COLUMNS " FROM factors WHERE account_id = $1 AND kind = $2 AND state = 1 ORDER BY id";
static const char BY_LOOKUP[] = "SELECT " FACTOR_COLUMNS " FROM factors WHERE account_id = $1 AND kind = $2 AND lookup = $3 AND state = 1";
static const char STEP[] = "UPDATE factors SET counter = $2, used_at = $3 WHERE id = $1 AND counter < $2";
static const char COUNTER[] = "UPDATE factors SET counter = $2, flags = $3, used_at = $4 WHERE id = $1 AND counter = $5";
static const char RECOVERY[] = "DELETE FROM factors WHERE account_id = $1 AND kind = 3 AND lookup = $2";
static const char SEALED[] = "SELECT " FACTOR_COLUMNS " FROM factors WHERE kind = 1 AND id > $1 ORDER BY id LIMIT 1";
static const char RESEAL[] = "UPDATE factors SET data = $2 WHERE id = $1";
enum { KEYS_MAX = 20 };

static int wrong(struct err *err)
{
    return err_set(err, ERR_UNAUTHORIZED, "the second factor is wrong, or was used already");
}

static int no_ticket(struct err *err)
{
    return err_set(err, ERR_UNAUTHORIZED, "the login took too long, or was completed: begin again with the password");
}

void factor_map(const struct db_rows *row, void *out)
{
    struct factor_row *f = out;
    struct str lookup = db_bytes(row, 5), data = db_bytes(row, 6);
    *f = (struct factor_row){.id = db_int(row, 0), .account_id = db_int(row, 1), .kind = db_int(row, 2), .state = db_int(row, 3),
                             .counter = db_int(row, 7), .flags = db_int(row, 8), .created_at = db_int(row, 9), .used_at = db_int(row, 10)};
    text_copy(f->name, sizeof f->name, db_text(row, 4));
    BUG_ON(lookup.n > sizeof f->lookup || data.n > sizeof f->data);
    if (lookup.n > 0)
        memcpy(f->lookup, lookup.p, f->lookup_n = lookup.n);
    if (data.n > 0)
        memcpy(f->data, data.p, f->data_n = data.n);
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

int factor_tx_any(struct db_tx *tx, int64_t account_id, struct err *err)
{
    int64_t ignored;
    return db_one(tx, ANY, DB_ARGS(DB_I(account_id)), map_int, &ignored, err);
}

struct webauthn_site factor_site(const struct ident *i) { return (struct webauthn_site){.rp_id = i->rp_id, .name = "Berth", .origin = i->origin}; }

/* A browser hands it to whoever asks for a login with this key: it says nothing but which account of this hub. */
void factor_handle(const struct ident *i, int64_t account_id, uint8_t ret[32])
{
    struct {
        uint8_t key[32];
        char use[16];
        int64_t id;
    } in = {.use = "webauthn handle", .id = account_id};
    struct digest d;
    memcpy(in.key, i->credential_key, sizeof in.key);
    hash_bytes(DIGEST_SHA256, &in, sizeof in, &d);
    memcpy(ret, d.bytes, 32);
    secret_wipe(&in, sizeof in);
}

int factor_ids(struct db_tx *tx, int64_t account_id, struct arena *a, struct str **ret, size_t *ret_n, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, OF_KIND, DB_ARGS(DB_I(account_id), DB_I(FACTOR_WEBAUTHN)), &rows, err);
    *ret = arena_zalloc(a, KEYS_MAX * sizeof **ret);
    *ret_n = 0;
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct str id = db_bytes(rows, 5);
        if (*ret_n < KEYS_MAX)
            (*ret)[(*ret_n)++] = (struct str){str_dup(a, id), id.n};
        rc = 0;
    }
    return rc;
}

/* --- codes */

int factor_tx_totp(struct db_tx *tx, struct ident *i, const struct factor_row *f, struct str code, struct err *err)
{
    struct buf secret;
    int64_t now = clock_now(), step = 0, changed = 0;
    buf_init(&secret, 256);
    (void)pthread_mutex_lock(&i->seal_lock);
    int rc = seal_open(&i->seal, (struct seal_place){"factors", "data", f->id}, (struct str){(const char *)f->data, f->data_n}, &secret, err);
    (void)pthread_mutex_unlock(&i->seal_lock);
    if (rc == 0 && secret.n != TOTP_SECRET)
        rc = err_set(err, ERR_CORRUPT, "a sealed secret has the wrong size");
    if (rc == 0)
        rc = totp_check((const uint8_t *)secret.p, code, now / 1000000, f->counter, &step, err);
    if (secret.p)
        secret_wipe(secret.p, secret.n);
    buf_release(&secret);
    if (rc == 0)
        rc = db_exec(tx, STEP, DB_ARGS(DB_I(f->id), DB_I(step), DB_I(now)), &changed, err);
    return rc == 0 && changed != 1 ? wrong(err) : rc;
}

static int prove_totp(struct db_tx *tx, struct ident *i, int64_t account_id, struct str code, struct err *err)
{
    struct factor_row f[4];
    size_t n = 0;
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, OF_KIND, DB_ARGS(DB_I(account_id), DB_I(FACTOR_TOTP)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        if (n < ARRAY_LEN(f))
            factor_map(rows, &f[n++]);
        rc = 0;
    }
    if (rc < 0)
        return rc;
    db_rows_close(rows);
    rows = NULL;
    for (size_t k = 0; k < n; k++)
        if ((rc = factor_tx_totp(tx, i, &f[k], code, err)) != ERR_UNAUTHORIZED)
            return rc;
    return wrong(err);
}

static int prove_recovery(struct db_tx *tx, struct ident *i, int64_t account_id, struct str code, struct err *err)
{
    uint8_t hash[RECOVERY_HASH];
    int64_t n = 0;
    int rc = recovery_hash(i->credential_key, code, hash, err);
    if (rc < 0)
        return wrong(err);
    rc = db_exec(tx, RECOVERY, DB_ARGS(DB_I(account_id), DB_B(((struct str){(char *)hash, sizeof hash}))), &n, err);
    return rc == 0 && n != 1 ? wrong(err) : rc;
}

static bool six_digits(struct str code)
{
    for (size_t k = 0; k < code.n; k++)
        if (code.p[k] < '0' || code.p[k] > '9')
            return false;
    return code.n == TOTP_DIGITS;
}

/* --- the proof */

struct prove {
    struct http_req *r;
    struct ident *ident;
    uint8_t hash[TOKEN_HASH];
    const struct login_proof *proof;
    struct webauthn_answer answer;
    struct once ticket;
    struct account account;
    bool known, fresh_address, copied, spare_low;
    char challenge[2 * WEBAUTHN_CHALLENGE + 1];
};

static int ticket_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct prove *q = arg;
    int rc = once_tx_find(tx, ONCE_LOGIN, q->hash, &q->ticket, err);
    if (rc == 1)
        rc = account_tx_by_id(tx, q->ticket.account_id, &q->account, err);
    if (rc == 0 || (rc == 1 && q->account.state != ACCOUNT_ACTIVE))
        return no_ticket(err);
    if (rc == 1 && (rc = address_tx_known(tx, q->account.id, q->r->client, err)) >= 0)
        q->known = rc == 1;
    return rc < 0 ? rc : 0;
}

static int challenge_take(struct db_tx *tx, void *arg, struct err *err)
{
    struct prove *q = arg;
    int rc = ticket_read(tx, q, err);
    text_copy(q->challenge, sizeof q->challenge, str_of(q->ticket.payload));
    return rc < 0 ? rc : once_tx_payload(tx, q->ticket.id, STR_LIT(""), err);
}

static int prove_webauthn(struct db_tx *tx, struct prove *q, struct err *err)
{
    struct factor_row f;
    struct webauthn_ask ask = {.site = factor_site(q->ident)};
    struct webauthn_credential known = {0}, now;
    uint8_t handle[32];
    int64_t changed = 0;
    if (hex_decode(ask.challenge, str_of(q->challenge)) < 0 || strlen(q->challenge) != 2 * WEBAUTHN_CHALLENGE)
        return wrong(err);
    int rc = db_one(tx, BY_LOOKUP, DB_ARGS(DB_I(q->account.id), DB_I(FACTOR_WEBAUTHN), DB_B(q->answer.id)), factor_map, &f, err);
    if (rc != 1)
        return rc < 0 ? rc : wrong(err);
    memcpy(known.id, f.lookup, known.id_n = f.lookup_n);
    memcpy(known.key, f.data, known.key_n = f.data_n);
    known.count = (uint32_t)f.counter;
    known.backup_eligible = (f.flags & 1) != 0;
    factor_handle(q->ident, q->account.id, handle);
    rc = webauthn_login(&ask, &known, (struct str){(char *)handle, sizeof handle}, &q->answer, &now, err);
    q->copied = rc == ERR_DENIED;
    if (rc < 0)
        return rc == ERR_DENIED || rc == ERR_UNAUTHORIZED ? wrong(err) : rc;
    rc = db_exec(tx, COUNTER, DB_ARGS(DB_I(f.id), DB_I(now.count), DB_I((now.backup_eligible ? 1 : 0) | (now.backed_up ? 2 : 0)), DB_I(clock_now()), DB_I(f.counter)), &changed, err);
    return rc == 0 && changed != 1 ? wrong(err) : rc;
}

static int prove_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct prove *q = arg;
    struct str code = str_trim(q->proof->code);
    int rc = ticket_read(tx, q, err);
    if (rc < 0)
        return rc;
    if (q->proof->webauthn.n > 0)
        rc = prove_webauthn(tx, q, err);
    else
        rc = six_digits(code) ? prove_totp(tx, q->ident, q->account.id, code, err) : prove_recovery(tx, q->ident, q->account.id, code, err);
    if (rc < 0 || (rc = once_tx_use(tx, q->ticket.id, err)) != 1)
        return rc < 0 ? rc : no_ticket(err);
    rc = q->r->client_unknown ? 0 : address_tx_seen(tx, q->account.id, q->r->client, clock_now(), err);
    q->fresh_address = rc == 1;
    return rc < 0 ? rc : 0;
}

static void tell(struct prove *q, int rc)
{
    bool recovery = q->proof->webauthn.n == 0 && !six_digits(str_trim(q->proof->code));
    if (q->copied)
        mail_account(q->ident, &q->account, "A copy of your security key was used",
                     "Somebody with your password answered with a copy of a security key of your account %s, from %.*s. The login was refused.\n",
                     q->account.name, STR_FMT(q->r->client));
    if (rc == 0 && recovery)
        mail_account(q->ident, &q->account, "A recovery code was used", "A recovery code of your account %s was used from %.*s.\n",
                     q->account.name, STR_FMT(q->r->client));
    if (rc == 0 && q->fresh_address)
        mail_account(q->ident, &q->account, "New login to your account", "Your account %s was logged in to from an address that is new: %.*s.\n",
                     q->account.name, STR_FMT(q->r->client));
}

int factor_prove(struct http_req *r, struct str ticket, const struct login_proof *proof, struct account *ret, struct err *err)
{
    struct ident *i = ident_of(r);
    struct prove q = {.r = r, .ident = i, .proof = proof};
    if (once_hash(i, ticket, q.hash, err) < 0)
        return no_ticket(err);
    int rc = db_read(i->db, ticket_read, &q, err);
    if (rc == 0)
        rc = fail_account_check(i, r, FAIL_FACTOR, str_of(q.account.name), q.known, err);
    if (rc == 0 && proof->webauthn.n > 0) {
        rc = db_write(i->db, challenge_take, &q, err);
        if (rc == 0 && webauthn_answer_parse(&r->arena, proof->webauthn, &q.answer, err) < 0)
            rc = wrong(err);
    }
    if (rc == 0)
        rc = db_write(i->db, prove_write, &q, err);
    if (rc == ERR_UNAUTHORIZED && q.account.id != 0) {
        fail_account_count(i, r, FAIL_FACTOR, str_of(q.account.name), q.known);
        record_login(i, r, NULL, str_of(q.account.name), AUDIT_REFUSED);
    }
    if (q.account.id != 0)
        tell(&q, rc);
    if (rc == 0)
        *ret = q.account;
    return rc;
}

/* --- keys of sealed values */

struct reseal {
    struct ident *ident;
    int64_t n;
};

static int reseal_one(struct db_tx *tx, struct ident *i, const struct factor_row *f, struct err *err)
{
    struct seal_place at = {"factors", "data", f->id};
    struct buf secret, sealed;
    buf_init(&secret, SEAL_SECRET_MAX);
    buf_init(&sealed, SEAL_SECRET_MAX + SEAL_OVERHEAD);
    (void)pthread_mutex_lock(&i->seal_lock);
    int rc = seal_open(&i->seal, at, (struct str){(const char *)f->data, f->data_n}, &secret, err);
    if (rc == 0)
        rc = seal_close(&i->seal, at, buf_view(&secret), &sealed, err);
    (void)pthread_mutex_unlock(&i->seal_lock);
    if (rc == 0)
        rc = db_exec(tx, RESEAL, DB_ARGS(DB_I(f->id), DB_B(buf_view(&sealed))), NULL, err);
    if (secret.p)
        secret_wipe(secret.p, secret.n);
    buf_release(&secret);
    buf_release(&sealed);
    return rc;
}

static int reseal_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct reseal *s = arg;
    struct factor_row f = {0};
    int rc;
    s->n = 0;
    while ((rc = db_one(tx, SEALED, DB_ARGS(DB_I(f.id)), factor_map, &f, err)) == 1) {
        if ((rc = reseal_one(tx, s->ident, &f, err)) < 0)
            return rc;
        s->n++;
    }
    return rc;
}

static int seal_save(struct ident *i, struct err *err)
{
    struct buf file;
    buf_init(&file, SEAL_FILE_MAX);
    seal_keys_print(&i->seal, &file);
    int rc = store_key_write(i->store, SEAL_KEYS_FILE, buf_view(&file), err);
    secret_wipe(file.p, file.n);
    buf_release(&file);
    return rc;
}

int ident_seal_load(struct ident *i, struct err *err)
{
    struct buf file;
    buf_init(&file, SEAL_FILE_MAX);
    int rc = store_key_read(i->store, SEAL_KEYS_FILE, &file, err);
    if (rc == ERR_NOT_FOUND) {
        seal_keys_new(&i->seal);
        rc = seal_save(i, err);
    } else if (rc == 0) {
        rc = seal_keys_parse(buf_view(&file), &i->seal, err);
    }
    if (file.p)
        secret_wipe(file.p, file.n);
    buf_release(&file);
    return rc;
}

/* Under seal_lock: changes the keys by `change`, durably or not at all. */
static int seal_change(struct ident *i, int (*change)(struct seal_keys *k, struct err *err), struct err *err)
{
    (void)pthread_mutex_lock(&i->seal_lock);
    struct seal_keys before = i->seal;
    int rc = change(&i->seal, err);
    if (rc == 0)
        rc = seal_save(i, err);
    if (rc < 0)
        i->seal = before;
    (void)pthread_mutex_unlock(&i->seal_lock);
    seal_keys_wipe(&before);
    return rc;
}

static int drop_old(struct seal_keys *k, struct err *err)
{
    (void)err;
    seal_keys_drop_old(k);
    return 0;
}

/* The new key is on disk before anything is sealed with it, the old ones are dropped after nothing needs them: whatever
 * breaks off in between leaves a file that opens all. seal_lock is not held over the transaction, whose thread takes it. */
int factor_keys_rotate(struct ident *i, int64_t *ret_resealed, struct err *err)
{
    struct reseal s = {.ident = i};
    (void)pthread_mutex_lock(&i->rotate_lock);
    int rc = seal_change(i, seal_keys_rotate, err);
    if (rc == 0)
        rc = db_write(i->db, reseal_write, &s, err);
    if (rc == 0)
        rc = seal_change(i, drop_old, err);
    (void)pthread_mutex_unlock(&i->rotate_lock);
    *ret_resealed = s.n;
    return rc;
}
