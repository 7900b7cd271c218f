/* Commands that are requests: the row says which, this file fills it in, sends it and shows the answer. */
#include "app/control.h"
#include "cli/cli.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TARGET_MAX = 16 << 10, FILE_MAX = 1 << 20, NAME_PART_MAX = 64, PAGE_ROWS = 100 };

/* --- the target */

static const char *operand(const struct cli_args *a, struct str name)
{
    struct str rest = str_of(a->command->operands), one;
    for (int i = 0; str_split(&rest, ' ', &one); i++) {
        if (one.n > 2 && one.p[0] == '[')
            one = (struct str){one.p + 1, one.n - 2};
        if (str_eq(one, name))
            return i < a->n_operands ? a->operands[i] : "";
    }
    return NULL;
}

/* url_encode lets slashes be; in a segment there are none. */
static void add_segment(struct buf *b, struct str s)
{
    struct str part;
    bool first = true;
    while (str_split(&s, '/', &part)) {
        buf_cstr(b, first ? "" : "%2F");
        url_encode(b, part);
        first = false;
    }
}

/* As image references have it: without a namespace it is library's. */
static void add_repository(struct buf *b, struct str name)
{
    const char *slash = name.n > 0 ? memchr(name.p, '/', name.n) : NULL;
    struct str space = slash ? (struct str){name.p, (size_t)(slash - name.p)} : STR_LIT("library");
    add_segment(b, space);
    buf_char(b, '/');
    add_segment(b, slash ? (struct str){slash + 1, name.n - space.n - 1} : name);
}

static void add_part(struct buf *b, const struct cli_args *a, struct str name)
{
    if (str_starts(name, STR_LIT("--"))) {
        char flag[NAME_PART_MAX];
        text_copy(flag, sizeof flag, (struct str){name.p + 2, name.n - 2});
        add_segment(b, str_of(args_value(a, flag)));
        return;
    }
    const char *value = operand(a, name);
    BUG_ON(value == NULL);
    if (str_is(name, "REPOSITORY"))
        add_repository(b, str_of(value));
    else
        add_segment(b, str_of(value));
}

/* "[/orgs/{--org}]" is there when --org was given. */
static bool part_given(const struct cli_args *a, const char *bracket)
{
    char flag[NAME_PART_MAX];
    const char *from = strstr(bracket, "{--"), *to = from ? strchr(from, '}') : NULL;
    BUG_ON(to == NULL);
    text_copy(flag, sizeof flag, (struct str){from + 3, (size_t)(to - from - 3)});
    return args_value(a, flag) != NULL;
}

static void make_target(struct buf *b, const struct cli_args *a, const char *t)
{
    buf_cstr(b, "/api/v1");
    for (; *t; t++) {
        if (*t == '[' && !part_given(a, t)) {
            t = strchr(t, ']');
        } else if (*t == '{') {
            const char *end = strchr(t, '}');
            add_part(b, a, (struct str){t + 1, (size_t)(end - t - 1)});
            t = end;
        } else if (*t != '[' && *t != ']') {
            buf_char(b, *t);
        }
    }
}

/* --- what goes with it */

static json_t *text_json(struct str s, const char *what, struct err *err)
{
    json_t *v = json_stringn(s.p ? s.p : "", s.n);
    if (!v)
        err_set(err, ERR_USAGE, "%s must be UTF-8 text", what);
    return v;
}

json_t *file_json(const char *path, struct err *err)
{
    struct buf b;
    char chunk[4096];
    long n = -1;
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    buf_init(&b, FILE_MAX);
    while (fd >= 0 && (n = read(fd, chunk, sizeof chunk)) > 0)
        buf_add(&b, chunk, (size_t)n);
    json_t *v = NULL;
    if (n < 0)
        err_sys(err, ERR_USAGE, "cannot read %s", path);
    else if (b.overflow)
        err_set(err, ERR_USAGE, "%s is larger than %d bytes", path, FILE_MAX);
    else
        v = text_json(buf_view(&b), path, err);
    buf_release(&b);
    return v;
}

/* "acme/" "*:write" by "PATTERN:SCOPE": {"pattern": ..., "scope": ...}; parted at the first colon. */
static json_t *pair_json(const char *form, const char *value, const char *flag, struct err *err)
{
    const char *colon = strchr(value, ':'), *middle = strchr(form, ':');
    if (!colon) {
        err_set(err, ERR_USAGE, "--%s takes %s, not \"%s\"", flag, form, value);
        return NULL;
    }
    json_t *o = json_object(), *first = text_json((struct str){value, (size_t)(colon - value)}, flag, err);
    char key[NAME_PART_MAX];
    text_copy(key, sizeof key, str_of(form));
    for (char *p = key; *p; p++)
        *p = *p == ':' ? '\0' : (char)tolower((unsigned char)*p);
    json_object_set_new(o, key, first);
    json_object_set_new(o, key + (middle - form) + 1, text_json(str_of(colon + 1), flag, err));
    if (json_object_size(o) == 2)
        return o;
    json_decref(o);
    return NULL;
}

bool cli_is_word(const char *words, const char *value)
{
    struct str rest = str_of(words), one;
    while (str_split(&rest, '|', &one))
        if (str_is(one, value))
            return true;
    return false;
}

/* The value of a flag as its row has it; NULL with what is wrong. */
static json_t *flag_json(const struct cli_flag *f, const char *value, struct err *err)
{
    char *end;
    if (strcmp(f->value, "N") == 0) {
        long long n = strtoll(value, &end, 10);
        if (value[0] && !*end)
            return json_integer(n);
        err_set(err, ERR_USAGE, "--%s takes a number, not \"%s\"", f->name, value);
        return NULL;
    }
    if (strchr(f->value, '|') && !cli_is_word(f->value, value)) {
        err_set(err, ERR_USAGE, "--%s takes one of %s, not \"%s\"", f->name, f->value, value);
        return NULL;
    }
    if (strcmp(f->value, "true|false") == 0)
        return json_boolean(value[0] == 't');
    if (strcmp(f->value, "FILE") == 0)
        return file_json(value, err);
    return strchr(f->value, ':') ? pair_json(f->value, value, f->name, err) : text_json(str_of(value), f->name, err);
}

/* Steals v, which may be NULL. */
static int put(json_t *o, struct str name, json_t *v)
{
    char key[NAME_PART_MAX];
    text_copy(key, sizeof key, name);
    for (char *p = key; *p; p++)
        if (*p == '-')
            *p = '_';
    if (!v)
        return ERR_USAGE;
    if (!str_ends(name, STR_LIT("[]")))
        return json_object_set_new(o, key, v);
    key[name.n - 2] = '\0';
    if (!json_object_get(o, key))
        json_object_set_new(o, key, json_array());
    return json_array_append_new(json_object_get(o, key), v);
}

static json_t *word_json(struct str w)
{
    return str_is(w, "true") ? json_true() : str_is(w, "false") ? json_false() : json_stringn(w.p, w.n);
}

static bool in_target(const struct cli_request *q, const char *flag)
{
    char part[NAME_PART_MAX];
    snprintf(part, sizeof part, "{--%s}", flag);
    return strstr(q->target, part) != NULL;
}

static int add_flags(json_t *o, const struct cli_args *a, const struct cli_request *q, struct err *err)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < a->n_given; i++) {
        const struct cli_flag *f = &a->command->flags[a->given[i].flag];
        struct str says = str_of(f->sets ? f->sets : f->name), name;
        if (in_target(q, f->name))
            continue;
        str_split(&says, '=', &name);
        if (f->value)
            rc = put(o, name, flag_json(f, a->given[i].value, err));
        else if (says.p)
            rc = put(o, name, word_json(says));
    }
    return rc;
}

static json_t *asked_json(struct str name, bool twice, struct err *err)
{
    struct buf line;
    char word[NAME_PART_MAX], prompt[NAME_PART_MAX + 4];
    json_t *v = NULL;
    text_copy(word, sizeof word, name);
    word[0] = (char)toupper((unsigned char)word[0]);
    snprintf(prompt, sizeof prompt, "%s: ", word);
    if (password_read(&line, prompt, twice, err) == 0)
        v = text_json(buf_view(&line), "what standard input says", err);
    password_release(&line);
    return v;
}

/* One word of the row's body. */
static int add_member(json_t *o, const struct cli_args *a, struct str value, struct err *err)
{
    struct str name;
    str_split(&value, '=', &name);
    BUG_ON(value.n < 2);
    if (value.p[0] == '<')
        return put(o, name, asked_json(name, str_is(value, "<twice"), err));
    if (value.p[0] != '{')
        return put(o, name, word_json(value));
    const char *text = operand(a, (struct str){value.p + 1, value.n - 2});
    BUG_ON(text == NULL);
    return put(o, name, text_json(str_of(text), name.p, err));
}

static int make_body(json_t *o, const struct cli_args *a, const struct cli_request *q, struct err *err)
{
    struct str rest = str_of(q->body), word;
    int rc = add_flags(o, a, q, err);
    while (rc == 0 && rest.n > 0 && str_split(&rest, ' ', &word))
        rc = add_member(o, a, word, err);
    return rc;
}

static void add_query(struct buf *b, char *sep, const char *name, const json_t *v)
{
    char number[32];
    if (json_is_integer(v))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
    buf_printf(b, "%c%s=", *sep, name);
    add_segment(b, json_is_integer(v) ? str_of(number) : json_is_boolean(v) ? str_of(json_is_true(v) ? "true" : "false")
                                      : (struct str){json_string_value(v), json_string_length(v)});
    *sep = '&';
}

/* --- sending */

struct api {
    const struct cli_args *args;
    const struct cli_request *request;
    struct config *config; /* of the first request to this machine, or NULL */
    struct remote *remote;
    struct printer printer;
};

static int keep_done(void *arg, const char *kind, json_t *body, struct err *err)
{
    json_t **ret = arg;
    (void)err;
    if (strcmp(kind, "done") != 0) {
        json_decref(body);
        return 0;
    }
    json_decref(*ret);
    *ret = body;
    return 0;
}

static int send_here(struct api *x, const char *target, json_t *body, int *ret_status, json_t **ret, struct err *err)
{
    json_t *args = json_pack("{s:s,s:s,s:O*}", "method", x->request->method, "target", target, "body", body), *done = NULL;
    struct control_out out = {keep_done, &done};
    int rc = x->config ? 0 : config_load(&x->config, x->args->config_file, x->args->keys, err);
    if (rc == 0)
        rc = control_call(take(&x->config), "api", args, x->request->raw ? STDOUT_FILENO : -1, &out, err);
    json_decref(args);
    if (rc == 0) {
        *ret_status = (int)json_integer_value(json_object_get(done, "status"));
        *ret = json_incref(json_object_get(done, "body"));
    }
    json_decref(done);
    return rc;
}

static int send(struct api *x, const char *target, json_t *body, int *ret_status, json_t **ret, struct err *err)
{
    return x->remote ? remote_send(x->remote, x->request->method, target, body, x->request->raw ? STDOUT_FILENO : -1, ret_status, ret, err)
                     : send_here(x, target, body, ret_status, ret, err);
}

int api_problem(int status, const json_t *body)
{
    const char *detail = json_string_value(json_object_get(body, "detail"));
    char text[ERR_TEXT_MAX];
    size_t i;
    json_t *fault;
    snprintf(text, sizeof text, "the server answered with status %d", status);
    print_error(detail ? detail : text);
    json_t *faults = json_object_get(body, "errors");
    json_array_foreach(json_array_size(faults) > 1 ? faults : NULL, i, fault) /* of one, detail says it all */
    {
        const char *field = json_string_value(json_object_get(fault, "field"));
        const char *message = json_string_value(json_object_get(fault, "message"));
        if (field && message)
            print_detail(field, message);
    }
    return status == 404 ? CLI_NOT_FOUND : status == 401 || status == 403 ? CLI_DENIED : CLI_FAILED;
}

static int misused(const char *text)
{
    print_error(text);
    return CLI_USAGE;
}

static int failed(const struct err *err)
{
    print_error(err->text);
    return err->code == ERR_UNAUTHORIZED ? CLI_DENIED : CLI_FAILED;
}

/* One step of a login; body is taken. A ticket asks for the second one. */
static int login_step(struct remote *r, const char *target, json_t *body, json_t **ret_ticket)
{
    struct err err = {0};
    int status = 0;
    json_t *answer = NULL;
    int rc = remote_send(r, "POST", target, body, -1, &status, &answer, &err);
    const char *token = json_string_value(json_object_get(answer, "token"));
    *ret_ticket = status == 401 ? json_incref(json_object_get(answer, "ticket")) : NULL;
    if (rc < 0)
        rc = failed(&err);
    else if (*ret_ticket)
        rc = CLI_DENIED;
    else if (status != 200 || !token)
        rc = api_problem(status, answer);
    else
        remote_bearer(r, str_of(token));
    json_decref(body);
    json_decref(answer);
    return rc;
}

int api_login(struct remote *r, const char *user, struct str password)
{
    struct err err = {0};
    struct buf code;
    json_t *ticket = NULL, *body = json_pack("{s:s,s:s%}", "username", user, "password", password.p ? password.p : "", password.n);
    if (!body)
        return print_error("name and password must be UTF-8 text");
    int rc = login_step(r, "/api/v1/login", body, &ticket);
    if (!ticket)
        return rc;
    if (password_read(&code, "Code of the authenticator app, or a recovery code: ", false, &err) < 0) {
        rc = failed(&err);
        json_decref(ticket);
    } else if (code.n == 0) {
        print_error("a code of the second factor is needed: one more line of standard input");
        rc = CLI_DENIED;
        json_decref(ticket);
    } else {
        body = json_pack("{s:o,s:s%}", "ticket", ticket, "code", code.p ? code.p : "", code.n);
        rc = body ? login_step(r, "/api/v1/login/factor", body, &ticket) : print_error("the code must be UTF-8 text");
        if (body)
            json_decref(ticket);
    }
    password_release(&code);
    return rc;
}

/* The own password, for what no token may do. */
static int log_in(struct api *x)
{
    struct err err = {0};
    struct buf password;
    char prompt[ERR_TEXT_MAX];
    snprintf(prompt, sizeof prompt, "Password of %.200s: ", remote_user(x->remote));
    int rc = password_read(&password, prompt, false, &err) < 0 ? failed(&err)
                                                               : api_login(x->remote, remote_user(x->remote), buf_view(&password));
    password_release(&password);
    return rc;
}

static bool wants_login(const struct api *x, int status, const json_t *answer)
{
    const char *code = json_string_value(json_object_get(answer, "code"));
    return x->remote && !x->args->login && status == 403 && code && strcmp(code, "credential") == 0 && isatty(STDIN_FILENO);
}

static int print_items(struct api *x, json_t *items)
{
    struct err err = {0};
    size_t i;
    json_t *item;
    printer_fit(&x->printer, items);
    json_array_foreach(items, i, item)
    {
        if (printer_line(&x->printer, "item", json_incref(item), &err) < 0)
            return CLI_FAILED;
    }
    return CLI_OK;
}

static int print_answer(struct api *x, json_t *answer)
{
    struct err err = {0};
    const char *shows = x->request->shows;
    json_t *done = json_is_object(answer) && !json_object_get(answer, "items") ? json_incref(answer) : json_object();
    if (x->args->json)
        return printer_line(&x->printer, "done", done, &err) < 0 ? CLI_FAILED : CLI_OK;
    if (shows && json_object_get(done, shows))
        print_member(done, shows);
    else if (shows ? strcmp(shows, "*") == 0 : strcmp(x->request->method, "GET") == 0)
        print_object(done);
    json_decref(done);
    return CLI_OK;
}

/* Sends it, and what `next` says as long as there is one. */
static int run(struct api *x, struct buf *target, json_t *body)
{
    struct err err = {0};
    int status = 0, rc = CLI_OK;
    size_t first = target->n;
    bool more = true, query = memchr(target->p, '?', target->n) != NULL;
    while (rc == CLI_OK && more) {
        json_t *answer = NULL;
        if (target->overflow)
            return print_error("the names are too long");
        rc = send(x, target->p, body, &status, &answer, &err) < 0 ? failed(&err) : CLI_OK;
        if (rc == CLI_OK && wants_login(x, status, answer)) {
            json_decref(answer);
            answer = NULL;
            rc = log_in(x);
            if (rc == CLI_OK && send(x, target->p, body, &status, &answer, &err) < 0)
                rc = failed(&err);
        }
        if (rc == CLI_OK && (status < 200 || status > 299))
            rc = api_problem(status, answer);
        json_t *items = json_object_get(answer, "items"), *next = json_object_get(answer, "next");
        more = json_is_string(next);
        if (rc == CLI_OK)
            rc = print_items(x, items);
        if (rc == CLI_OK && !more && !x->request->raw)
            rc = print_answer(x, answer);
        if (rc == CLI_OK && more) {
            char sep = query ? '&' : '?';
            target->p[target->n = first] = '\0';
            add_query(target, &sep, "after", next);
        }
        json_decref(answer);
    }
    return rc;
}

int api_run(const struct cli_args *a, const struct cli_request *q)
{
    struct err err = {0};
    struct api x = {.args = a, .request = q};
    struct buf target;
    const char *host = remote_host(a);
    bool get = strcmp(q->method, "GET") == 0, bare = get || strcmp(q->method, "DELETE") == 0 || (!q->body && !a->command->flags[0].name);
    json_t *body = json_object();
    printer_init(&x.printer, a->json, q->shows ? q->shows : "");
    buf_init(&target, TARGET_MAX);
    make_target(&target, a, q->target);
    int rc = CLI_OK;
    if (make_body(body, a, q, &err) < 0)
        rc = err.code == ERR_USAGE ? misused(err.text) : failed(&err);
    if (rc == CLI_OK && strcmp(q->method, "PATCH") == 0 && json_object_size(body) == 0) {
        rc = misused("nothing to change: give an option, see --help");
    }
    if (rc == CLI_OK && !host)
        rc = load_config(a, &x.config);
    else if (rc == CLI_OK && remote_open(&x.remote, host, a->ca, q->open, &err) < 0)
        rc = failed(&err);
    if (rc == CLI_OK && a->login)
        rc = x.remote ? log_in(&x) : misused("--login is for --host");
    char sep = '?';
    for (void *at = get ? json_object_iter(body) : NULL; at; at = json_object_iter_next(body, at))
        add_query(&target, &sep, json_object_iter_key(at), json_object_iter_value(at));
    if (get && q->shows) {
        json_t *rows = json_integer(PAGE_ROWS);
        add_query(&target, &sep, "limit", rows);
        json_decref(rows);
    }
    if (rc == CLI_OK)
        rc = run(&x, &target, bare ? NULL : body);
    printer_end(&x.printer);
    remote_close(x.remote);
    config_free(x.config);
    buf_release(&target);
    json_decref(body);
    return rc;
}

int run_api(const struct cli_args *a) { return api_run(a, &a->command->request); }
