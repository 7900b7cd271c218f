/* cli: the command line. One table of commands (commands.c); arguments are read in one place
 * (args.c), output for people and for machines in another (print.c). Exit codes: 0 done, 1 failed or
 * problems found, 2 wrong usage. */
#ifndef CLI_CLI_H
#define CLI_CLI_H
#include "base/config.h"

#include <jansson.h>

enum { CLI_OK, CLI_FAILED, CLI_USAGE, CLI_ARGS_MAX = 64 };

struct cli_flag {
    const char *name, *help; /* "dry-run"; all are switches */
};
struct cli_args;
struct cli_command {
    const char *name;    /* one or two words: "gc", "user add" */
    const char *operands; /* "NAME", "FILE", "" */
    int n_operands;
    const char *summary; /* one line */
    const char *help;    /* what a person wants to know more */
    bool all_keys;       /* every configuration key is a flag; else only --data */
    struct cli_flag flags[4];
    int (*run)(const struct cli_args *a);
};
struct cli_args {
    const struct cli_command *command;
    const char *config_file;           /* --config */
    const char *keys[CLI_ARGS_MAX + 1]; /* "--key=value", NULL-terminated; owned */
    int n_keys;
    const char *operands[4];
    int n_operands;
    unsigned flags;                    /* bit i: command->flags[i] given */
    bool json, help;
};
extern const struct cli_command cli_commands[];
extern const size_t n_cli_commands;

int cli_main(int argc, char **argv);

/* ---- args.c */
int args_parse(struct cli_args *ret, const struct cli_command *c, int argc, char **argv, struct err *err);
void args_release(struct cli_args *a);
static inline bool args_flag(const struct cli_args *a, int i) { return (a->flags >> i & 1u) != 0; }

/* ---- print.c */
void print_help(void);
void print_command_help(const struct cli_command *c);
int print_error(const char *text); /* "berth: text" on standard error; returns CLI_FAILED */
/* Receives what control_call emits. JSON: one object a line, {"item":...}. People: a table of the items
 * by `columns` ("name,role"), progress rewritten in place on a terminal. */
struct printer {
    bool json, terminal, progress_open;
    const char *columns;
    int64_t n_items;
    json_t *done; /* body of "done" */
};
void printer_init(struct printer *p, bool json, const char *columns);
int printer_line(void *printer, const char *kind, json_t *body, struct err *err);
void printer_end(struct printer *p);

/* ---- password.c: one line from standard input; asked for, and not shown, on a terminal */
int password_read(struct buf *ret, bool confirm, struct err *err);
/* ---- completion.c */
int completion_print(const char *shell);
#endif
