/* /api/v1: the own second factors, recovery codes and sessions; an administrator's reset; the keys of sealed values.
 * What changes a factor takes a login of the last minutes, by the factor if there is one. */
#include "crypt/totp.h"
#include "ident/api.h"

enum { TOTP_MAX = 4, KEYS_MAX = 20 };

static const char *const kinds[] = {"totp", "webauthn", NULL};
static const struct rest_schema factor = {
    "Factor", "A second factor.", (const struct rest_field[]){
        {"id", REST_INT, .required = true},
        {"kind", REST_ENUM, .required = true, .words = kinds},
        {"name", REST_STRING, .required = true},
        {"created_at", REST_TIME, .required = true},
        {"last_used_at", REST_TIME, .required = true, .nullable = true},
        {0}}};
static const struct rest_schema factor_made = {
    "FactorMade", "A factor that is good from now on.", (const struct rest_field[]){
        {"factor", REST_OBJECT, .required = true, .schema = &factor},
        {"recovery_codes", REST_ARRAY, .of = REST_STRING, .required = true, .nullable = true,
         .about = "with the first factor: shown this once; each is good for one login"},
        {0}}};
static const struct rest_schema totp_new = {
    "TotpNew", "An authenticator app to be added.", (const struct rest_field[]){
        {"name", REST_STRING, .max = 100, .check = &check_line}, {0}}};
static const struct rest_schema totp_begun = {
    "TotpBegun", "What the app needs, shown this once. It counts when a first code of it was confirmed.", (const struct rest_field[]){
        {"id", REST_INT, .required = true},
        {"secret", REST_STRING, .required = true, .about = "base32, to be typed"},
        {"uri", REST_STRING, .required = true, .about = "otpauth://, for a QR code"},
        {0}}};
static const struct rest_schema totp_confirm = {
    "TotpConfirm", "A first code.", (const struct rest_field[]){{"code", REST_STRING, .required = true, .min = 6, .max = 6}, {0}}};
static const struct rest_schema key_options = {
    "KeyOptions", "What a new security key is asked.", (const struct rest_field[]){
        {"ticket", REST_STRING, .required = true},
        {"options", REST_STRING, .required = true, .about = "JSON for navigator.credentials.create (parseCreationOptionsFromJSON)"},
        {0}}};
static const struct rest_schema key_new = {
    "KeyNew", "A new security key's answer.", (const struct rest_field[]){
        {"ticket", REST_STRING, .required = true, .max = TOKEN_TEXT_LEN},
        {"name", REST_STRING, .max = 100, .check = &check_line},
        {"credential", REST_STRING, .required = true, .max = WEBAUTHN_ANSWER_MAX, .about = "JSON of the browser's PublicKeyCredential (toJSON)"},
        {0}}};
static const struct rest_schema codes_left = {
    "RecoveryLeft", "Recovery codes.", (const struct rest_field[]){{"left", REST_INT, .required = true}, {0}}};
static const struct rest_schema codes_made = {
    "RecoveryCodes", "New recovery codes, shown this once; older ones are void.", (const struct rest_field[]){
        {"recovery_codes", REST_ARRAY, .of = REST_STRING, .required = true}, {0}}};
static const struct rest_schema resealed = {
    "KeysRotated", "Sealed values are under the new key.", (const struct rest_field[]){{"resealed", REST_INT, .required = true}, {0}}};

static const char LIST[] = "SELECT " FACTOR_COLUMNS " FROM factors WHERE account_id = $1 AND kind < 3 AND state = 1 AND id > $2 ORDER BY id LIMIT $3";
static const char BY_ID[] = "SELECT " FACTOR_COLUMNS " FROM factors WHERE account_id = $1 AND id = $2 AND kind < 3";
static const char BY_LOOKUP[] = "SELECT " FACTOR_COLUMNS " FROM factors WHERE lookup = $1";
static const char HOW_MANY[] = "SELECT count(*) FROM factors WHERE account_id = $1 AND kind = $2 AND state = 1";
static const char ADD[] = "INSERT INTO factors (account_id, kind, state, name, lookup, data, counter, flags, created_at, used_at) "
                          "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)";
static const char SET_DATA[] = "UPDATE factors SET data = $2 WHERE id = $1";
static const char SET_GOOD[] = "UPDATE factors SET state = 1 WHERE id = $1";
static const char DROP_BEGUN[] = "DELETE FROM factors WHERE account_id = $1 AND state = 0";
static const char DROP_CODES[] = "DELETE FROM factors WHERE account_id = $1 AND kind = 3";
static const char DROP[] = "DELETE FROM factors WHERE id = $1";
static const char DROP_ALL[] = "DELETE FROM factors WHERE account_id = $1";

struct factor_job {
    struct rest_call *c;
    struct ident *ident;
    int64_t id, left;
    bool codes_made;
    struct factor_row row;
    struct recovery_code codes[RECOVERY_CODES];
    /* totp */
    uint8_t secret[TOTP_SECRET], lookup[16];
    /* webauthn */
    struct once_code ticket;
    struct once ceremony;
    struct webauthn_ask ask;
    struct webauthn_answer answer;
    struct webauthn_credential made;
    struct str *ids;
    size_t n_ids;
};

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

static int how_many(struct db_tx *tx, int64_t account_id, enum factor_kind kind, int64_t *ret, struct err *err)
{
    int rc = db_one(tx, HOW_MANY, DB_ARGS(DB_I(account_id), DB_I(kind)), map_int, ret, err);
    return rc < 0 ? rc : 0;
}

static json_t *factor_json(const struct factor_row *f)
{
    return json_pack("{s:I,s:s,s:s,s:o,s:o}", "id", (json_int_t)f->id, "kind", kinds[f->kind - 1], "name", f->name, "created_at",
                     rest_json_time(f->created_at), "last_used_at", rest_json_time(f->used_at));
}

static json_t *codes_json(const struct factor_job *j)
{
    json_t *list = json_array();
    for (size_t k = 0; k < RECOVERY_CODES; k++)
        json_array_append_new(list, json_string(j->codes[k].text));
    return list;
}

static int wants_user(const struct rest_call *c, struct err *err)
{
    if (req_principal(c->r)->kind != WHO_USER)
        return err_set(err, ERR_DENIED, "only a user has second factors");
    return api_fresh(c->r, err);
}

/* --- reading */

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    auto_rows struct db_rows *rows = NULL;
    int64_t n = rest_page(c);
    int rc = db_query(tx, LIST, DB_ARGS(DB_I(req_principal(c->r)->user_id), DB_I(rest_after_int(c, 0, 0)), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct factor_row f;
        factor_map(rows, &f);
        rest_add(c, factor_json(&f), json_pack("[I]", (json_int_t)f.id));
        rc = 0;
    }
    return rc;
}

static int list_run(struct rest_call *c, struct err *err)
{
    int rc = db_read(ident_of(c->r)->db, list_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static int left_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct factor_job *j = arg;
    return how_many(tx, req_principal(j->c->r)->user_id, FACTOR_RECOVERY, &j->left, err);
}

static int codes_left_run(struct rest_call *c, struct err *err)
{
    struct factor_job j = {.c = c};
    int rc = db_read(ident_of(c->r)->db, left_read, &j, err);
    return rc < 0 ? rc : rest_send(c, json_pack("{s:I}", "left", (json_int_t)j.left));
}

/* --- recovery codes */

static int add_codes(struct db_tx *tx, struct factor_job *j, int64_t account_id, struct err *err)
{
    int64_t now = clock_now();
    int rc = db_exec(tx, DROP_CODES, DB_ARGS(DB_I(account_id)), NULL, err);
    for (size_t k = 0; rc == 0 && k < RECOVERY_CODES; k++)
        rc = db_exec(tx, ADD,
                     DB_ARGS(DB_I(account_id), DB_I(FACTOR_RECOVERY), DB_I(1), DB_T(STR_LIT("")),
                             DB_B(((struct str){(char *)j->codes[k].hash, RECOVERY_HASH})), DB_B(STR_LIT("")), DB_I(0), DB_I(0), DB_I(now)),
                     NULL, err);
    return rc;
}

static int first_codes(struct db_tx *tx, struct factor_job *j, int64_t account_id, struct err *err)
{
    int rc = how_many(tx, account_id, FACTOR_RECOVERY, &j->left, err);
    j->codes_made = j->left == 0;
    return rc == 0 && j->codes_made ? add_codes(tx, j, account_id, err) : rc;
}

static int renew(struct db_tx *tx, struct change *ch, struct err *err)
{
    int rc = factor_tx_any(tx, ch->who->user_id, err);
    if (rc == 0)
        return err_set(err, ERR_CONFLICT, "without a second factor recovery codes are of no use: add one first");
    return rc < 0 ? rc : add_codes(tx, ch->arg, ch->who->user_id, err);
}

static struct change own_change(struct factor_job *j, int (*fn)(struct db_tx *tx, struct change *c, struct err *err), const char *action)
{
    struct str name = str_of(req_principal(j->c->r)->name);
    j->ident = ident_of(j->c->r);
    return (struct change){.fn = fn, .arg = j, .accounts = {name}, .action = action, .object = name};
}

static void tell(struct rest_call *c, const char *subject, const char *what)
{
    struct account a = {0};
    text_copy(a.name, sizeof a.name, str_of(req_principal(c->r)->name));
    a.id = req_principal(c->r)->user_id;
    mail_account(ident_of(c->r), &a, subject, "%s: %s, from %.*s.\n", a.name, what, STR_FMT(c->r->client));
}

static int codes_renew(struct rest_call *c, struct err *err)
{
    struct factor_job j = {.c = c};
    struct change ch = own_change(&j, renew, "factor.recovery_codes");
    int rc = wants_user(c, err);
    if (rc < 0)
        return rc;
    recovery_make(j.ident->credential_key, j.codes);
    if ((rc = change_run(c->r, &ch, err)) == 0) {
        tell(c, "New recovery codes", "new recovery codes were made for your account");
        http_add(c->r, "Cache-Control", STR_LIT("no-store"));
        rc = rest_send(c, json_pack("{s:o}", "recovery_codes", codes_json(&j)));
    }
    secret_wipe(&j, sizeof j);
    return rc;
}

static int send_made(struct factor_job *j)
{
    http_add(j->c->r, "Cache-Control", STR_LIT("no-store"));
    tell(j->c, "A second factor was added", "a second factor was added to your account");
    return rest_send(j->c, json_pack("{s:o,s:o}", "factor", factor_json(&j->row), "recovery_codes", j->codes_made ? codes_json(j) : json_null()));
}

/* --- authenticator apps */

static int totp_add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct factor_job *j = ch->arg;
    struct str name = rest_text(j->c->body, "name"), lookup = {(char *)j->lookup, sizeof j->lookup};
    struct buf sealed;
    int64_t n = 0;
    int rc = how_many(tx, ch->who->user_id, FACTOR_TOTP, &n, err);
    if (rc == 0 && n >= TOTP_MAX)
        return err_set(err, ERR_CONFLICT, "there are %d authenticator apps already: remove one first", TOTP_MAX);
    if (rc < 0 || (rc = db_exec(tx, DROP_BEGUN, DB_ARGS(DB_I(ch->who->user_id)), NULL, err)) < 0 ||
        (rc = db_exec(tx, ADD,
                      DB_ARGS(DB_I(ch->who->user_id), DB_I(FACTOR_TOTP), DB_I(0), DB_T(name.n ? name : STR_LIT("Authenticator app")), DB_B(lookup),
                              DB_B(STR_LIT("")), DB_I(-1), DB_I(0), DB_I(clock_now())),
                      NULL, err)) < 0 ||
        (rc = db_one(tx, BY_LOOKUP, DB_ARGS(DB_B(lookup)), factor_map, &j->row, err)) < 0)
        return rc;
    buf_init(&sealed, 256);
    (void)pthread_mutex_lock(&j->ident->seal_lock);
    rc = seal_close(&j->ident->seal, (struct seal_place){"factors", "data", j->row.id}, (struct str){(char *)j->secret, sizeof j->secret}, &sealed, err);
    (void)pthread_mutex_unlock(&j->ident->seal_lock);
    if (rc == 0)
        rc = db_exec(tx, SET_DATA, DB_ARGS(DB_I(j->row.id), DB_B(buf_view(&sealed))), NULL, err);
    buf_release(&sealed);
    return rc;
}

static int totp_begin(struct rest_call *c, struct err *err)
{
    struct factor_job j = {.c = c};
    struct change ch = own_change(&j, totp_add, "factor.totp.begin");
    char text[TOTP_SECRET_TEXT + 1];
    struct buf uri;
    int rc = wants_user(c, err);
    if (rc < 0)
        return rc;
    totp_secret_make(j.secret);
    secret_random(j.lookup, sizeof j.lookup);
    if ((rc = change_run(c->r, &ch, err)) < 0)
        return rc;
    totp_secret_text(j.secret, text);
    buf_init(&uri, 1024);
    totp_uri(&uri, j.secret, str_of(j.ident->service), str_of(req_principal(c->r)->name));
    http_add(c->r, "Cache-Control", STR_LIT("no-store"));
    rc = rest_send(c, json_pack("{s:I,s:s,s:s%}", "id", (json_int_t)j.row.id, "secret", text, "uri", uri.p, uri.n));
    secret_wipe(text, sizeof text);
    secret_wipe(uri.p, uri.n);
    secret_wipe(&j, sizeof j);
    buf_release(&uri);
    return rc;
}

static int find(struct db_tx *tx, struct factor_job *j, int64_t account_id, struct err *err)
{
    uint64_t id = 0;
    if (!str_u64(j->c->r->parts[0], &id) || id > INT64_MAX)
        return err_set(err, ERR_NOT_FOUND, "there is no such factor");
    int rc = db_one(tx, BY_ID, DB_ARGS(DB_I(account_id), DB_I((int64_t)id)), factor_map, &j->row, err);
    return rc == 0 ? err_set(err, ERR_NOT_FOUND, "there is no such factor") : rc < 0 ? rc : 0;
}

static int confirm(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct factor_job *j = ch->arg;
    int rc = find(tx, j, ch->who->user_id, err);
    if (rc < 0)
        return rc;
    if (j->row.kind != FACTOR_TOTP || j->row.state != 0)
        return err_set(err, ERR_CONFLICT, "this factor is confirmed");
    if ((rc = factor_tx_totp(tx, j->ident, &j->row, rest_text(j->c->body, "code"), err)) == ERR_UNAUTHORIZED)
        return rest_wrong(j->c, err, "code", "is not the app's code of this moment: check the clock of the device");
    if (rc == 0)
        rc = db_exec(tx, SET_GOOD, DB_ARGS(DB_I(j->row.id)), NULL, err);
    return rc < 0 ? rc : first_codes(tx, j, ch->who->user_id, err);
}

static int totp_confirm_run(struct rest_call *c, struct err *err)
{
    struct factor_job j = {.c = c};
    struct change ch = own_change(&j, confirm, "factor.totp.add");
    struct str name = ch.object;
    int rc = wants_user(c, err);
    if (rc == 0)
        rc = fail_account_check(j.ident, c->r, FAIL_FACTOR, name, true, err);
    if (rc < 0)
        return rc;
    recovery_make(j.ident->credential_key, j.codes);
    rc = change_run(c->r, &ch, err);
    if (rc == ERR_FIELDS)
        fail_account_count(j.ident, c->r, FAIL_FACTOR, name, true);
    if (rc == 0)
        rc = send_made(&j);
    secret_wipe(&j, sizeof j);
    return rc;
}

/* --- security keys */

static int ceremony_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct factor_job *j = arg;
    int64_t account_id = req_principal(j->c->r)->user_id;
    char hex[2 * WEBAUTHN_CHALLENGE + 1];
    int rc = factor_ids(tx, account_id, &j->c->r->arena, &j->ids, &j->n_ids, err);
    hex_encode(hex, j->ask.challenge, sizeof j->ask.challenge);
    return rc < 0 ? rc : once_tx_add(tx, ONCE_REGISTER, j->ticket.hash, account_id, str_of(hex), (int64_t)WEBAUTHN_TIMEOUT * 1000000, err);
}

static int named_host(const struct ident *i, struct err *err)
{
    return i->rp_id[0] ? 0 : err_set(err, ERR_CONFLICT, "security keys need a host name in public_url: an address is none");
}

static int key_options_run(struct rest_call *c, struct err *err)
{
    struct factor_job j = {.c = c, .ident = ident_of(c->r)};
    const struct principal *p = req_principal(c->r);
    struct buf json;
    uint8_t handle[32];
    int rc = wants_user(c, err);
    if (rc < 0 || (rc = named_host(j.ident, err)) < 0)
        return rc;
    j.ask.site = factor_site(j.ident);
    secret_random(j.ask.challenge, sizeof j.ask.challenge);
    once_make(j.ident, &j.ticket);
    if ((rc = db_write(j.ident->db, ceremony_write, &j, err)) < 0)
        return rc;
    factor_handle(j.ident, p->user_id, handle);
    buf_init(&json, 128 << 10);
    webauthn_creation_json(&json, &j.ask, (struct str){(char *)handle, sizeof handle}, str_of(p->name), str_of(p->name), j.ids, j.n_ids);
    rc = rest_send(c, json_pack("{s:s,s:s%}", "ticket", j.ticket.text, "options", json.p, json.n));
    buf_release(&json);
    return rc;
}

/* The challenge goes before its answer is looked at. */
static int ceremony_take(struct db_tx *tx, void *arg, struct err *err)
{
    struct factor_job *j = arg;
    int rc = once_tx_find(tx, ONCE_REGISTER, j->ticket.hash, &j->ceremony, err);
    if (rc == 1)
        rc = once_tx_use(tx, j->ceremony.id, err);
    if (rc == 0 || (rc == 1 && j->ceremony.account_id != req_principal(j->c->r)->user_id))
        return err_set(err, ERR_CONFLICT, "this took too long: begin again");
    return rc < 0 ? rc : 0;
}

static int key_add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct factor_job *j = ch->arg;
    const struct webauthn_credential *w = &j->made;
    struct str id = {(const char *)w->id, w->id_n}, name = rest_text(j->c->body, "name");
    int64_t n = 0;
    int rc = how_many(tx, ch->who->user_id, FACTOR_WEBAUTHN, &n, err);
    if (rc == 0 && n >= KEYS_MAX)
        return err_set(err, ERR_CONFLICT, "there are %d security keys already: remove one first", KEYS_MAX);
    if (rc < 0 || (rc = db_one(tx, BY_LOOKUP, DB_ARGS(DB_B(id)), factor_map, &j->row, err)) != 0)
        return rc < 0 ? rc : err_set(err, ERR_EXISTS, "this security key is registered already");
    rc = db_exec(tx, ADD,
                 DB_ARGS(DB_I(ch->who->user_id), DB_I(FACTOR_WEBAUTHN), DB_I(1), DB_T(name.n ? name : STR_LIT("Security key")), DB_B(id),
                         DB_B(((struct str){(const char *)w->key, w->key_n})), DB_I(w->count),
                         DB_I((w->backup_eligible ? 1 : 0) | (w->backed_up ? 2 : 0)), DB_I(clock_now())),
                 NULL, err);
    if (rc < 0 || (rc = db_one(tx, BY_LOOKUP, DB_ARGS(DB_B(id)), factor_map, &j->row, err)) < 0)
        return rc;
    return first_codes(tx, j, ch->who->user_id, err);
}

static int key_register(struct rest_call *c, struct err *err)
{
    struct factor_job j = {.c = c};
    struct change ch = own_change(&j, key_add, "factor.webauthn.add");
    int rc = wants_user(c, err);
    if (rc < 0 || (rc = named_host(j.ident, err)) < 0 || (rc = once_hash(j.ident, rest_text(c->body, "ticket"), j.ticket.hash, NULL)) < 0)
        return rc == ERR_UNAUTHORIZED ? err_set(err, ERR_CONFLICT, "this took too long: begin again") : rc;
    if ((rc = db_write(j.ident->db, ceremony_take, &j, err)) < 0)
        return rc;
    j.ask.site = factor_site(j.ident);
    if (hex_decode(j.ask.challenge, str_of(j.ceremony.payload)) < 0)
        return err_set(err, ERR_CORRUPT, "a challenge has the wrong form");
    rc = webauthn_answer_parse(&c->r->arena, rest_text(c->body, "credential"), &j.answer, err);
    if (rc == 0)
        rc = webauthn_register(&j.ask, &j.answer, &j.made, err);
    if (rc == ERR_INVALID || rc == ERR_UNAUTHORIZED)
        return rest_wrong(c, err, "credential", "was refused: %s", err->text);
    recovery_make(j.ident->credential_key, j.codes);
    if (rc == 0 && (rc = change_run(c->r, &ch, err)) == 0)
        rc = send_made(&j);
    secret_wipe(&j.codes, sizeof j.codes);
    return rc;
}

/* --- removing */

static int drop(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct factor_job *j = ch->arg;
    int rc = find(tx, j, ch->who->user_id, err);
    if (rc < 0 || (rc = db_exec(tx, DROP, DB_ARGS(DB_I(j->row.id)), NULL, err)) < 0 || (rc = factor_tx_any(tx, ch->who->user_id, err)) < 0)
        return rc;
    return rc == 1 ? 0 : db_exec(tx, DROP_CODES, DB_ARGS(DB_I(ch->who->user_id)), NULL, err);
}

static int drop_run(struct rest_call *c, struct err *err)
{
    struct factor_job j = {.c = c};
    struct change ch = own_change(&j, drop, "factor.remove");
    int rc = wants_user(c, err);
    if (rc < 0 || (rc = change_run(c->r, &ch, err)) < 0)
        return rc;
    tell(c, "A second factor was removed", "a second factor was removed from your account");
    return rest_send(c, NULL);
}

static int reset(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct account a;
    int rc = account_tx_user(tx, ch->object, &a, err);
    if (rc < 0 || (rc = db_exec(tx, DROP_ALL, DB_ARGS(DB_I(a.id)), NULL, err)) < 0)
        return rc;
    return account_tx_end_logins(tx, a.id, err);
}

static int reset_run(struct rest_call *c, struct err *err)
{
    struct str name = c->r->parts[0];
    struct change ch = {.fn = reset, .accounts = {name}, .action = "factor.reset", .object = name};
    int rc = api_fresh(c->r, err);
    if (rc < 0 || (rc = change_run(c->r, &ch, err)) < 0)
        return rc;
    return rest_send(c, NULL);
}

/* --- keys/seal.keys */

static int rotated(struct db_tx *tx, struct change *ch, struct err *err)
{
    (void)tx, (void)ch, (void)err;
    return 0;
}

static int rotate_run(struct rest_call *c, struct err *err)
{
    struct change ch = {.fn = rotated, .action = "keys.rotate", .object = STR_LIT("seal.keys")};
    int64_t n = 0;
    int rc = factor_keys_rotate(ident_of(c->r), &n, err);
    if (rc < 0 || (rc = change_run(c->r, &ch, err)) < 0)
        return rc;
    return rest_send(c, json_pack("{s:I}", "resealed", (json_int_t)n));
}

const struct rest_route factor_routes[] = {
    {REST_GET("/me/factors", "factor_list", RIGHT_OWN), list_run, "List the own second factors", "login", .answer = &factor, .cursor = "i"},
    {REST_POST("/me/factors/totp", "factor_totp_begin", RIGHT_OWN), totp_begin, "Add an authenticator app: its secret", "login",
     .body = &totp_new, .answer = &totp_begun, .status = 201},
    {REST_POST("/me/factors/{id}/confirm", "factor_totp_confirm", RIGHT_OWN), totp_confirm_run, "Add an authenticator app: a first code",
     "login", .body = &totp_confirm, .answer = &factor_made},
    {REST_ASK("/me/factors/webauthn/options", "factor_key_options", RIGHT_OWN), key_options_run, "Add a security key: what to ask it", "login",
     .answer = &key_options, .also = {409}},
    {REST_POST("/me/factors/webauthn", "factor_key_add", RIGHT_OWN), key_register, "Add a security key or passkey", "login", .body = &key_new,
     .answer = &factor_made, .status = 201},
    {REST_DELETE("/me/factors/{id}", "factor_remove", RIGHT_OWN), drop_run, "Remove a second factor", "login"},
    {REST_GET("/me/recovery-codes", "recovery_left", RIGHT_OWN), codes_left_run, "How many recovery codes are left", "login",
     .answer = &codes_left},
    {REST_POST("/me/recovery-codes", "recovery_renew", RIGHT_OWN), codes_renew, "Make new recovery codes", "login", .answer = &codes_made},
    {REST_GET("/me/sessions", "session_list", RIGHT_OWN), session_list, "List browsers that are logged in", "login",
     .answer = &session_shape, .cursor = "i"},
    {REST_DELETE("/me/sessions/{id}", "session_end", RIGHT_OWN), session_drop, "Log a browser out", "login"},
    {REST_DELETE("/me/sessions", "session_end_all", RIGHT_OWN), session_drop_all, "End all logins of the account: browsers and API tokens", "login"},
    {REST_DELETE("/users/{user}/factors", "user_factors_reset", RIGHT_USER), reset_run, "Remove all second factors of a user", "users"},
    {REST_POST("/keys/rotate", "keys_rotate", RIGHT_SITE_SETTINGS), rotate_run, "Seal secrets under a new key", "site", .answer = &resealed},
};
const size_t n_factor_routes = ARRAY_LEN(factor_routes);
