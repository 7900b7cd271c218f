/* Completions, made from the tables, so that they never lag behind. What follows an option comes from
 * its key's type: true or false, the words of an enumeration, a directory, a file. */
#include "cli/cli.h"

#include <stdio.h>

enum { WORD_MAX = 40 };
static const char SHELLS[] = "bash zsh fish";

/* Words of two-word commands ("user add"), each first word once. */
static struct str first_word(size_t i)
{
    struct str rest = str_of(cli_commands[i].name), first;
    str_split(&rest, ' ', &first);
    return first;
}

static const char *second_word(size_t i)
{
    const char *space = strchr(cli_commands[i].name, ' ');
    return space ? space + 1 : NULL;
}

static bool opens_group(size_t i)
{
    return second_word(i) != NULL && (i == 0 || !str_eq(first_word(i - 1), first_word(i)));
}

static void print_group(struct str first)
{
    const char *gap = "";
    for (size_t i = 0; i < n_cli_commands; i++)
        if (second_word(i) && str_eq(first_word(i), first)) {
            printf("%s%s", gap, second_word(i));
            gap = " ";
        }
}

static void print_commands(void)
{
    printf("help");
    for (size_t i = 0; i < n_cli_commands; i++)
        if (!second_word(i) || opens_group(i))
            printf(" %.*s", STR_FMT(first_word(i)));
}

static bool takes_key(const struct cli_command *c, const struct config_key *k, size_t i)
{
    return i != CONFIG_DATA && c->all_keys && k[i].type != CONFIG_SECRET;
}

static bool names_file(const struct config_key *k) { return strstr(k->allowed, "file") != NULL; }

static void print_words(const char *words)
{
    for (; *words; words++)
        putchar(*words == '|' ? ' ' : *words);
}

static const struct cli_flag api_flags[] = {{"host", "The hub to ask", "HOST", NULL},
                                            {"ca", "Certificates to trust", "FILE", NULL},
                                            {"login", "The own password instead of the token", NULL, NULL}};

/* i-th flag of a command that is no key; NULL behind the last. */
static const struct cli_flag *flag_of(const struct cli_command *c, size_t i)
{
    size_t n = 0;
    while (n < CLI_FLAGS_MAX && c->flags[n].name)
        n++;
    if (i < n)
        return &c->flags[i];
    return asks_api(c) && i - n < ARRAY_LEN(api_flags) ? &api_flags[i - n] : NULL;
}

static bool takes_words(const struct cli_flag *f) { return f->value && strchr(f->value, '|'); }
static bool takes_file(const struct cli_flag *f) { return f->value && strcmp(f->value, "FILE") == 0; }

/* "a|b|c" as "a b c"; true or false for a switch; nothing where any text may stand. */
static bool print_values(const struct config_key *k)
{
    if (k->type == CONFIG_BOOL)
        return printf("true false") > 0;
    if (k->type != CONFIG_ENUM)
        return false;
    print_words(k->allowed);
    return true;
}

/* --- bash */

static void bash_values(void)
{
    size_t n;
    const struct config_key *k = config_keys(&n);
    printf("    case $prev in\n        --data) _berth_files -d; return ;;\n        --config");
    for (size_t i = 0; i < n; i++)
        if (names_file(&k[i]))
            printf("|--%s", k[i].name);
    printf(") _berth_files -f; return ;;\n");
    for (size_t i = 0; i < n; i++)
        if (k[i].type == CONFIG_ENUM) {
            printf("        --%s) words='", k[i].name);
            (void)print_values(&k[i]);
            printf("' ;;\n");
        }
    printf("    esac\n");
}

/* What follows the flags of commands. */
static void bash_flag_values(void)
{
    const struct cli_flag *f;
    printf("    case \"${COMP_WORDS[1]} ${COMP_WORDS[2]} $prev\" in\n");
    for (size_t c = 0; c < n_cli_commands; c++)
        for (size_t i = 0; (f = flag_of(&cli_commands[c], i)) != NULL; i++) {
            if (!f->value)
                continue;
            printf("        '%s%s--%s') ", cli_commands[c].name, second_word(c) ? " " : " '*' ", f->name);
            if (takes_words(f)) {
                printf("words='");
                print_words(f->value);
                printf("' ;;\n");
            } else {
                printf("%sreturn ;;\n", takes_file(f) ? "_berth_files -f; " : "");
            }
        }
    printf("    esac\n");
}

static void bash_options(const struct cli_command *c)
{
    size_t n;
    const struct config_key *k = config_keys(&n);
    const struct cli_flag *f;
    for (size_t i = 0; (f = flag_of(c, i)) != NULL; i++)
        printf("--%s ", f->name);
    for (size_t i = 0; i < n; i++)
        if (takes_key(c, k, i))
            printf("--%s ", k[i].name);
    printf("--data --config --json --help");
}

static void bash(void)
{
    printf("# Completion of berth(1) for bash.\n"
           "_berth_files() {\n    compopt -o filenames 2>/dev/null\n"
           "    mapfile -t COMPREPLY < <(compgen \"$1\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n}\n"
           "_berth() {\n    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n    COMPREPLY=()\n");
    bash_values();
    bash_flag_values();
    printf("    case \"$COMP_CWORD ${COMP_WORDS[1]}\" in\n        \"1 \"*) words='");
    print_commands();
    printf("' ;;\n        '2 help') words='");
    print_commands();
    printf("' ;;\n");
    for (size_t i = 0; i < n_cli_commands; i++)
        if (opens_group(i)) {
            printf("        '2 %.*s') words='", STR_FMT(first_word(i)));
            print_group(first_word(i));
            printf("' ;;\n");
        }
    printf("        '2 completion') words='%s' ;;\n    esac\n    if [ -z \"$words\" ]; then\n"
           "        case \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n", SHELLS);
    for (size_t i = 0; i < n_cli_commands; i++) {
        printf("            '%s%s) words='", cli_commands[i].name, second_word(i) ? "'" : " '*");
        bash_options(&cli_commands[i]);
        printf("' ;;\n");
    }
    printf("        esac\n    fi\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
           "    if [ \"${#COMPREPLY[@]}\" -eq 0 ]; then _berth_files -f; fi\n}\ncomplete -F _berth berth\n");
}

/* --- zsh and fish: with explanations */

/* text inside single quotes; `also` are characters that want a backslash. */
static void quoted(const char *text, const char *quote, const char *also)
{
    for (; *text; text++) {
        if (*text == '\'')
            printf("%s", quote);
        else
            printf("%s%c", strchr(also, *text) ? "\\" : "", *text);
    }
}

static void zsh_describe(struct str word, const char *text)
{
    printf("'%.*s:", STR_FMT(word));
    quoted(text, "'\\''", "");
    printf("' ");
}

static void zsh_option(const char *name, const char *help, const char *after)
{
    printf(" '--%s[", name);
    quoted(help, "'\\''", "[]:");
    printf("]%s'", after);
}

static void zsh_key(const struct config_key *k)
{
    printf(" '--%s=[", k->name);
    quoted(k->help, "'\\''", "[]:");
    printf("]:value:");
    if (names_file(k)) {
        printf("_files'");
        return;
    }
    printf("%s", k->type == CONFIG_BOOL || k->type == CONFIG_ENUM ? "(" : " ");
    printf("%s", print_values(k) ? ")'" : "'");
}

static void zsh_flag(const struct cli_flag *f)
{
    char after[160] = "";
    if (takes_words(f)) {
        int n = snprintf(after, sizeof after, ":value:(%.120s)", f->value);
        for (int i = 0; i < n; i++)
            after[i] = after[i] == '|' ? ' ' : after[i];
    } else if (f->value) {
        snprintf(after, sizeof after, ":value:%s", takes_file(f) ? "_files" : " ");
    }
    zsh_option(f->name, f->help, after);
}

static void zsh_options(const struct cli_command *c)
{
    size_t n;
    const struct config_key *k = config_keys(&n);
    const struct cli_flag *f;
    for (size_t i = 0; (f = flag_of(c, i)) != NULL; i++)
        zsh_flag(f);
    for (size_t i = 0; i < n; i++)
        if (takes_key(c, k, i))
            zsh_key(&k[i]);
    printf(" '--data=[Data directory]:directory:_files -/' '--config=[Configuration file]:file:_files'");
    zsh_option("json", "Output for machines", "");
    zsh_option("help", "Tell more", "");
}

static const char *group_text(size_t i)
{
    static const char *const groups[][2] = {{"user", "Users"}, {"org", "Organizations"}, {"member", "Members of organizations"},
                                            {"team", "Teams of organizations"}, {"repo", "Repositories"}, {"token", "Tokens"}, {"tag", "Tags"}, {"factor", "Own second factors"}, {"session", "Own browsers"}, {"keys", "Keys of the hub"}, {"invitation", "Invitations"}, {"mail", "Mail"}, {"ldap", "The directory"}, {"trust", "Trust rules for pipelines"}, {"access", "Rights"},
                                            {"plan", "Plans and limits"}, {"usage", "What accounts use"}, {"audit", "Audit log"}};
    for (size_t k = 0; k < ARRAY_LEN(groups); k++)
        if (str_is(first_word(i), groups[k][0]))
            return groups[k][1];
    bug_at(__FILE__, __LINE__, "a group without a text");
}

static void zsh_words(void)
{
    printf("    first=('help:Tell more of a command' ");
    for (size_t i = 0; i < n_cli_commands; i++)
        if (!second_word(i) || opens_group(i))
            zsh_describe(first_word(i), second_word(i) ? group_text(i) : cli_commands[i].summary);
    printf(")\n    case $words[2] in\n        completion) second=(%s) ;;\n        help) second=($first) ;;\n", SHELLS);
    for (size_t g = 0; g < n_cli_commands; g++) {
        if (!opens_group(g))
            continue;
        printf("        %.*s) second=(", STR_FMT(first_word(g)));
        for (size_t i = g; i < n_cli_commands; i++)
            if (second_word(i) && str_eq(first_word(i), first_word(g)))
                zsh_describe(str_of(second_word(i)), cli_commands[i].summary);
        printf(") ;;\n");
    }
    printf("    esac\n");
}

static void zsh(void)
{
    printf("#compdef berth\n# Completion of berth(1) for zsh.\n_berth() {\n    local -a first second options\n");
    zsh_words();
    printf("    if (( CURRENT == 2 )); then _describe -t commands command first; return; fi\n"
           "    if (( CURRENT == 3 && $#second )); then _describe -t commands command second; return; fi\n"
           "    case \"$words[2] $words[3]\" in\n");
    for (size_t i = 0; i < n_cli_commands; i++) {
        printf("        '%s%s) options=(", cli_commands[i].name, second_word(i) ? "'" : " '*");
        zsh_options(&cli_commands[i]);
        printf(") ;;\n");
    }
    printf("    esac\n    _arguments -S $options '*:operand:_files'\n}\n"
           "if [[ $funcstack[1] == _berth ]]; then _berth \"$@\"; else compdef _berth berth; fi\n");
}

static void fish_line(const char *condition, const char *what, const char *help)
{
    printf("complete -c berth -n '%s' %s -d '", condition, what);
    quoted(help, "\\'", "\\");
    printf("'\n");
}

static void fish_key(const char *condition, const struct config_key *k)
{
    printf("complete -c berth -n '%s' -l %s %s -a '", condition, k->name, names_file(k) ? "-r -F" : "-x");
    (void)print_values(k);
    printf("' -d '");
    quoted(k->help, "\\'", "\\");
    printf("'\n");
}

static void fish_flag(const char *condition, const struct cli_flag *f)
{
    printf("complete -c berth -n '%s' -l %s", condition, f->name);
    printf("%s", !f->value ? "" : takes_file(f) ? " -r -F" : " -x");
    if (takes_words(f)) {
        printf(" -a '");
        print_words(f->value);
        putchar('\'');
    }
    printf(" -d '");
    quoted(f->help, "\\'", "\\");
    printf("'\n");
}

static void fish_command(size_t at)
{
    const struct cli_command *c = &cli_commands[at];
    size_t n;
    const struct config_key *k = config_keys(&n);
    char condition[160], first[WORD_MAX + 1];
    const char *second = second_word(at);
    text_copy(first, sizeof first, first_word(at));
    (void)snprintf(condition, sizeof condition, "__fish_seen_subcommand_from %s%s%.40s", first,
                   second ? "; and __fish_seen_subcommand_from " : "", second ? second : "");
    const struct cli_flag *f;
    for (size_t i = 0; (f = flag_of(c, i)) != NULL; i++)
        fish_flag(condition, f);
    for (size_t i = 0; i < n; i++)
        if (takes_key(c, k, i))
            fish_key(condition, &k[i]);
    if (strcmp(c->operands, "FILE") == 0)
        fish_line(condition, "-F", c->summary);
}

static void fish(void)
{
    printf("# Completion of berth(1) for fish.\ncomplete -c berth -f\n");
    for (size_t i = 0; i < n_cli_commands; i++) {
        char what[64], condition[96], first[WORD_MAX + 1];
        const char *second = second_word(i);
        text_copy(first, sizeof first, first_word(i));
        (void)snprintf(what, sizeof what, "-a %.48s", second ? second : cli_commands[i].name);
        (void)snprintf(condition, sizeof condition, "__fish_seen_subcommand_from %s", first);
        fish_line(second ? condition : "__fish_use_subcommand", what, cli_commands[i].summary);
        (void)snprintf(what, sizeof what, "-a %s", first);
        if (opens_group(i))
            fish_line("__fish_use_subcommand", what, group_text(i));
        fish_command(i);
    }
    fish_line("__fish_use_subcommand", "-a help", "Tell more of a command");
    printf("complete -c berth -n '__fish_seen_subcommand_from completion' -a '%s'\n"
           "complete -c berth -n '__fish_seen_subcommand_from help' -a '", SHELLS);
    print_commands();
    printf("'\ncomplete -c berth -l json -d 'Output for machines'\ncomplete -c berth -l help -d 'Tell more'\n"
           "complete -c berth -l data -r -a '(__fish_complete_directories)' -d 'Data directory'\n"
           "complete -c berth -l config -r -F -d 'Configuration file'\n");
}

int completion_print(const char *shell)
{
    if (strcmp(shell, "bash") == 0) {
        bash();
    } else if (strcmp(shell, "zsh") == 0) {
        zsh();
    } else if (strcmp(shell, "fish") == 0) {
        fish();
    } else {
        print_error("completion: one of bash, zsh, fish");
        return CLI_USAGE;
    }
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}
