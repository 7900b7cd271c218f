/* TLS: certificates loaded at start and on reload, or made here when asked for. TLS 1.2 and 1.3 with
 * AEAD suites only. */
#include "http/http_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int ssl_err(struct err *err, const char *what, const char *file)
{
    char text[160];
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    ERR_clear_error();
    return err_set(err, ERR_USAGE, "%s %s: %s", what, file, text);
}

static bool sync_directory(const char *path)
{
    auto_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0;
}

/* Whole or not there: half a file after a crash would stop every later start. */
static int write_pem(const char *dir, const char *path, int (*fn)(FILE *, void *), void *what,
                     struct err *err)
{
    size_t n = strlen(path);
    auto_free char *temp = mem_alloc(n + sizeof ".new");
    memcpy(temp, path, n);
    memcpy(temp + n, ".new", sizeof ".new");
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL) {
        if (fd >= 0)
            close(fd);
        return err_sys(err, ERR_IO, "cannot write %s", temp);
    }
    bool ok = fn(f, what) == 1 && fflush(f) == 0 && fsync(fd) == 0;
    ok = fclose(f) == 0 && ok;
    if (ok && rename(temp, path) == 0 && sync_directory(dir))
        return 0;
    return err_sys(err, ERR_IO, "cannot write %s", path);
}

static int put_key(FILE *f, void *k) { return PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL); }
static int put_cert(FILE *f, void *x) { return PEM_write_X509(f, x); }

/* Names under which clients may ask: this host's, that of public_url, those listened on. */
static void add_name(struct buf *b, struct str host)
{
    char text[256];
    uint8_t raw[16];
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct str){host.p + 1, host.n - 2};
    if (host.n == 0 || host.n >= sizeof text || str_is(host, "0.0.0.0") || str_is(host, "::"))
        return;
    text_copy(text, sizeof text, host);
    bool ip = inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1;
    buf_printf(b, "%s%s:%s", b->n ? "," : "", ip ? "IP" : "DNS", text);
}

static void names_of(const struct config *c, struct buf *b)
{
    char host[256] = "";
    struct str rest = str_of(config_text(c, LISTEN)), one, url = str_of(config_text(c, PUBLIC_URL));
    add_name(b, STR_LIT("localhost"));
    add_name(b, STR_LIT("127.0.0.1"));
    add_name(b, STR_LIT("::1"));
    gethostname(host, sizeof host - 1);
    add_name(b, str_of(host));
    while (str_split(&rest, ',', &one))
        add_name(b, without_port(one));
    if (str_starts(url, STR_LIT("https://")))
        add_name(b, without_port((struct str){url.p + 8, url.n - 8}));
}

static bool add_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static X509 *sign_self(EVP_PKEY *key, const char *names)
{
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), (long)(clock_now() / 1000000));
    X509_gmtime_adj(X509_getm_notBefore(x), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x), 10L * 365 * 86400);
    X509_set_pubkey(x, key);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"berth", -1, -1, 0);
    X509_set_issuer_name(x, name);
    if (add_extension(x, NID_subject_alt_name, names) && add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(x, NID_key_usage, "critical,digitalSignature") && add_extension(x, NID_ext_key_usage, "serverAuth") &&
        X509_sign(x, key, EVP_sha256()) != 0)
        return x;
    X509_free(x);
    return NULL;
}

static void *read_pem(const char *path, void *(*fn)(FILE *))
{
    FILE *f = fopen(path, "re");
    void *p = f ? fn(f) : NULL;
    if (f)
        fclose(f);
    return p;
}

static void *get_key(FILE *f) { return PEM_read_PrivateKey(f, NULL, NULL, NULL); }
static void *get_cert(FILE *f) { return PEM_read_X509(f, NULL, NULL, NULL); }

static const ASN1_OCTET_STRING *names_in(const X509 *x)
{
    int at = X509_get_ext_by_NID(x, NID_subject_alt_name, -1);
    return at < 0 ? NULL : X509_EXTENSION_get_data(X509_get_ext(x, at));
}

/* One made earlier serves on while its key, its names and its time are right. */
static bool still_right(const char *path, const X509 *want, EVP_PKEY *key)
{
    X509 *x = read_pem(path, get_cert);
    const ASN1_OCTET_STRING *have = x ? names_in(x) : NULL;
    bool ok = have != NULL && ASN1_OCTET_STRING_cmp(have, names_in(want)) == 0 && X509_check_private_key(x, key) == 1 &&
              X509_cmp_current_time(X509_get0_notAfter(x)) > 0;
    X509_free(x);
    ERR_clear_error();
    return ok;
}

/* DATA/keys/self.key, made once, and self.crt, made again when the names change. */
static int self_signed(const struct config *c, const char *cert, const char *key, const char *dir, struct err *err)
{
    struct buf names;
    int rc = 0;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_sys(err, ERR_IO, "cannot make %s", dir);
    buf_init(&names, 64 << 10);
    names_of(c, &names);
    bool fresh = access(key, F_OK) != 0; /* one that cannot be read now is not replaced: clients know it */
    EVP_PKEY *k = fresh ? EVP_EC_gen("P-256") : read_pem(key, get_key);
    if (fresh && k != NULL)
        rc = write_pem(dir, key, put_key, k, err);
    X509 *x = k ? sign_self(k, names.p) : NULL;
    if (rc == 0 && x == NULL)
        rc = ssl_err(err, k ? "cannot make" : "cannot use the key of", cert);
    if (rc == 0 && !still_right(cert, x, k))
        rc = write_pem(dir, cert, put_cert, x, err);
    X509_free(x);
    EVP_PKEY_free(k);
    buf_release(&names);
    return rc;
}

static int load_context(const char *cert, const char *key, SSL_CTX **ret, struct err *err)
{
    SSL_CTX *t = SSL_CTX_new(TLS_server_method());
    BUG_ON(t == NULL);
    SSL_CTX_set_min_proto_version(t, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(t, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_options(t, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(t, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_num_tickets(t, 1);
    int rc = 0;
    if (SSL_CTX_use_certificate_chain_file(t, cert) != 1)
        rc = ssl_err(err, "tls_cert", cert);
    else if (SSL_CTX_use_PrivateKey_file(t, key, SSL_FILETYPE_PEM) != 1)
        rc = ssl_err(err, "tls_key", key);
    else if (SSL_CTX_check_private_key(t) != 1)
        rc = ssl_err(err, "tls_key does not belong to tls_cert:", key);
    if (rc < 0)
        SSL_CTX_free(t);
    else
        *ret = t;
    return rc;
}

int tls_load(struct http_server *s, const struct config *c, struct err *err)
{
    const char *cert = config_text(c, TLS_CERT), *key = config_text(c, TLS_KEY);
    char dir[4096], self_cert[4200], self_key[4200];
    if (config_num(c, TLS_SELF_SIGNED)) {
        snprintf(dir, sizeof dir, "%.4000s/keys", config_text(c, DATA));
        snprintf(self_cert, sizeof self_cert, "%s/self.crt", dir);
        snprintf(self_key, sizeof self_key, "%s/self.key", dir);
        int rc = self_signed(c, self_cert, self_key, dir, err);
        if (rc < 0)
            return rc;
        cert = self_cert;
        key = self_key;
    }
    if (cert[0] == '\0')
        return 0;
    SSL_CTX *t;
    int rc = load_context(cert, key, &t, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&s->tls_lock);
    SSL_CTX *old = s->tls;
    s->tls = t;
    pthread_mutex_unlock(&s->tls_lock);
    SSL_CTX_free(old); /* connections hold their own reference */
    return 0;
}
