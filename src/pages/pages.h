/* pages: what a browser needs of the hub, as plain pages made on the server: log in, second factor, the own account,
 * invitations, forgotten passwords. The app in the browser comes later and needs none of these to change.
 *
 * A page is a client of /api/v1 in the same process (http_inner as the session's principal): what may be done, what is
 * valid and what is recorded stands there, once. Here is only how it looks, and what browsers need:
 *   cookie     `__Host-berth` (over http:// `berth`): HttpOnly, SameSite=Lax; the session's text, new at login and step-up
 *   forms      a token of the session in each, and Origin or Sec-Fetch-Site must be of this hub (T08)
 *   output     every value passes page_add, which escapes; CSP without inline code; scripts only where WebAuthn is (T09)
 *   step-up    what changes how one logs in asks for password or factor again after ten minutes */
#ifndef PAGES_PAGES_H
#define PAGES_PAGES_H
#include "http/http.h"
extern const struct http_route pages_routes[];
extern const size_t n_pages_routes;
#endif
