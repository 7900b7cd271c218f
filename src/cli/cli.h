/* cli: the command line. One table of commands (commands.c); arguments are read in one place
 * (args.c), output for people and for machines in another (print.c). What Berth's API can do is a row of the table
 * with the request that does it (api.c): to the data directory's server, to the directory itself when none runs,
 * or with --host to a hub far away (remote.c), with the token that `berth login` keeps in hosts.json (hosts.c). */
#ifndef CLI_CLI_H
#define CLI_CLI_H
#include "base/config.h"

#include <jansson.h>

/* Exit codes. FAILED also says that a check found problems; DENIED: not logged in, or not allowed. */
enum { CLI_OK, CLI_FAILED, CLI_USAGE, CLI_NOT_FOUND, CLI_DENIED };
enum { CLI_ARGS_MAX = 64, CLI_FLAGS_MAX = 12, CLI_OPERANDS_MAX = 4, CLI_COLUMNS_MAX = 16 };

struct cli_flag {
    const char *name, *help;
    /* What follows it: "N" a number, "a|b" one of these, "FILE" (its content counts), "X:Y" an object {x, y}, other
     * text as it is; NULL: a switch. */
    const char *value;
    /* The member of the request that gets the value; NULL: called like the flag. "member=value": what a switch
     * says. "member[]": one item more; the flag may be repeated. */
    const char *sets;
};
/* A request to /api/v1 TARGET. In target: {ORG} the operand of that name as one segment; {REPOSITORY} as two;
 * "[/orgs/{--org}]" there when the flag is. Flags go into the body, or into the query of a GET. */
struct cli_request {
    const char *method, *target;
    /* Of GET, words become the query. */
    const char *body;    /* "name={USER} password=<twice archived=true": an operand, a line of standard input (asked
                          * for on a terminal, once or twice), a word. NULL: nothing but flags */
    const char *shows;   /* of a list: the columns; of what was made: the member to print, "*" all */
    bool open;           /* also without a login */
    bool raw;            /* what comes is no JSON: standard output takes it as it is */
};
struct cli_args;
struct cli_command {
    const char *name;     /* one or two words: "gc", "user add" */
    const char *operands; /* "ORG USER", "[ID]" one that may be left out, "" */
    const char *summary;  /* one line */
    const char *help;     /* what a person wants to know more; NULL: nothing */
    struct cli_flag flags[CLI_FLAGS_MAX];
    int (*run)(const struct cli_args *a);
    struct cli_request request; /* of run_api */
    bool all_keys;        /* every configuration key is a flag; else only --data */
};
struct cli_args {
    const struct cli_command *command;
    const char *config_file;            /* --config */
    const char *keys[CLI_ARGS_MAX + 1]; /* "--key=value", NULL-terminated; owned */
    int n_keys;
    const char *operands[CLI_OPERANDS_MAX];
    int n_operands;
    struct cli_given {
        int flag;                       /* index into command->flags */
        const char *value;              /* NULL: a switch */
    } given[CLI_ARGS_MAX];
    int n_given;
    const char *host, *ca;              /* --host, --ca */
    bool json, help, login;
};
extern const struct cli_command cli_commands[];
extern const size_t n_cli_commands;

int cli_main(int argc, char **argv);

/* ---- args.c */
int args_parse(struct cli_args *ret, const struct cli_command *c, int argc, char **argv, struct err *err);
void args_release(struct cli_args *a);
bool args_flag(const struct cli_args *a, const char *name);
const char *args_value(const struct cli_args *a, const char *name); /* the last one given; NULL */
/* Whether it asks the API, and so takes --host, --ca and --login. */
static inline bool asks_api(const struct cli_command *c) { return c->request.method != NULL; }

/* ---- commands.c: the settings; CLI_OK, or what was said is wrong */
int load_config(const struct cli_args *a, struct config **ret);

/* ---- print.c */
void print_help(void);
void print_command_help(const struct cli_command *c);
int print_error(const char *text); /* "berth: text" on standard error; returns CLI_FAILED */
void print_line(const char *text);  /* on standard output */
void print_detail(const char *name, const char *text); /* a line below it: "  name: text" */
/* Receives what control_call emits. JSON: one object a line, {"item":...}. People: a table of the items
 * by `columns` ("name,role"), at the end what "done" says ("=name": only that member of it), progress rewritten in
 * place on a terminal. */
struct printer {
    bool json, terminal, progress_open;
    const char *columns;
    int widths[CLI_COLUMNS_MAX]; /* 0: one that most values fit into */
    int64_t n_items;
    json_t *done; /* body of "done" */
};
void printer_init(struct printer *p, bool json, const char *columns);
/* Before the first item: columns as wide as these items need. */
void printer_fit(struct printer *p, const json_t *items);
int printer_line(void *printer, const char *kind, json_t *body, struct err *err);
void printer_end(struct printer *p);

/* For people: what one member of an object says; all of them, a line each, those of objects in it as "bytes.used". */
void print_member(const json_t *o, const char *name);
void print_object(const json_t *o);

/* ---- password.c: one line from standard input; on a terminal asked for ("Password: "), and not shown */
int password_read(struct buf *ret, const char *prompt, bool confirm, struct err *err);
void password_release(struct buf *b);
/* As it, and shown; "" without a terminal. */
int line_read(struct buf *ret, const char *prompt, struct err *err);

/* ---- hosts.c: ~/.config/berth/hosts.json, mode 0600: {"HOST[:PORT]": {"url", "user", "token", "ca"}} */
/* The name that image references use: no scheme, no path, small letters. */
void host_name(const char *text, char out[300]);
int hosts_get(const char *host, json_t **ret, struct err *err); /* 1; 0 none. The caller's */
int hosts_put(const char *host, json_t *entry, struct err *err); /* entry is taken; NULL: no longer */
int hosts_all(json_t **ret, struct err *err);

/* ---- remote.c: a hub over HTTP(S) */
struct remote;
/* Which hub: --host, or BERTH_HOST unless a data directory is named; NULL: this machine's. */
const char *remote_host(const struct cli_args *a);
/* A hub with an entry of hosts.json (not taken); open: also without one. ERR_UNAUTHORIZED: not logged in. */
int remote_open(struct remote **ret, const char *host, const char *ca, bool open, struct err *err);
int remote_open_url(struct remote **ret, const char *url, const char *ca, struct err *err);
void remote_close(struct remote *r);
const char *remote_user(const struct remote *r); /* "" when nobody */
/* From now on requests bear this; NULL: nothing. */
void remote_bearer(struct remote *r, struct str token);
/* *ret: the answer, the caller's; NULL when there is no JSON in it, or when fd (not -1) took it: the body of a 2xx. */
int remote_send(struct remote *r, const char *method, const char *target, const json_t *body, int fd, int *ret_status,
                json_t **ret, struct err *err);

/* ---- api.c */
int run_api(const struct cli_args *a);
int api_run(const struct cli_args *a, const struct cli_request *q);
int api_problem(int status, const json_t *body); /* says what is wrong; returns the exit code */
/* Name and password to a short token, which requests then bear. CLI_OK, or what was said is wrong. */
int api_login(struct remote *r, const char *user, struct str password);

json_t *file_json(const char *path, struct err *err); /* its text; NULL: ERR_USAGE */
bool cli_is_word(const char *words, const char *value); /* words: "a|b" */

/* ---- login.c */
int run_login(const struct cli_args *a);
int run_logout(const struct cli_args *a);
int run_docker_credential(const struct cli_args *a);

/* ---- completion.c */
int completion_print(const char *shell);
#endif
