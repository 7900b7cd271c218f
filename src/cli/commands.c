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

int load_config(const struct cli_args *a, struct config **ret)
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
    int rc = load_config(a, &config);
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
    int rc = load_config(a, &config);
    return rc != CLI_OK ? rc : app_serve(config, a->config_file, a->keys);
}

static int run_config(const struct cli_args *a)
{
    struct config *config = NULL;
    int rc = load_config(a, &config);
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
    return call(a, "gc", json_pack("{s:b,s:b}", "dry_run", args_flag(a, "dry-run"), "now", args_flag(a, "now")), -1,
                "action,object,size,due,digest,repository,why");
}

static int run_fsck(const struct cli_args *a)
{
    return call(a, "fsck", json_pack("{s:b,s:b}", "full", args_flag(a, "full"), "repair", args_flag(a, "repair")), -1,
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
    int rc = load_config(a, &config);
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

static int run_status(const struct cli_args *a) { return call(a, "status", json_object(), -1, ""); }
/* With a line of `audit anchor` that was kept elsewhere: the log is not a shorter one, either. */
static int run_audit_verify(const struct cli_args *a)
{
    struct err err = {0};
    const char *path = args_value(a, "anchor");
    json_t *anchor = path ? file_json(path, &err) : json_string("");
    if (path && anchor && json_string_value(anchor)[strspn(json_string_value(anchor), " \r\n")] == '\0') {
        json_decref(anchor); /* without this it would pass as no anchor at all */
        anchor = NULL;
        err_set(&err, ERR_USAGE, "%s holds no line of `berth audit anchor`", path);
    }
    if (!anchor) {
        print_error(err.text);
        return CLI_USAGE;
    }
    return call(a, "audit.verify", json_pack("{s:o}", "anchor", anchor), -1, "fault");
}

static int run_audit_anchor(const struct cli_args *a) { return call(a, "audit.anchor", json_object(), -1, "=anchor"); }
static int run_audit_rotate(const struct cli_args *a) { return call(a, "audit.rotate", json_object(), -1, ""); }
static int run_completion(const struct cli_args *a) { return completion_print(a->operands[0]); }

static int run_version(const struct cli_args *a)
{
    printf(a->json ? "{\"version\":\"%s\"}\n" : "berth %s\n", BERTH_VERSION);
    return CLI_OK;
}

/* By its number, or by its text, which whoever found it may send. */
static int run_token_revoke(const struct cli_args *a)
{
    static const struct cli_request by_text = {.method = "POST", .target = "/tokens/revoke", .body = "token=<once", .open = true};
    bool text = args_flag(a, "stdin");
    if (text != (a->n_operands == 0)) {
        print_error("token revoke: either ID or --stdin");
        return CLI_USAGE;
    }
    return text ? api_run(a, &by_text) : run_api(a);
}

/* Without a password the directory is only asked who it is. */
static int run_ldap_test(const struct cli_args *a)
{
    static const struct cli_request bind = {.method = "POST", .target = "/ldap/test", .body = "username={USER} password=<once", .shows = "*"};
    return args_flag(a, "bind") ? api_run(a, &bind) : run_api(a);
}

#define ASK(method_, target_, ...) .run = run_api, .request = {.method = (method_), .target = (target_), __VA_ARGS__}
#define SWITCH(name_, help_) {.name = (name_), .help = (help_)}
#define TAKES(name_, value_, help_) {.name = (name_), .value = (value_), .help = (help_)}
#define SETS(name_, value_, sets_, help_) {.name = (name_), .value = (value_), .sets = (sets_), .help = (help_)}
#define USERS "/users/{USER}"
#define ORGS "/orgs/{ORG}"
#define MEMBERS ORGS "/members"
#define TEAMS ORGS "/teams"
#define TEAM TEAMS "/{TEAM}"
#define REPOS "/repositories/{REPOSITORY}"
#define TOKENS "[/orgs/{--org}]/tokens"
#define FULL_NAME TAKES("full-name", "TEXT", "What people are shown")
#define EMAIL TAKES("email", "ADDRESS", "Where to write to")
#define ROLES "none|admin|auditor"
#define DESCRIPTION TAKES("description", "TEXT", "One line of text")
#define README TAKES("full-description", "FILE", "A file of Markdown")
#define VISIBILITY TAKES("visibility", "public|private", "Who may pull")
#define ORG_FLAGS                                                                                                     \
    FULL_NAME, TAKES("default-access", "none|read|write", "What members may on each repository"),                          \
        TAKES("default-visibility", "private|public", "Of repositories made by a push"),                                   \
        TAKES("no-public", "true|false", "Whether public repositories are forbidden"),                                     \
        TAKES("personal-tokens", "true|false", "Whether members' own tokens work here"),                                   \
        TAKES("token-max-days", "N", "Longest life of tokens that work here; 0: any"),                                     \
        TAKES("need-mfa", "true|false", "Whether members must have a second factor"),                                      \
        TAKES("no-personal-push", "true|false", "Whether members may push nothing into their own namespaces")
#define OF_ORG TAKES("org", "ORG", "A token of this organization, not an own one")

#define LOG_FILTER                                                                                                    \
    TAKES("account", "NAME", "Only the log of this user or organization"), TAKES("actor", "NAME", "Who did it"),      \
        TAKES("action", "ACTION", "repo.tag.push; or all of a kind: repo."), TAKES("object", "TEXT", "On what"),      \
        TAKES("from", "TIME", "At or after: 2027-01-31T00:00:00Z"), TAKES("to", "TIME", "Before")
#define PLANS "/plans/{PLAN}"
#define PLAN_FLAGS                                                                                                    \
    TAKES("private-repos", "N", "Private repositories; -1 in a limit: any number"),                                   \
        TAKES("collaborators", "N", "Collaborators on private repositories"),                                         \
        TAKES("seats", "N", "Members of an organization, open invitations too"), TAKES("bytes", "N", "Bytes stored"), \
        TAKES("builds", "N", "Builds at once"), TAKES("pulls", "N", "Pulls in a window"),                             \
        TAKES("anonymous-pulls", "N", "Pulls in a window from an address without an account"),                        \
        TAKES("pull-window", "N", "The window of pulls, in seconds"), TAKES("pushes", "N", "Pushes in a window"),     \
        TAKES("push-window", "N", "The window of pushes, in seconds")
#define TRUST ORGS "/trust-rules"
#define TRUST_FLAGS                                                                                                   \
    TAKES("issuer", "URL", "Who made the token: its iss, to the letter"),                                             \
        TAKES("audience", "TEXT", "For whom: one of its aud (default: this hub's URL, a slash, the organization)"),   \
        SETS("claim", "CLAIM:PATTERN", "claims[]", "What a claim must be; may be repeated"),                              \
        SETS("bound", "PATTERN:SCOPE", "bounds[]", "Where the short token may do what; may be repeated"),              \
        TAKES("life-seconds", "N", "Of the short token (default: 900)"),                                              \
        TAKES("jwks", "FILE", "The issuer's keys, when this hub cannot ask it")
#define TO_ORG TAKES("org", "ORG", "To this organization, not to the hub alone")
#define INVITATIONS "[/orgs/{--org}]/invitations"
#define OF_LOG TAKES("org", "ORG", "The log of this organization, for its owners")

/* long because it is the table: a row a command. */
const struct cli_command cli_commands[] = {
    {"serve", "", "Run the registry",
     "Makes the data directory and the first administrator on the first start, prints \"ready on URL\"\n"
     "once requests are served. SIGTERM ends it after running requests, SIGHUP reloads configuration\n"
     "and certificates.",
     .all_keys = true, .run = run_serve},
    {"config", "", "Show the effective configuration and where each value comes from", .all_keys = true, .run = run_config},
    {"status", "", "Show what a running server says of itself", .run = run_status},
    {"gc", "", "Collect garbage now, or explain what would be collected",
     "The server collects by itself; this runs a pass at once. Works beside pushes and pulls.",
     .flags = {SWITCH("dry-run", "Change nothing; list each candidate with the reason"),
      SWITCH("now", "Do not wait for the delays of the review queue")}, .run = run_gc},
    {"fsck", "", "Check that database and files agree",
     "Exit code 1 when problems were found. Works beside pushes and pulls.",
     .flags = {SWITCH("full", "Also hash every blob"), SWITCH("repair", "Put right what can be put right without losing anything")}, .run = run_fsck},
    {"backup", "FILE", "Write database, blobs and keys to a tar archive (- for standard output)",
     "Works beside pushes and pulls; what was acknowledged before it began is in it. The archive holds\n"
     "the token key and password hashes: keep it like a secret.", .run = run_backup},
    {"restore", "FILE", "Restore a backup into an empty data directory (- for standard input)",
     "Every blob is hashed on the way in. Nothing is overwritten.", .run = run_restore},

    {"login", "HOST", "Log in to a hub; the password or a token comes from standard input",
     "With a password, a personal token is made for this machine and kept in ~/.config/berth/hosts.json;\n"
     "a token is kept as it is. Commands with --host, and docker by docker-credential-berth, use it.",
     .flags = {TAKES("user", "NAME", "Who logs in; asked for on a terminal"),
      TAKES("scope", "public-read|read|write|delete|admin", "Of the token that is made (default: admin)"),
      TAKES("ca", "FILE", "Certificates to trust beside the system's, for this hub"),
      SWITCH("insecure", "Speak HTTP without TLS, as is done with localhost when it has none")}, .run = run_login},
    {"logout", "HOST", "Revoke the token that login made, and forget it", .run = run_logout},
    {"whoami", "", "Show who the stored login speaks for", ASK("GET", "/me")},
    {"docker-credential", "ACTION", "Docker's credential helper: get, store, erase or list",
     "Docker runs it as docker-credential-berth.", .run = run_docker_credential},

    {"user add", "USER", "Add a user; the password comes from standard input",
     .flags = {{.name = "admin", .help = "Make an administrator", .sets = "site_role=admin"}, FULL_NAME, EMAIL},
     ASK("POST", "/users", .body = "name={USER} password=<twice")},
    {"user list", "", "List users", ASK("GET", "/users", .shows = "name,site_role,state,created_at,last_login_at")},
    {"user show", "USER", "Show a user", ASK("GET", USERS)},
    {"user set", "USER", "Change a user",
     .flags = {SETS("role", ROLES, "site_role", "What the user may on the whole hub"),
               TAKES("state", "active|disabled", "disabled: no login, and every token ends"), FULL_NAME, EMAIL},
     ASK("PATCH", USERS)},
    {"user passwd", "USER", "Set a user's password; ends the user's logins", ASK("PUT", USERS "/password", .body = "password=<twice")},
    {"user reset-link", "USER", "Print a link that sets a new password, once", ASK("POST", USERS "/reset-link", .shows = "link")},
    {"user reset-factors", "USER", "Remove all second factors of a user who lost them", ASK("DELETE", USERS "/factors")},
    {"user remove", "USER", "Remove a user; the name is never given again", ASK("DELETE", USERS)},

    {"org add", "ORG", "Make an organization", .flags = {TAKES("owner", "USER", "Who owns it; administrators only"), ORG_FLAGS},
     ASK("POST", "/orgs", .body = "name={ORG}")},
    {"org list", "", "List organizations", ASK("GET", "/orgs", .shows = "name,role,default_access,default_visibility")},
    {"org show", "ORG", "Show an organization", ASK("GET", ORGS)},
    {"org set", "ORG", "Change an organization", .flags = {ORG_FLAGS}, ASK("PATCH", ORGS)},
    {"org remove", "ORG", "Remove an organization without repositories; the name is never given again", ASK("DELETE", ORGS)},
    {"member list", "ORG", "List the members of an organization", ASK("GET", MEMBERS, .shows = "user,role,joined_at")},
    {"member set", "ORG USER ROLE", "Add a member, or change the role: member, editor or owner",
     ASK("PUT", MEMBERS "/{USER}", .body = "role={ROLE}")},
    {"member remove", "ORG USER", "Take a member out of an organization", ASK("DELETE", MEMBERS "/{USER}")},
    {"invitation add", "", "Invite somebody to the hub, or to an organization; prints the link when no mail was sent",
     .flags = {TO_ORG, TAKES("user", "USER", "Only this user may take it; with --org"), EMAIL,
               TAKES("role", "member|editor|owner", "In the organization (default: member)")},
     ASK("POST", INVITATIONS, .shows = "link")},
    {"invitation list", "", "List open invitations", .flags = {TO_ORG}, ASK("GET", INVITATIONS, .shows = "id,email,user,role,by,expires_at")},
    {"invitation remove", "ID", "Take an invitation back", .flags = {TO_ORG}, ASK("DELETE", INVITATIONS "/{ID}")},
    {"member tokens", "ORG", "List members' tokens that reach the organization",
     ASK("GET", ORGS "/member-tokens", .shows = "id,user,name,bounds,expires_at")},
    {"member token-revoke", "ORG ID", "Revoke a member's token", ASK("DELETE", ORGS "/member-tokens/{ID}")},
    {"team add", "ORG TEAM", "Make a team", .flags = {DESCRIPTION}, ASK("POST", TEAMS, .body = "name={TEAM}")},
    {"team list", "ORG", "List the teams of an organization", ASK("GET", TEAMS, .shows = "name,members,created_at,description")},
    {"team show", "ORG TEAM", "Show a team", ASK("GET", TEAM)},
    {"team set", "ORG TEAM", "Change a team", .flags = {TAKES("name", "NAME", "The new name"), DESCRIPTION}, ASK("PATCH", TEAM)},
    {"team remove", "ORG TEAM", "Remove a team, and what it was granted", ASK("DELETE", TEAM)},
    {"team members", "ORG TEAM", "List the members of a team", ASK("GET", TEAM "/members", .shows = "user,joined_at")},
    {"team member-add", "ORG TEAM USER", "Put a member into a team", ASK("PUT", TEAM "/members/{USER}")},
    {"team member-remove", "ORG TEAM USER", "Take a member out of a team", ASK("DELETE", TEAM "/members/{USER}")},
    {"team repos", "ORG TEAM", "List repositories that a team has access to", ASK("GET", TEAM "/repositories", .shows = "level,repository")},

    {"repo add", "REPOSITORY", "Make a repository", .flags = {VISIBILITY, DESCRIPTION, README},
     ASK("POST", "/repositories", .body = "name={REPOSITORY}")},
    {"repo list", "", "List repositories", .flags = {TAKES("owner", "NAME", "Only of this user or organization")},
     ASK("GET", "/repositories", .shows = "visibility,level,updated_at,name", .open = true)},
    {"repo show", "REPOSITORY", "Show a repository", ASK("GET", REPOS, .open = true)},
    {"repo set", "REPOSITORY", "Change a repository", .flags = {DESCRIPTION, README, VISIBILITY}, ASK("PATCH", REPOS)},
    {"repo public", "REPOSITORY", "Let everybody pull a repository", ASK("PATCH", REPOS, .body = "visibility=public")},
    {"repo private", "REPOSITORY", "Let only those pull a repository who have access to it", ASK("PATCH", REPOS, .body = "visibility=private")},
    {"repo archive", "REPOSITORY", "Make a repository read-only; it can still be pulled", ASK("PATCH", REPOS, .body = "archived=true")},
    {"repo unarchive", "REPOSITORY", "Make an archived repository writable again", ASK("PATCH", REPOS, .body = "archived=false")},
    {"repo remove", "REPOSITORY", "Remove a repository and what is in it", ASK("DELETE", REPOS)},
    {"repo grants", "REPOSITORY", "List teams with access", ASK("GET", REPOS "/teams", .shows = "level,team")},
    {"repo grant", "REPOSITORY TEAM LEVEL", "Give a team access: read, write or admin", ASK("PUT", REPOS "/teams/{TEAM}", .body = "level={LEVEL}")},
    {"repo revoke", "REPOSITORY TEAM", "Take a team's access away", ASK("DELETE", REPOS "/teams/{TEAM}")},
    {"repo shares", "REPOSITORY", "List collaborators of a personal repository", ASK("GET", REPOS "/collaborators", .shows = "level,user")},
    {"repo share", "REPOSITORY USER LEVEL", "Share a personal repository: read or write",
     ASK("PUT", REPOS "/collaborators/{USER}", .body = "level={LEVEL}")},
    {"repo unshare", "REPOSITORY USER", "Share it no longer", ASK("DELETE", REPOS "/collaborators/{USER}")},

    {"tag list", "REPOSITORY", "List the tags of a repository",
     ASK("GET", REPOS "/tags", .shows = "name,digest,size,pushed_at", .open = true)},
    {"tag show", "REPOSITORY TAG", "Show a tag", ASK("GET", REPOS "/tags/{TAG}", .open = true)},
    {"tag remove", "REPOSITORY TAG", "Remove a tag", ASK("DELETE", REPOS "/tags/{TAG}")},

    {"factor list", "", "List the own second factors", ASK("GET", "/me/factors", .shows = "id,kind,name,created_at,last_used_at")},
    {"factor add", "", "Add an authenticator app as a second factor; prints its secret, this once",
     "It counts once `berth factor confirm` had a first code of it. Security keys are added in a browser.",
     .flags = {TAKES("name", "TEXT", "What to call it")}, ASK("POST", "/me/factors/totp", .shows = "*")},
    {"factor confirm", "ID CODE", "Take an authenticator app's first code; prints recovery codes, this once",
     ASK("POST", "/me/factors/{ID}/confirm", .body = "code={CODE}", .shows = "*")},
    {"factor remove", "ID", "Remove a second factor", ASK("DELETE", "/me/factors/{ID}")},
    {"factor codes", "", "Make new recovery codes in the place of those there were, and print them, this once",
     ASK("POST", "/me/recovery-codes", .shows = "recovery_codes")},
    {"session list", "", "List browsers that are logged in", ASK("GET", "/me/sessions", .shows = "id,created_at,last_used_at,address,client")},
    {"session end", "ID", "Log a browser out", ASK("DELETE", "/me/sessions/{ID}")},

    {"token add", "NAME", "Make a token; its text is printed, this once",
     "PATTERN is *, NAMESPACE/*, NAMESPACE/PREFIX* or NAMESPACE/NAME; SCOPE is public-read, read, write, delete or\n"
     "admin, each with those before it. A token never may more than its owner.",
     .flags = {SETS("bound", "PATTERN:SCOPE", "bounds[]", "Where it may do what (default: *:read); may be repeated"),
               TAKES("expires-in-days", "N", "Its life (default: 90); 0: for ever"), OF_ORG},
     ASK("POST", TOKENS, .body = "name={NAME}", .shows = "token")},
    {"token list", "", "List tokens", .flags = {OF_ORG}, ASK("GET", TOKENS, .shows = "id,state,name,bounds,expires_at,last_used_at")},
    {"token show", "ID", "Show a token", .flags = {OF_ORG}, ASK("GET", TOKENS "/{ID}")},
    {"token set", "ID", "Change a token",
     .flags = {TAKES("name", "NAME", "The new name"), TAKES("state", "active|disabled", "disabled: it does not work until it is active again"), OF_ORG},
     ASK("PATCH", TOKENS "/{ID}")},
    {"token rotate", "ID", "Give a token a new text, which is printed, this once",
     .flags = {TAKES("overlap-hours", "N", "How long the old text still works (default: 24)"), OF_ORG},
     ASK("POST", TOKENS "/{ID}/rotate", .shows = "token")},
    {"token revoke", "[ID]", "End a token for good",
     "With --stdin, a leaked token by its text, whosever it is.",
     .flags = {SWITCH("stdin", "Read the token's text from standard input"), OF_ORG}, .run = run_token_revoke,
     .request = {.method = "DELETE", .target = TOKENS "/{ID}"}},

    {"trust add", "ORG RULE", "Make a trust rule: whose tokens become short ones of the organization, without a secret",
     "A token of the issuer's fits when every CLAIM has the PATTERN given, in which * stands for any characters but\n"
     "/ and :. SCOPE and its PATTERN are those of `berth token add`.",
     .flags = {TRUST_FLAGS}, ASK("POST", TRUST, .body = "name={RULE}")},
    {"trust list", "ORG", "List the trust rules of an organization", ASK("GET", TRUST, .shows = "id,name,issuer,claims,bounds")},
    {"trust show", "ORG ID", "Show a trust rule", ASK("GET", TRUST "/{ID}")},
    {"trust set", "ORG ID", "Change a trust rule; tokens that it gave end", .flags = {TRUST_FLAGS}, ASK("PATCH", TRUST "/{ID}")},
    {"trust remove", "ORG ID", "Remove a trust rule; tokens that it gave end", ASK("DELETE", TRUST "/{ID}")},

    {"access explain", "WHO REPOSITORY ACTION", "Say whether somebody may do something, and why",
     "WHO is a user or an organization, \"\" anybody. ACTION: pull, push, delete and those of docs/permissions.md.",
     ASK("GET", "/access/explain", .body = "who={WHO} repository={REPOSITORY} action={ACTION}", .open = true)},
    {"plan add", "PLAN", "Make a plan; what no option limits is unlimited", .flags = {PLAN_FLAGS}, ASK("POST", "/plans", .body = "name={PLAN}")},
    {"plan list", "", "List plans",
     ASK("GET", "/plans", .shows = "name,default,bytes,private_repos,collaborators,seats,pulls,anonymous_pulls,pushes")},
    {"plan show", "PLAN", "Show a plan; -1: unlimited", ASK("GET", PLANS)},
    {"plan set", "PLAN", "Change a plan", .flags = {PLAN_FLAGS}, ASK("PATCH", PLANS)},
    {"plan remove", "PLAN", "Remove a plan that nobody has", ASK("DELETE", PLANS)},
    {"plan default", "PLAN", "Make a plan that of accounts that have none", ASK("PUT", PLANS "/default")},
    {"plan give", "ACCOUNT PLAN", "Give a user or an organization a plan", ASK("PUT", "/accounts/{ACCOUNT}/plan", .body = "plan={PLAN}")},
    {"usage show", "ACCOUNT", "Show what a user or an organization uses of its plan, and why it is limited", ASK("GET", "/usage/{ACCOUNT}")},
    {"usage export", "", "Write what all accounts use to standard output, as CSV", ASK("GET", "/usage", .body = "format=csv", .raw = true)},

    {"keys rotate", "", "Seal secrets in the database under a new key", ASK("POST", "/keys/rotate", .shows = "*")},
    {"mail test", "ADDRESS", "Send a mail, and say what went wrong", ASK("POST", "/mail/test", .body = "to={ADDRESS}")},
    {"ldap test", "USER", "Look a user up in the directory, step by step",
     .flags = {SWITCH("bind", "Try the user's password, from standard input")}, .run = run_ldap_test,
     .request = {.method = "POST", .target = "/ldap/test", .body = "username={USER}", .shows = "*"}},
    {"audit list", "", "Search the audit log, newest first", .flags = {LOG_FILTER, OF_LOG},
     ASK("GET", "[/orgs/{--org}]/audit", .shows = "at,actor,action,object,address,result,count")},
    {"audit export", "", "Write the audit log to standard output", .flags = {LOG_FILTER, TAKES("format", "jsonl|csv", "Default: jsonl")},
     ASK("GET", "/audit/export", .raw = true)},
    {"audit verify", "", "Check that nobody changed, removed or added anything in the audit log",
     "Exit code 1 when it is not what was sealed. Without an anchor from elsewhere, a log that was set back\n"
     "together with the keys of this machine looks sound.",
     .flags = {TAKES("anchor", "FILE", "A line of `berth audit anchor` that was kept elsewhere")}, .run = run_audit_verify},
    {"audit anchor", "", "Print a line that proves later what the audit log held, to be kept elsewhere", .run = run_audit_anchor},
    {"audit rotate-key", "", "Make a new key that signs the audit log's seals",
     "Seals by the old key still verify: its public half is kept.", .run = run_audit_rotate},

    {"completion", "SHELL", "Print completions for bash, zsh or fish", .run = run_completion},
    {"version", "", "Print the version", .run = run_version},
};
const size_t n_cli_commands = ARRAY_LEN(cli_commands);
