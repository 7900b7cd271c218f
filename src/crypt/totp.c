/* RFC 6238 over RFC 4226. See totp.h. */
#include "crypt/totp.h"
#include "crypt/secret.h"

#include <nettle/hmac.h>

void totp_secret_make(uint8_t secret[TOTP_SECRET]) { secret_random(secret, TOTP_SECRET); }

void totp_secret_text(const uint8_t secret[TOTP_SECRET], char text[TOTP_SECRET_TEXT + 1])
{
    (void)base32_encode(text, secret, TOTP_SECRET, 'A');
}

void totp_uri(struct buf *b, const uint8_t secret[TOTP_SECRET], struct str issuer, struct str account)
{
    char text[TOTP_SECRET_TEXT + 1];
    totp_secret_text(secret, text);
    buf_cstr(b, "otpauth://totp/");
    url_encode(b, issuer);
    buf_char(b, ':');
    url_encode(b, account);
    buf_printf(b, "?secret=%s&issuer=", text);
    url_encode(b, issuer);
    buf_printf(b, "&algorithm=SHA1&digits=%d&period=%d", TOTP_DIGITS, TOTP_PERIOD);
    secret_wipe(text, sizeof text);
}

void totp_code(const uint8_t secret[TOTP_SECRET], int64_t step, char code[TOTP_DIGITS + 1])
{
    struct hmac_sha1_ctx h;
    uint8_t counter[8], mac[SHA1_DIGEST_SIZE];
    for (int i = 0; i < 8; i++)
        counter[i] = (uint8_t)((uint64_t)step >> (56 - 8 * i));
    hmac_sha1_set_key(&h, TOTP_SECRET, secret);
    hmac_sha1_update(&h, sizeof counter, counter);
    hmac_sha1_digest(&h, sizeof mac, mac);
    const uint8_t *at = mac + (mac[19] & 15);
    uint32_t v = (uint32_t)(at[0] & 127) << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    for (int i = TOTP_DIGITS - 1; i >= 0; i--, v /= 10)
        code[i] = (char)('0' + v % 10);
    code[TOTP_DIGITS] = '\0';
    secret_wipe(&h, sizeof h);
    secret_wipe(mac, sizeof mac);
}

int totp_check(const uint8_t secret[TOTP_SECRET], struct str code, int64_t now, int64_t last_step,
               int64_t *ret_step, struct err *err)
{
    int64_t found = -1;
    if (code.n != TOTP_DIGITS)
        return err_set(err, ERR_UNAUTHORIZED, "a code of the authenticator app has %d digits", TOTP_DIGITS);
    for (int64_t step = now / TOTP_PERIOD - 1; step <= now / TOTP_PERIOD + 1; step++) {
        char want[TOTP_DIGITS + 1];
        totp_code(secret, step, want);
        int64_t hit = -(int64_t)secret_equal(want, code.p, TOTP_DIGITS); /* all ones or 0 */
        found = (step & hit) | (found & ~hit);
    }
    if (found < 0)
        return err_set(err, ERR_UNAUTHORIZED, "wrong code; is the clock of the device with the app right?");
    if (found <= last_step)
        return err_set(err, ERR_UNAUTHORIZED, "this code was used already; wait for the next one");
    *ret_step = found;
    return 0;
}
