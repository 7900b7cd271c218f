/* Hashes, passwords, signatures against published vectors; states that survive a restart. */
#include "crypt/hash.h"
#include "crypt/secret.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

static struct err err;
static uint64_t seed = 88172645463325252u;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void is_digest(enum digest_alg alg, const void *p, size_t n, const char *hex)
{
    struct digest d;
    char text[129];
    hash_bytes(alg, p, n, &d);
    hex_encode(text, d.bytes, d.len);
    assert_string_equal(text, hex);
}

/* FIPS 180-2 appendices B and C, NIST's example values. */
static void nist_vectors(void **state)
{
    (void)state;
    static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static const char four[] = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
                               "mnopqrstnopqrstu";
    is_digest(DIGEST_SHA256, "", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    is_digest(DIGEST_SHA256, "abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    is_digest(DIGEST_SHA256, two, 56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    is_digest(DIGEST_SHA512, "", 0,
              "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e");
    is_digest(DIGEST_SHA512, "abc", 3,
              "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    is_digest(DIGEST_SHA512, four, 112,
              "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909");
    auto_free char *million = mem_alloc(1000000);
    memset(million, 'a', 1000000);
    is_digest(DIGEST_SHA256, million, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    is_digest(DIGEST_SHA512, million, 1000000,
              "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973ebde0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b");
}

/* At every split, also twice in one stream: the imported state ends as if nothing had happened. */
static void states_survive(void **state)
{
    (void)state;
    uint8_t bytes[600], out[HASH_STATE_MAX];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)rnd();
    for (int alg = DIGEST_SHA256; alg <= DIGEST_SHA512; alg++)
        for (size_t total = 0; total <= sizeof bytes; total += total < 300 ? 1 : 37) {
            struct digest want, got;
            hash_bytes((enum digest_alg)alg, bytes, total, &want);
            for (size_t split = 0; split <= total; split++) {
                struct hash h, g;
                hash_init(&h, (enum digest_alg)alg);
                hash_update(&h, bytes, split);
                size_t n = hash_export(&h, out);
                assert_true(n <= HASH_STATE_MAX);
                memset(&g, 0xee, sizeof g);
                assert_int_equal(hash_import(&g, (struct str){(char *)out, n}), 0);
                assert_int_equal(g.bytes, split);
                size_t second = split + (total - split) / 2;
                hash_update(&g, bytes + split, second - split);
                n = hash_export(&g, out);
                assert_int_equal(hash_import(&h, (struct str){(char *)out, n}), 0);
                hash_update(&h, bytes + second, total - second);
                hash_final(&h, &got);
                assert_true(digest_eq(&want, &got));
                hash_final(&h, &got); /* final leaves h as it was */
                assert_true(digest_eq(&want, &got));
            }
        }
}

static void foreign_states_are_refused(void **state)
{
    (void)state;
    uint8_t out[HASH_STATE_MAX];
    struct hash h, kept;
    for (int alg = DIGEST_SHA256; alg <= DIGEST_SHA512; alg++) {
        hash_init(&h, (enum digest_alg)alg);
        hash_update(&h, "abcdef", 6);
        size_t n = hash_export(&h, out);
        assert_int_equal(out[0], 1);
        for (size_t cut = 0; cut < n; cut++)
            assert_int_equal(hash_import(&kept, (struct str){(char *)out, cut}), -1);
        out[n] = 0;
        assert_int_equal(hash_import(&kept, (struct str){(char *)out, n + 1}), -1);
        for (int v = 0; v < 256; v++) {
            out[0] = (uint8_t)v;
            assert_int_equal(hash_import(&kept, (struct str){(char *)out, n}), v == 1 ? 0 : -1);
        }
        out[0] = 1;
        for (int a = 0; a < 256; a++) {
            out[1] = (uint8_t)a;
            assert_int_equal(hash_import(&kept, (struct str){(char *)out, n}), a == alg ? 0 : -1);
        }
    }
    assert_int_equal(hash_import(&kept, (struct str){NULL, 0}), -1);
}

/* The layout is on disk, so it must not change: sha256 after 70 bytes of 'a'. */
static void the_state_layout_stays(void **state)
{
    (void)state;
    uint8_t out[HASH_STATE_MAX];
    char bytes[70], hex[2 * HASH_STATE_MAX + 1];
    struct hash h;
    memset(bytes, 'a', sizeof bytes);
    hash_init(&h, DIGEST_SHA256);
    hash_update(&h, bytes, sizeof bytes);
    size_t n = hash_export(&h, out);
    hex_encode(hex, out, n);
    assert_int_equal(n, 10 + 32 + 6);
    assert_memory_equal(hex, "01010000000000000046", 20);
    assert_string_equal(hex + 20 + 64, "616161616161");
}

/* --- secrets */

static void random_and_comparison(void **state)
{
    (void)state;
    char a[401], b[401];
    secret_random_hex(a, 200);
    secret_random_hex(b, 200);
    assert_int_equal(strlen(a), 400);
    assert_int_equal(strspn(a, "0123456789abcdef"), 400);
    for (size_t i = 0; i + 32 <= 400; i += 16) /* no part repeats, none is left zero */
        assert_memory_not_equal(a + i, b + i, 32);
    secret_random_hex(a, 0);
    assert_string_equal(a, "");
    assert_true(secret_equal("abc", "abc", 3) && !secret_equal("abc", "abd", 3) && secret_equal("a", "b", 0));
    char w[8] = "secret";
    secret_wipe(w, sizeof w);
    for (size_t i = 0; i < sizeof w; i++)
        assert_int_equal(w[i], 0);
    struct secret_tag x = secret_tag(STR_LIT("x")), again = secret_tag(STR_LIT("x")), y = secret_tag(STR_LIT("y"));
    assert_memory_equal(&x, &again, sizeof x);
    assert_memory_not_equal(&x, &y, sizeof x);
    secret_tag((struct str){NULL, 0});
}

static void passwords(void **state)
{
    (void)state;
    char hash[PASSWORD_HASH_MAX], other[PASSWORD_HASH_MAX];
    char longest[PASSWORD_MAX + 1];
    memset(longest, 'p', sizeof longest);
    assert_int_equal(password_hash(STR_LIT("correct horse"), hash, &err), 0);
    assert_memory_equal(hash, "$argon2id$v=19$m=19456,t=2,p=1$", 31);
    assert_int_equal(password_hash(STR_LIT("correct horse"), other, &err), 0);
    assert_string_not_equal(hash, other); /* salted */
    assert_int_equal(password_verify(hash, STR_LIT("correct horse"), &err), 0);
    assert_int_equal(password_verify(hash, STR_LIT("correct horsf"), &err), ERR_UNAUTHORIZED);
    assert_int_equal(password_verify(hash, STR_LIT("correct hors"), &err), ERR_UNAUTHORIZED);
    assert_int_equal(password_verify(hash, STR_LIT("correct horse\0"), &err), ERR_UNAUTHORIZED);
    assert_int_equal(password_verify(hash, STR_LIT(""), &err), ERR_UNAUTHORIZED);
    assert_int_equal(password_verify(hash, (struct str){NULL, 0}, &err), ERR_UNAUTHORIZED);
    assert_int_equal(password_verify(NULL, STR_LIT("correct horse"), &err), ERR_UNAUTHORIZED);
    assert_int_equal(password_verify("", STR_LIT("x"), &err), ERR_UNAUTHORIZED);
    assert_int_equal(password_verify("$argon2id$garbage", STR_LIT("x"), &err), ERR_UNAUTHORIZED);
    assert_string_equal(err.text, "wrong user name or password"); /* which of them is not told */
    assert_int_equal(password_hash(STR_LIT(""), hash, &err), ERR_INVALID);
    assert_int_equal(password_hash((struct str){longest, PASSWORD_MAX + 1}, hash, &err), ERR_INVALID);
    assert_int_equal(password_hash((struct str){longest, PASSWORD_MAX}, hash, &err), 0);
    assert_int_equal(password_verify(hash, (struct str){longest, PASSWORD_MAX}, &err), 0);
    assert_int_equal(password_verify(hash, (struct str){longest, PASSWORD_MAX + 1}, &err), ERR_UNAUTHORIZED);
}

/* A hash that another implementation made (argon2 reference, libsodium's test of the format). */
static void foreign_hash_verifies(void **state)
{
    (void)state;
    static const char hash[] = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    assert_int_equal(password_verify(hash, STR_LIT("password"), &err), 0);
    assert_int_equal(password_verify(hash, STR_LIT("differentpassword"), &err), ERR_UNAUTHORIZED);
}

/* T05: an unknown user costs what a wrong password costs: the same 19 MiB are filled. */
static long peak_growth(const char *hash)
{
    fflush(NULL);
    int p[2];
    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct rusage before, after;
        getrusage(RUSAGE_SELF, &before);
        (void)password_verify(hash, STR_LIT("guess"), NULL);
        getrusage(RUSAGE_SELF, &after);
        long kb = after.ru_maxrss - before.ru_maxrss;
        _exit(write(p[1], &kb, sizeof kb) == sizeof kb ? 0 : 1);
    }
    int status;
    long kb = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(p[0], &kb, sizeof kb), sizeof kb);
    close(p[0]);
    close(p[1]);
    return kb;
}

static void unknown_users_cost_the_same(void **state)
{
    (void)state;
    char hash[PASSWORD_HASH_MAX];
    assert_int_equal(password_hash(STR_LIT("secret"), hash, &err), 0);
    assert_true(peak_growth(hash) > 15000);
    assert_true(peak_growth(NULL) > 15000);
    assert_true(peak_growth("$argon2id$garbage") < 15000); /* the measure can tell */
}

/* The memory goes back after each hash, and only `concurrency` of them stand at once. */
struct login {
    int failures, busy;
};
static void *log_in(void *arg)
{
    struct login *l = arg;
    char hash[PASSWORD_HASH_MAX];
    int rc = password_hash(STR_LIT("x"), hash, NULL);
    l->busy += rc == ERR_TOOMANYREQUESTS;
    l->failures += rc != 0 && rc != ERR_TOOMANYREQUESTS;
    return NULL;
}

static long rss_peak_with_threads(int concurrency, int threads, int *ret_busy)
{
    fflush(NULL);
    int p[2];
    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    if (pid == 0) {
        enum { MOST = 128 };
        static struct login l[MOST];
        pthread_t t[MOST];
        struct rusage before, after;
        password_setup(concurrency);
        getrusage(RUSAGE_SELF, &before);
        for (int i = 0; i < threads; i++)
            if (pthread_create(&t[i], NULL, log_in, &l[i]) != 0)
                _exit(1);
        long out[2] = {0, 0};
        for (int i = 0; i < threads; i++) {
            pthread_join(t[i], NULL);
            if (l[i].failures != 0)
                _exit(2);
            out[1] += l[i].busy;
        }
        getrusage(RUSAGE_SELF, &after);
        out[0] = after.ru_maxrss - before.ru_maxrss;
        _exit(write(p[1], out, sizeof out) == sizeof out ? 0 : 1);
    }
    int status;
    long out[2] = {-1, -1};
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(p[0], out, sizeof out), sizeof out);
    close(p[0]);
    close(p[1]);
    *ret_busy = (int)out[1];
    return out[0];
}

#if defined(__SANITIZE_THREAD__)
enum { SHADOWED = 1 }; /* ThreadSanitizer's shadow memory drowns the measure */
#elif defined(__has_feature)
enum { SHADOWED = __has_feature(thread_sanitizer) };
#else
enum { SHADOWED = 0 };
#endif

static void logins_wait_in_a_bounded_line(void **state)
{
    (void)state;
    int busy;
    long one = rss_peak_with_threads(1, 16, &busy);
    assert_int_equal(busy, 0); /* 16 fit in the line */
    assert_true(one < 2 * 19456 || SHADOWED);
    long two = rss_peak_with_threads(2, 24, &busy);
    assert_int_equal(busy, 0);
    assert_true(two < 3 * 19456 || SHADOWED);
    (void)rss_peak_with_threads(1, 128, &busy); /* 64 may wait, the rest hears 429 at once */
    assert_true(busy > 0 && busy <= 128 - 65);
}

/* --- signatures: RFC 8032 §7.1, tests 1 to 3 */

static void ed25519_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *seed, *pub, *msg, *sig;
    } rows[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t raw[32], msg[8], sig[64];
        char hex[129];
        struct sign_key k;
        assert_int_equal(hex_decode(raw, str_of(rows[i].seed)), 0);
        assert_int_equal(hex_decode(msg, str_of(rows[i].msg)), 0);
        sign_key_from_seed(&k, raw);
        hex_encode(hex, k.pub, 32);
        assert_string_equal(hex, rows[i].pub);
        struct str m = {(char *)msg, strlen(rows[i].msg) / 2};
        sign_make(&k, m, sig);
        hex_encode(hex, sig, 64);
        assert_string_equal(hex, rows[i].sig);
        assert_true(sign_check(&k, m, sig));
        for (int bit = 0; bit < 512; bit++) { /* any changed bit is noticed */
            sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(sign_check(&k, m, sig));
            sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_false(sign_check(&k, STR_LIT("another"), sig));
        struct digest d;
        hash_bytes(DIGEST_SHA256, k.pub, 32, &d);
        hex_encode(hex, d.bytes, 8);
        assert_string_equal(k.kid, hex);
        assert_int_equal(strlen(k.kid), 16);
    }
}

static int set_up(void **state)
{
    (void)state;
    return secret_setup(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nist_vectors), cmocka_unit_test(states_survive), cmocka_unit_test(foreign_states_are_refused),
        cmocka_unit_test(the_state_layout_stays), cmocka_unit_test(random_and_comparison), cmocka_unit_test(passwords),
        cmocka_unit_test(foreign_hash_verifies), cmocka_unit_test(unknown_users_cost_the_same),
        cmocka_unit_test(logins_wait_in_a_bounded_line), cmocka_unit_test(ed25519_vectors),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
