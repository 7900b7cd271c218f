/* Private: what the route files of /api/v1 share. */
#ifndef IDENT_API_H
#define IDENT_API_H
#include "ident/change.h"
#include "rest/rest.h"

/* Names as the documents say them. */
extern const struct rest_check check_account_name, check_repo_name, check_pattern, check_line, check_email;
extern const char *const words_level[], *const words_share[], *const words_member_role[], *const words_visibility[],
    *const words_access[], *const words_scope[];
const char *member_role_name(int64_t role);
enum member_role member_role_of(struct str word);
/* ERR_NOT_FOUND in the words of a hidden object. */
int api_absent(struct err *err, const char *what);
/* A text of a body: `keep` when it is absent, "" when it is null. */
struct str api_text(const json_t *body, const char *name, const char *keep);
/* An active user, or ERR_NOT_FOUND. */
int api_tx_user(struct db_tx *tx, struct str name, struct account *ret, struct err *err);
/* The route's organization (not a user); ERR_NOT_FOUND. */
int api_org(const struct account *a, struct err *err);

json_t *account_json(const struct account *a);
json_t *org_json(const struct account *a, int64_t role);

#endif
