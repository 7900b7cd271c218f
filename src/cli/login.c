/* Logins to hubs: made, ended, and handed to docker. */
#include "base/json.h"
#include "cli/cli.h"
#include "crypt/token_text.h"
#include "net/egress.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NAME_LEN = 300, ASKED_MAX = 64 << 10 };

static int failed(const struct err *err)
{
    print_error(err->text);
    return err->code == ERR_USAGE || err->code == ERR_INVALID ? CLI_USAGE : CLI_FAILED;
}

static bool is_token(struct str s)
{
    enum token_kind kind;
    return token_text_parse(s, &kind, NULL) == 0;
}

/* --- log in */

struct login {
    const struct cli_args *args;
    char host[NAME_LEN], url[NAME_LEN + 16], user[NAME_LEN];
    char *ca; /* absolute: later commands run elsewhere */
    struct remote *remote;
    json_t *entry;
};

static bool is_loopback(const struct net_url *u)
{
    return strcmp(u->host, "localhost") == 0 || strcmp(u->host, "::1") == 0 || (u->literal && strncmp(u->host, "127.", 4) == 0);
}

static int try_url(struct login *l, const char *scheme, struct err *err)
{
    int status = 0;
    json_t *answer = NULL;
    snprintf(l->url, sizeof l->url, "%s://%s", scheme, l->host);
    remote_close(take(&l->remote));
    int rc = remote_open_url(&l->remote, l->url, l->ca, err);
    if (rc == 0)
        rc = remote_send(l->remote, "GET", "/api/v1/openapi.json", NULL, -1, &status, &answer, err);
    if (rc == 0 && (status != 200 || !json_object_get(answer, "openapi")))
        rc = err_set(err, ERR_UNAVAILABLE, "%s is no hub of Berth", l->url);
    json_decref(answer);
    return rc;
}

/* HTTPS; with localhost, where nobody listens in, also HTTP. Others must say --insecure. */
static int find_hub(struct login *l, struct err *err)
{
    struct net_url u;
    bool insecure = args_flag(l->args, "insecure");
    host_name(l->args->operands[0], l->host);
    snprintf(l->url, sizeof l->url, "https://%s", l->host);
    int rc = net_url_parse(str_of(l->url), &u, err);
    if (rc < 0)
        return rc;
    rc = try_url(l, insecure ? "http" : "https", err);
    if (rc == ERR_UNAVAILABLE && !insecure && is_loopback(&u)) {
        struct err plain = {0};
        if (try_url(l, "http", &plain) == 0)
            return 0;
    }
    return rc;
}

static int ask_user(struct login *l, struct err *err)
{
    const char *given = args_value(l->args, "user");
    struct buf line;
    if (given) {
        text_copy(l->user, sizeof l->user, str_of(given));
        return 0;
    }
    int rc = line_read(&line, "User: ", err);
    text_copy(l->user, sizeof l->user, buf_view(&line));
    buf_release(&line);
    return rc;
}

/* A token is kept as it is; the hub says whose it is. */
static int take_token(struct login *l, struct str token)
{
    struct err err = {0};
    int status = 0, rc = CLI_OK;
    json_t *me = NULL;
    remote_bearer(l->remote, token);
    if (remote_send(l->remote, "GET", "/api/v1/me", NULL, -1, &status, &me, &err) < 0)
        rc = failed(&err);
    else if (status != 200)
        rc = api_problem(status, me);
    const char *name = json_string_value(json_object_get(me, "name"));
    if (rc == CLI_OK && !name)
        rc = print_error("the hub does not say whose token it is");
    if (rc == CLI_OK)
        l->entry = json_pack("{s:s,s:s,s:s%}", "url", l->url, "user", name, "token", token.p, token.n);
    json_decref(me);
    return rc;
}

/* The password is not kept: it makes a token for this machine. */
static int make_token(struct login *l, struct str password)
{
    struct err err = {0};
    char machine[128] = "", name[200];
    int status = 0;
    json_t *made = NULL;
    const char *scope = args_value(l->args, "scope");
    if (l->user[0] == '\0') {
        print_error("who? give --user NAME, or a token");
        return CLI_USAGE;
    }
    int rc = api_login(l->remote, l->user, password);
    if (rc != CLI_OK)
        return rc;
    (void)gethostname(machine, sizeof machine - 1);
    snprintf(name, sizeof name, "berth on %.80s", machine);
    json_t *body = json_pack("{s:s,s:[{s:s,s:s}]}", "name", name, "bounds", "pattern", "*", "scope", scope ? scope : "admin");
    if (!body || remote_send(l->remote, "POST", "/api/v1/tokens", body, -1, &status, &made, &err) < 0)
        rc = body ? failed(&err) : print_error("the machine's name must be UTF-8 text");
    else if (status != 201)
        rc = api_problem(status, made);
    const char *token = json_string_value(json_object_get(made, "token"));
    if (rc == CLI_OK && !token)
        rc = print_error("the hub made no token");
    if (rc == CLI_OK)
        l->entry = json_pack("{s:s,s:s,s:s}", "url", l->url, "user", l->user, "token", token);
    json_decref(body);
    json_decref(made);
    return rc;
}

/* Ends a token by its text; a password that docker left is none. */
static int revoke_token(struct remote *r, const json_t *entry, struct err *err)
{
    const char *token = json_string_value(json_object_get(entry, "token"));
    int status = 0, rc = 0;
    json_t *answer = NULL;
    if (!token || !is_token(str_of(token)))
        return 0;
    json_t *body = json_pack("{s:s}", "token", token);
    remote_bearer(r, str_of(token));
    rc = remote_send(r, "POST", "/api/v1/tokens/revoke", body, -1, &status, &answer, err);
    if (rc == 0 && status != 404 && (status < 200 || status > 299))
        rc = err_set(err, ERR_UNAVAILABLE, "the hub answered with status %d", status);
    json_decref(body);
    json_decref(answer);
    return rc;
}

/* The login of before is of no use any more. */
static int keep(struct login *l)
{
    struct err err = {0};
    json_t *before = NULL;
    const char *user = json_string_value(json_object_get(l->entry, "user"));
    bool same = false;
    if (l->ca)
        json_object_set_new(l->entry, "ca", json_string(l->ca));
    int rc = hosts_get(l->host, &before, &err);
    if (rc >= 0)
        rc = hosts_put(l->host, json_incref(l->entry), &err);
    if (rc < 0)
        return failed(&err);
    same = json_equal(json_object_get(before, "token"), json_object_get(l->entry, "token"));
    if (before && !same && json_equal(json_object_get(before, "url"), json_object_get(l->entry, "url")) &&
        revoke_token(l->remote, before, &err) < 0)
        print_error(err.text);
    json_decref(before);
    char said[2 * NAME_LEN];
    snprintf(said, sizeof said, "logged in to %.280s as %.280s", l->host, user);
    if (l->args->json) {
        printf("{\"done\":{}}\n");
        return CLI_OK;
    }
    print_line(said);
    return CLI_OK;
}

static int log_in(struct login *l)
{
    struct err err = {0};
    struct buf secret;
    const char *ca = args_value(l->args, "ca"), *scope = args_value(l->args, "scope");
    if (scope && !cli_is_word("public-read|read|write|delete|admin", scope)) {
        print_error("--scope takes one of public-read, read, write, delete, admin");
        return CLI_USAGE;
    }
    if (ca && !(l->ca = realpath(ca, NULL))) {
        err_sys(&err, ERR_USAGE, "cannot read %s", ca);
        return failed(&err);
    }
    int rc = find_hub(l, &err) < 0 || ask_user(l, &err) < 0 ? failed(&err) : CLI_OK;
    if (rc != CLI_OK)
        return rc;
    if (password_read(&secret, "Password or token: ", false, &err) < 0)
        rc = failed(&err);
    else
        rc = is_token(buf_view(&secret)) ? take_token(l, buf_view(&secret)) : make_token(l, buf_view(&secret));
    password_release(&secret);
    return rc == CLI_OK ? keep(l) : rc;
}

int run_login(const struct cli_args *a)
{
    struct login l = {.args = a};
    int rc = log_in(&l);
    remote_close(l.remote);
    json_decref(l.entry);
    free(l.ca);
    return rc;
}

/* --- log out */

int run_logout(const struct cli_args *a)
{
    struct err err = {0};
    char host[NAME_LEN], said[NAME_LEN + 64];
    json_t *entry = NULL;
    struct remote *r = NULL;
    host_name(a->operands[0], host);
    int rc = hosts_get(host, &entry, &err);
    if (rc == 0) {
        snprintf(said, sizeof said, "not logged in to %.280s", host);
        print_error(said);
        return CLI_NOT_FOUND;
    }
    if (rc == 1)
        rc = remote_open(&r, host, NULL, false, &err);
    bool ended = rc == 0 && (rc = revoke_token(r, entry, &err)) == 0;
    if (rc == 0 || r) /* forgotten in any case: without the hub there is nothing else to do */
        if (hosts_put(host, NULL, ended ? &err : NULL) < 0)
            ended = false;
    if (!ended && r) {
        char text[ERR_TEXT_MAX + 128];
        snprintf(text, sizeof text, "the login is forgotten here, but its token was not revoked: %s", err.text);
        print_error(text);
    } else if (!ended) {
        print_error(err.text);
    }
    if (ended && a->json)
        printf("{\"done\":{}}\n");
    remote_close(r);
    json_decref(entry);
    return ended ? CLI_OK : CLI_FAILED;
}

/* --- Docker's credential helper (docker-credential-helpers, "Development"): one word says what to do, the rest is
 * on standard input; what is wrong is said on standard output */

static const char NOT_FOUND[] = "credentials not found in native keychain";

static int said(const char *text)
{
    printf("%s\n", text);
    return CLI_FAILED;
}

static int helper_get(const char *server)
{
    struct err err = {0};
    char host[NAME_LEN];
    json_t *entry = NULL;
    host_name(server, host);
    int rc = hosts_get(host, &entry, &err);
    if (rc <= 0)
        return said(rc < 0 ? err.text : NOT_FOUND);
    json_t *o = json_pack("{s:s,s:O,s:O}", "ServerURL", server, "Username", json_object_get(entry, "user"), "Secret",
                          json_object_get(entry, "token"));
    auto_free char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    json_decref(entry);
    if (!text)
        return said(NOT_FOUND);
    printf("%s\n", text);
    explicit_bzero(text, strlen(text));
    return CLI_OK;
}

/* What `docker login` was told. A hub that `berth login` knows keeps its URL and certificates. */
static int helper_store(struct str text)
{
    struct err err = {0};
    char host[NAME_LEN];
    json_t *o = NULL, *entry = NULL;
    const char *server, *user, *secret;
    int rc = json_strict(text, JSON_CAPS_DEFAULT, &o, &err);
    if (rc == 0 && json_unpack(o, "{s:s,s:s,s:s}", "ServerURL", &server, "Username", &user, "Secret", &secret) != 0)
        rc = err_set(&err, ERR_INVALID, "ServerURL, Username and Secret are expected");
    if (rc == 0) {
        host_name(server, host);
        rc = host[0] ? hosts_get(host, &entry, &err) : err_set(&err, ERR_INVALID, "ServerURL has no host");
    }
    if (rc == 0)
        entry = json_object();
    if (rc >= 0) {
        json_object_set_new(entry, "user", json_string(user));
        json_object_set_new(entry, "token", json_string(secret));
        rc = hosts_put(host, json_incref(entry), &err);
    }
    json_decref(entry);
    json_decref(o);
    return rc < 0 ? said(err.text) : CLI_OK;
}

static int helper_erase(const char *server)
{
    struct err err = {0};
    char host[NAME_LEN];
    host_name(server, host);
    return hosts_put(host, NULL, &err) < 0 ? said(err.text) : CLI_OK;
}

static int helper_list(void)
{
    struct err err = {0};
    json_t *all = NULL, *entry, *list = json_object();
    const char *host;
    if (hosts_all(&all, &err) < 0) {
        json_decref(list);
        return said(err.text);
    }
    json_object_foreach(all, host, entry)
        json_object_set(list, host, json_object_get(entry, "user"));
    auto_free char *text = json_dumps(list, JSON_COMPACT);
    printf("%s\n", text ? text : "{}");
    json_decref(list);
    json_decref(all);
    return CLI_OK;
}

static int read_input(struct buf *b, struct err *err)
{
    char chunk[4096];
    long n;
    buf_init(b, ASKED_MAX);
    while ((n = read(STDIN_FILENO, chunk, sizeof chunk)) > 0)
        buf_add(b, chunk, (size_t)n);
    explicit_bzero(chunk, sizeof chunk);
    if (n < 0 || b->overflow)
        return err_set(err, ERR_IO, "cannot read standard input, or it is too long");
    while (b->n > 0 && (b->p[b->n - 1] == '\n' || b->p[b->n - 1] == '\r'))
        b->p[--b->n] = '\0';
    return 0;
}

int run_docker_credential(const struct cli_args *a)
{
    struct err err = {0};
    struct buf in;
    const char *what = a->operands[0];
    if (strcmp(what, "list") == 0)
        return helper_list();
    bool get = strcmp(what, "get") == 0, store = strcmp(what, "store") == 0;
    if (!get && !store && strcmp(what, "erase") != 0) {
        print_error("docker-credential: one of get, store, erase, list");
        return CLI_USAGE;
    }
    int rc = read_input(&in, &err) < 0 ? said(err.text) : CLI_OK;
    if (rc == CLI_OK)
        rc = store ? helper_store(buf_view(&in)) : get ? helper_get(in.p ? in.p : "") : helper_erase(in.p ? in.p : "");
    password_release(&in);
    return rc;
}
