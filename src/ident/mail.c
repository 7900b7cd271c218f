/* Mail to users: a bounded queue in memory and one thread that sends it.
 *
 * A mail is a notice or a link that can be asked for again, so a crash may lose what waits; nothing in the
 * database would be worth the writes. Whether a mail could be sent is in the log, never its text. */
#include "ident/ident_int.h"
#include "net/mail.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { QUEUE = 256, TEXT_MAX = 4096 };
#define MAIL_TIMEOUT_US ((int64_t)30 * 1000000)

struct letter {
    char to[EMAIL_MAX + 1], subject[100], text[TEXT_MAX];
};
struct mailer {
    const struct net *net;
    char *url, *user, *password, *from;
    bool plain;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct letter *queue[QUEUE]; /* under lock */
    size_t first, n;
    bool stop;
};

static int deliver(struct mailer *m, const struct letter *l, struct err *err)
{
    struct mail_config cfg = {.end = {.url = m->url, .who = NET_OPERATOR, .plain = m->plain},
                              .user = m->user,
                              .password = m->password,
                              .from = m->from,
                              .from_name = "Berth",
                              .timeout = MAIL_TIMEOUT_US};
    struct mail mail = {.to = l->to, .subject = l->subject, .text = l->text};
    return net_mail_send(m->net, &cfg, &mail, err);
}

static struct letter *next(struct mailer *m)
{
    struct letter *l = NULL;
    (void)pthread_mutex_lock(&m->lock);
    while (m->n == 0 && !m->stop)
        (void)pthread_cond_wait(&m->more, &m->lock);
    if (!m->stop) {
        l = m->queue[m->first];
        m->first = (m->first + 1) % QUEUE;
        m->n--;
    }
    (void)pthread_mutex_unlock(&m->lock);
    return l;
}

static void letter_free(struct letter *l)
{
    secret_wipe(l, sizeof *l); /* links are secrets */
    free(l);
}

static void *run(void *arg)
{
    struct mailer *m = arg;
    struct letter *l;
    while ((l = next(m)) != NULL) {
        struct err err = {0};
        if (deliver(m, l, &err) < 0)
            log_line(LOG_WARN, "mail was not sent", F_CSTR("subject", l->subject), F_CSTR("error", err.text));
        letter_free(l);
    }
    return NULL;
}

int mailer_new(struct mailer **ret, const struct net *net, const struct config *c, struct err *err)
{
    if (config_text(c, SMTP_URL)[0] == 0) {
        *ret = NULL;
        return 0;
    }
    bool plain = config_num(c, SMTP_PLAIN) != 0;
    struct net_end end = {.url = config_text(c, SMTP_URL), .who = NET_OPERATOR, .plain = plain};
    int rc = net_end_check(net, &end, NET_SMTP, NULL, err);
    if (rc < 0)
        return err_wrap(err, "smtp_url");
    if (!net_mail_address_ok(str_of(config_text(c, MAIL_FROM))))
        return err_set(err, ERR_USAGE, "mail_from must be an address when smtp_url is set");
    struct mailer *m = mem_zalloc(sizeof *m);
    m->net = net;
    m->plain = plain;
    m->url = mem_strdup(config_text(c, SMTP_URL));
    m->user = mem_strdup(config_text(c, SMTP_USER));
    m->password = mem_strdup(config_text(c, SMTP_PASSWORD));
    m->from = mem_strdup(config_text(c, MAIL_FROM));
    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_cond_init(&m->more, NULL);
    BUG_ON(pthread_create(&m->thread, NULL, run, m) != 0);
    *ret = m;
    return 0;
}

void mailer_free(struct mailer *m)
{
    if (m == NULL)
        return;
    (void)pthread_mutex_lock(&m->lock);
    m->stop = true;
    (void)pthread_cond_signal(&m->more);
    (void)pthread_mutex_unlock(&m->lock);
    (void)pthread_join(m->thread, NULL);
    for (; m->n > 0; m->n--, m->first = (m->first + 1) % QUEUE)
        letter_free(m->queue[m->first]);
    (void)pthread_mutex_destroy(&m->lock);
    (void)pthread_cond_destroy(&m->more);
    secret_wipe(m->password, strlen(m->password));
    free(m->url);
    free(m->user);
    free(m->password);
    free(m->from);
    free(m);
}

static void write_letter(struct letter *l, struct str to, const char *subject, const char *text)
{
    text_copy(l->to, sizeof l->to, to);
    text_copy(l->subject, sizeof l->subject, str_of(subject));
    text_copy(l->text, sizeof l->text, str_of(text));
}

void mailer_send(struct mailer *m, struct str to, const char *subject, const char *text)
{
    if (m == NULL || to.n == 0)
        return;
    struct letter *l = mem_zalloc(sizeof *l);
    write_letter(l, to, subject, text);
    (void)pthread_mutex_lock(&m->lock);
    bool room = m->n < QUEUE;
    if (room) {
        m->queue[(m->first + m->n++) % QUEUE] = l;
        (void)pthread_cond_signal(&m->more);
    }
    (void)pthread_mutex_unlock(&m->lock);
    if (room)
        return;
    log_line(LOG_WARN, "mail was dropped: too many wait", F_CSTR("subject", subject));
    letter_free(l);
}

int mailer_now(struct mailer *m, struct str to, const char *subject, const char *text, struct err *err)
{
    struct letter l = {.to = ""};
    if (m == NULL)
        return err_set(err, ERR_CONFLICT, "mail is not set up: smtp_url is empty");
    write_letter(&l, to, subject, text);
    return deliver(m, &l, err);
}

/* --- to an account */

static const char ADDRESS[] = "SELECT email FROM accounts WHERE id = $1 AND email_verified_at > 0 AND state = 0";

struct address {
    int64_t id;
    char email[EMAIL_MAX + 1];
};

static void map_email(const struct db_rows *row, void *out) { text_copy(((struct address *)out)->email, EMAIL_MAX + 1, db_text(row, 0)); }

static int address_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct address *a = arg;
    int rc = db_one(tx, ADDRESS, DB_ARGS(DB_I(a->id)), map_email, a, err);
    return rc < 0 ? rc : 0;
}

void mail_account(struct ident *i, const struct account *a, const char *subject, const char *fmt, ...)
{
    struct address to = {.id = a->id};
    struct err ignored = {0};
    char text[TEXT_MAX];
    va_list ap;
    if (i->mailer == NULL || db_read(i->db, address_read, &to, &ignored) < 0)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text - 200, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text - 200)
        return;
    (void)snprintf(text + n, sizeof text - (size_t)n, "\nIf this was not you, change your password and look at your sessions: %.120s/account\n", i->origin);
    mailer_send(i->mailer, str_of(to.email), subject, text);
}
