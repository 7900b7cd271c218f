/* hub: the HTTP API of Docker Hub below /v2/, for the clients that were written for it: field names, page shapes, statuses
 * and words are Hub's (docs/hub-api.md says what is offered). It knows no rules and, but for an order, no rows: what can be
 * read and changed is ident's (account.h) and the registry's (view.h), rights are the gate's.
 *
 * All rows take both slash forms, {repo} is one segment (a nested name is a%2Fb), parameters and fields that are not known
 * are dropped. */
#ifndef HUB_HUB_H
#define HUB_HUB_H
#include "db/db.h"
#include "rest/rest.h"

struct db *hub_db(const struct http_req *r); /* defined in app/app.c */
extern const struct rest_route hub_login_routes[], hub_user_routes[], hub_token_routes[], hub_org_routes[], hub_team_routes[],
    hub_repo_routes[], hub_tag_routes[];
extern const size_t n_hub_login_routes, n_hub_user_routes, n_hub_token_routes, n_hub_org_routes, n_hub_team_routes, n_hub_repo_routes,
    n_hub_tag_routes;
#endif
