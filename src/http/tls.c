/* TLS: certificates loaded at start and on reload, or made here when asked for. TLS 1.2 and 1.3 with
 * AEAD suites only. */
#include "http/http_int.h"

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

static X509 *sign_self(EVP_PKEY *key)
{
    X509 *x = X509_new();
    X509V3_CTX ctx;
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), (long)(clock_now() / 1000000));
    X509_gmtime_adj(X509_getm_notBefore(x), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x), 10L * 365 * 86400);
    X509_set_pubkey(x, key);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"berth", -1, -1, 0);
    X509_set_issuer_name(x, name);
    char host[256] = "localhost", san[400];
    gethostname(host, sizeof host - 1);
    snprintf(san, sizeof san, "DNS:localhost,IP:127.0.0.1,IP:::1,DNS:%s", host);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, san);
    if (e != NULL)
        X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    if (X509_sign(x, key, EVP_sha256()) == 0) {
        X509_free(x);
        return NULL;
    }
    return x;
}

/* DATA/keys/self.crt and self.key, made once. */
static int self_signed(const char *cert, const char *key, const char *dir, struct err *err)
{
    if (access(cert, R_OK) == 0 && access(key, R_OK) == 0)
        return 0;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_sys(err, ERR_IO, "cannot make %s", dir);
    EVP_PKEY *k = EVP_EC_gen("P-256");
    X509 *x = k ? sign_self(k) : NULL;
    int rc = x ? write_pem(dir, key, put_key, k, err) : ssl_err(err, "cannot make", cert);
    if (rc == 0)
        rc = write_pem(dir, cert, put_cert, x, err);
    X509_free(x);
    EVP_PKEY_free(k);
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
        int rc = self_signed(self_cert, self_key, dir, err);
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
