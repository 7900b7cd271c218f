/* Private: what the route files of /api/v1 share. */
#ifndef IDENT_API_H
#define IDENT_API_H
#include "ident/ident_int.h"
#include "rest/rest.h"

/* Names as the documents say them. */
extern const struct rest_check check_pattern, check_email;
extern const char *const words_level[], *const words_share[], *const words_member_role[], *const words_visibility[],
    *const words_access[], *const words_scope[];
/* ERR_NOT_FOUND in the words of a hidden object. */
int api_absent(struct err *err, const char *what);
/* ERR_PRECONDITION unless If-Match names the state that doc, as GET shows it, is in. doc is taken. */
int api_match(struct rest_call *c, json_t *doc, struct err *err);
/* A text of a body: `keep` when it is absent, "" when it is null. */
struct str api_text(const json_t *body, const char *name, const char *keep);

/* ERR_FRESH_LOGIN_REQUIRED unless the caller showed password or factor just now. */
int api_fresh(const struct http_req *r, struct err *err);

extern const struct rest_schema session_shape;
int session_list(struct rest_call *c, struct err *err);
int session_drop(struct rest_call *c, struct err *err);
int session_drop_all(struct rest_call *c, struct err *err);

#endif
