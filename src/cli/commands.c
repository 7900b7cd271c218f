/* The table of commands. */
#include "app/control.h"
#include "cli/cli.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void print_keys(void)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);
    fprintf(stderr, "allowed keys:");
    for (size_t k = 0; k < n; k++)
        fprintf(stderr, " %s", keys[k].name);
    fputc('\n', stderr);
}

static int load(const struct cli_args *a, struct config **ret)
{
    struct err err = {0};
    if (config_load(ret, a->config_file, a->keys, &err) == 0)
        return CLI_OK;
    print_error(err.text);
    if (err.code == ERR_NOT_FOUND)
        print_keys();
    return CLI_USAGE;
}

/* Runs an operation; args and fd are taken. */
static int call(const struct cli_args *a, const char *op, json_t *args, int fd, const char *columns)
{
    struct err err = {0};
    struct config *config = NULL;
    struct printer p;
    printer_init(&p, a->json, columns);
    int rc = load(a, &config);
    if (rc == CLI_OK) {
        struct control_out out = {printer_line, &p};
        rc = control_call(config, op, args, fd, &out, &err) < 0 ? CLI_FAILED : CLI_OK;
        bool problems = json_integer_value(json_object_get(p.done, "problems")) > 0;
        printer_end(&p);
        if (rc == CLI_FAILED)
            print_error(err.text);
        else if (problems)
            rc = CLI_FAILED;
    }
    json_decref(args);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int run_serve(const struct cli_args *a)
{
    struct config *config = NULL;
    int rc = load(a, &config);
    return rc != CLI_OK ? rc : app_serve(config, a->config_file, a->keys);
}

static int run_config(const struct cli_args *a)
{
    struct config *config = NULL;
    int rc = load(a, &config);
    if (rc != CLI_OK)
        return rc;
    struct buf out;
    buf_init(&out, 1 << 20);
    config_print(config, a->json, &out);
    fwrite(out.p, 1, out.n, stdout);
    buf_release(&out);
    config_free(config);
    return ferror(stdout) ? CLI_FAILED : CLI_OK;
}

static int run_gc(const struct cli_args *a)
{
    return call(a, "gc", json_pack("{s:b,s:b}", "dry_run", args_flag(a, 0), "now", args_flag(a, 1)), -1,
                "action,object,size,due,digest,repository,why");
}

static int run_fsck(const struct cli_args *a)
{
    return call(a, "fsck", json_pack("{s:b,s:b}", "full", args_flag(a, 0), "repair", args_flag(a, 1)), -1,
                "level,code,digest,repository,text");
}

/* The entry of a file just made, so that a power cut does not take it. */
static bool entry_synced(const char *path)
{
    auto_free char *copy = mem_strdup(path);
    auto_fd int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0;
}

static int run_backup(const struct cli_args *a)
{
    const char *path = a->operands[0];
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? dup(STDOUT_FILENO) : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        fprintf(stderr, "berth: cannot create %s: %m (an existing file is not overwritten)\n", path);
        return CLI_FAILED;
    }
    if (standard && a->json) {
        close(fd);
        return print_error("--json needs standard output for itself: name a file");
    }
    if (standard) /* reports must not run into the archive */
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    int rc = call(a, "backup", json_object(), fd, "problem,digest,detail");
    if (rc == CLI_OK && !standard && !entry_synced(path)) {
        fprintf(stderr, "berth: cannot make the entry of %s durable: %m\n", path);
        rc = CLI_FAILED;
    }
    struct stat st;
    if (rc != CLI_OK && !standard && stat(path, &st) == 0 && st.st_size == 0)
        (void)unlink(path); /* nothing was begun */
    else if (rc != CLI_OK && !standard)
        fprintf(stderr, "berth: %s is not a complete backup\n", path);
    return rc;
}

static int run_restore(const struct cli_args *a)
{
    struct err err = {0};
    struct config *config = NULL;
    const char *path = a->operands[0];
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "berth: cannot open %s: %m\n", path);
        return CLI_FAILED;
    }
    int rc = load(a, &config);
    if (rc == CLI_OK) {
        struct printer p;
        printer_init(&p, a->json, "problem,digest,detail");
        struct control_out out = {printer_line, &p};
        rc = restore_run(config, fd, &out, &err) < 0 ? print_error(err.text) : CLI_OK;
        printer_end(&p);
    }
    close(fd);
    return rc;
}

static int with_password(const struct cli_args *a, const char *op, bool admin)
{
    struct err err = {0};
    struct buf password;
    int rc = password_read(&password, true, &err);
    if (rc < 0) {
        buf_release(&password);
        return print_error(err.text);
    }
    json_t *args = json_pack("{s:s,s:s%,s:b}", "name", a->operands[0], "password", password.p ? password.p : "", password.n,
                             "admin", admin);
    if (password.p)
        explicit_bzero(password.p, password.size);
    buf_release(&password);
    if (!args)
        return print_error("name and password must be UTF-8 text");
    return call(a, op, args, -1, "");
}

static int run_user_add(const struct cli_args *a) { return with_password(a, "user.add", args_flag(a, 0)); }
static int run_user_passwd(const struct cli_args *a) { return with_password(a, "user.passwd", false); }

static int with_name(const struct cli_args *a, const char *op)
{
    json_t *args = json_pack("{s:s}", "name", a->operands[0]);
    return args ? call(a, op, args, -1, "") : print_error("the name must be UTF-8 text");
}

static int run_user_remove(const struct cli_args *a) { return with_name(a, "user.remove"); }

static int run_user_list(const struct cli_args *a)
{
    return call(a, "user.list", json_object(), -1, "name,role,state,created");
}

static int visibility(const struct cli_args *a, bool public)
{
    json_t *args = json_pack("{s:s,s:b}", "name", a->operands[0], "public", public);
    return args ? call(a, "repo.visibility", args, -1, "") : print_error("the name must be UTF-8 text");
}

static int run_repo_public(const struct cli_args *a) { return visibility(a, true); }
static int run_repo_private(const struct cli_args *a) { return visibility(a, false); }
static int run_status(const struct cli_args *a) { return call(a, "status", json_object(), -1, ""); }
static int run_completion(const struct cli_args *a) { return completion_print(a->operands[0]); }

static int run_version(const struct cli_args *a)
{
    printf(a->json ? "{\"version\":\"%s\"}\n" : "berth %s\n", BERTH_VERSION);
    return CLI_OK;
}

const struct cli_command cli_commands[] = {
    {"serve", "", 0, "Run the registry",
     "Makes the data directory and the first administrator on the first start, prints \"ready on URL\"\n"
     "once requests are served. SIGTERM ends it after running requests, SIGHUP reloads configuration\n"
     "and certificates.",
     true, {{NULL, NULL}}, run_serve},
    {"config", "", 0, "Show the effective configuration and where each value comes from", "", true, {{NULL, NULL}}, run_config},
    {"status", "", 0, "Show what a running server says of itself", "", false, {{NULL, NULL}}, run_status},
    {"gc", "", 0, "Collect garbage now, or explain what would be collected",
     "The server collects by itself; this runs a pass at once. Works beside pushes and pulls.", false,
     {{"dry-run", "Change nothing; list each candidate with the reason"},
      {"now", "Do not wait for the delays of the review queue"}}, run_gc},
    {"fsck", "", 0, "Check that database and files agree",
     "Exit code 1 when problems were found. Works beside pushes and pulls.", false,
     {{"full", "Also hash every blob"}, {"repair", "Put right what can be put right without losing anything"}}, run_fsck},
    {"backup", "FILE", 1, "Write database, blobs and keys to a tar archive (- for standard output)",
     "Works beside pushes and pulls; what was acknowledged before it began is in it. The archive holds\n"
     "the token key and password hashes: keep it like a secret.", false, {{NULL, NULL}}, run_backup},
    {"restore", "FILE", 1, "Restore a backup into an empty data directory (- for standard input)",
     "Every blob is hashed on the way in. Nothing is overwritten.", false, {{NULL, NULL}}, run_restore},
    {"user add", "NAME", 1, "Add a user; the password comes from standard input", "", false,
     {{"admin", "Make an administrator"}}, run_user_add},
    {"user passwd", "NAME", 1, "Set a user's password; ends the user's tokens", "", false, {{NULL, NULL}}, run_user_passwd},
    {"user remove", "NAME", 1, "Remove a user; the name is never given again", "", false, {{NULL, NULL}}, run_user_remove},
    {"user list", "", 0, "List users", "", false, {{NULL, NULL}}, run_user_list},
    {"repo public", "NAME", 1, "Let everybody pull a repository", "", false, {{NULL, NULL}}, run_repo_public},
    {"repo private", "NAME", 1, "Let only its owner and administrators pull a repository", "", false, {{NULL, NULL}}, run_repo_private},
    {"completion", "SHELL", 1, "Print completions for bash, zsh or fish", "", false, {{NULL, NULL}}, run_completion},
    {"version", "", 0, "Print the version", "", false, {{NULL, NULL}}, run_version},
};
const size_t n_cli_commands = ARRAY_LEN(cli_commands);
