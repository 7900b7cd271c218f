/* A password or token from the terminal (not shown, asked twice) or from a pipe (its first line). */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { PASSWORD_LINE_MAX = 4098 };

static int read_line(struct buf *ret, struct err *err)
{
    char c;
    long n;
    while ((n = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n')
        buf_add(ret, &c, 1);
    if (n < 0)
        return err_sys(err, ERR_IO, "cannot read the password");
    if (ret->n > 0 && ret->p[ret->n - 1] == '\r')
        ret->p[--ret->n] = '\0';
    return ret->overflow ? err_set(err, ERR_INVALID, "the password is too long") : 0;
}

static int ask(const char *prompt, bool shown, struct buf *ret, struct err *err)
{
    struct termios old, quiet;
    if (tcgetattr(STDIN_FILENO, &old) != 0)
        return err_sys(err, ERR_IO, "terminal");
    quiet = old;
    if (!shown)
        quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet); /* before the prompt: what answers it is not thrown away */
    fprintf(stderr, "%s", prompt);
    int rc = read_line(ret, err);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
    if (!shown)
        fprintf(stderr, "\n");
    return rc;
}

int line_read(struct buf *ret, const char *prompt, struct err *err)
{
    buf_init(ret, PASSWORD_LINE_MAX);
    return isatty(STDIN_FILENO) ? ask(prompt, true, ret, err) : 0;
}

void password_release(struct buf *b)
{
    if (b->p)
        explicit_bzero(b->p, b->size);
    buf_release(b);
}

int password_read(struct buf *ret, const char *prompt, bool confirm, struct err *err)
{
    buf_init(ret, PASSWORD_LINE_MAX);
    if (!isatty(STDIN_FILENO))
        return read_line(ret, err);
    int rc = ask(prompt, false, ret, err);
    if (rc < 0 || !confirm)
        return rc;
    struct buf again;
    buf_init(&again, PASSWORD_LINE_MAX);
    rc = ask("Again: ", false, &again, err);
    if (rc == 0 && !str_eq(buf_view(ret), buf_view(&again)))
        rc = err_set(err, ERR_INVALID, "the passwords differ");
    password_release(&again);
    return rc;
}
