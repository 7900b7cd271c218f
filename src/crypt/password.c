/* Passwords: Argon2id with 19 MiB, two passes, one lane (OWASP's second profile), and a line before
 * it, so that a burst of logins costs neither all memory nor all cores (T05).
 *
 * libsodium maps the 19 MiB for each call and unmaps it at the end, so memory goes back to the
 * system by itself (test_crypt checks it). */
#include "crypt/secret.h"

#include <pthread.h>
#include <sodium.h>

enum { ARGON_PASSES = 2, ARGON_MEMORY = 19 << 20, WAITING_MAX = 64 /* part of HTTP_ASIDE_MAX */ };
_Static_assert((int)PASSWORD_HASH_MAX >= (int)crypto_pwhash_STRBYTES, "an encoded hash fits");

/* What an unknown user's password is compared with: same parameters, salt and hash of nothing. */
static const char dummy_hash[] = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
                                 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static struct {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    int limit, running, waiting;
} line = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 2, 0, 0};

void password_setup(int concurrency)
{
    BUG_ON(concurrency < 1);
    (void)pthread_mutex_lock(&line.lock);
    line.limit = concurrency;
    (void)pthread_cond_broadcast(&line.freed);
    (void)pthread_mutex_unlock(&line.lock);
}

static int line_enter(struct err *err)
{
    int rc = 0;
    (void)pthread_mutex_lock(&line.lock);
    if (line.running >= line.limit && line.waiting >= WAITING_MAX) {
        rc = err_set(err, ERR_TOOMANYREQUESTS, "too many logins at once; try again in a moment");
    } else {
        line.waiting++;
        while (line.running >= line.limit)
            (void)pthread_cond_wait(&line.freed, &line.lock);
        line.waiting--;
        line.running++;
    }
    (void)pthread_mutex_unlock(&line.lock);
    return rc;
}

static void line_leave(void)
{
    (void)pthread_mutex_lock(&line.lock);
    line.running--;
    (void)pthread_cond_signal(&line.freed);
    (void)pthread_mutex_unlock(&line.lock);
}

int password_hash(struct str password, char ret[PASSWORD_HASH_MAX], struct err *err)
{
    if (password.n == 0 || password.n > PASSWORD_MAX)
        return err_set(err, ERR_INVALID, "a password has 1 to %d bytes", PASSWORD_MAX);
    int rc = line_enter(err);
    if (rc < 0)
        return rc;
    char out[crypto_pwhash_STRBYTES];
    rc = crypto_pwhash_str_alg(out, password.p, password.n, ARGON_PASSES, ARGON_MEMORY,
                               crypto_pwhash_ALG_ARGON2ID13);
    line_leave();
    if (rc != 0)
        return err_set(err, ERR_UNAVAILABLE, "not enough memory to hash a password");
    memcpy(ret, out, sizeof out);
    return 0;
}

int password_verify(const char *hash, struct str password, struct err *err)
{
    bool known = hash != NULL && password.n <= PASSWORD_MAX;
    if (password.n > PASSWORD_MAX)
        password.n = PASSWORD_MAX;
    char encoded[PASSWORD_HASH_MAX] = {0}; /* libsodium declares a full-size array */
    const char *from = known ? hash : dummy_hash;
    memcpy(encoded, from, strnlen(from, sizeof encoded - 1));
    int rc = line_enter(err);
    if (rc < 0)
        return rc;
    rc = crypto_pwhash_str_verify(encoded, password.n ? password.p : "", password.n);
    line_leave();
    if (rc != 0 || !known)
        return err_set(err, ERR_UNAUTHORIZED, "wrong user name or password");
    return 0;
}
