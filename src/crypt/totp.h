/* One-time codes of authenticator apps: RFC 6238 with what every app can do: HMAC-SHA-1, six digits,
 * 30 seconds. */
#ifndef CRYPT_TOTP_H
#define CRYPT_TOTP_H
#include "base/err.h"
enum { TOTP_SECRET = 20, TOTP_SECRET_TEXT = 32, TOTP_DIGITS = 6, TOTP_PERIOD = 30 /* seconds */ };
void totp_secret_make(uint8_t secret[TOTP_SECRET]);
/* Base32 in upper case, as people type it into an app. */
void totp_secret_text(const uint8_t secret[TOTP_SECRET], char text[TOTP_SECRET_TEXT + 1]);
/* otpauth://totp/ISSUER:ACCOUNT?secret=... for a QR code. */
void totp_uri(struct buf *b, const uint8_t secret[TOTP_SECRET], struct str issuer, struct str account);
/* The code of a step (seconds since 1970 / 30). */
void totp_code(const uint8_t secret[TOTP_SECRET], int64_t step, char code[TOTP_DIGITS + 1]);
/* now: seconds since 1970. Takes the code of this step, the one before and the one after (RFC 6238 §5.2),
 * if it is above last_step, the step of the last code that was taken (-1: none). *ret_step is what the
 * caller stores, by an update that demands that the stored step is still below it: of two uses at once
 * one wins (T13). ERR_UNAUTHORIZED, and its words tell a wrong code from a used one. Constant time. */
int totp_check(const uint8_t secret[TOTP_SECRET], struct str code, int64_t now, int64_t last_step,
               int64_t *ret_step, struct err *err);
#endif
