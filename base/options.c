#include "base/options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HELP_COLUMN 30
#define HELP_VALUE  ('v' + 256) /* getopt's code of --help, beyond any index */

static int set_number(const struct option_row *row, const char *from, const char *value,
                      struct err *e)
{
        char *end;
        long long v;

        errno = 0;
        v = strtoll(value, &end, 10);
        if (errno || end == value || *end)
                return err_set(e, -EINVAL, "%s: \"%s\" is not a whole number", from, value);
        if (v < row->min || v > row->max)
                return err_set(e, -EINVAL, "%s: %lld is not between %" PRId64 " and %" PRId64, from,
                               v, row->min, row->max);
        *row->number = v;
        return 0;
}

static int set_flag(const struct option_row *row, const char *from, const char *value,
                    struct err *e)
{
        if (strcmp(value, "true") == 0 || strcmp(value, "1") == 0)
                *row->flag = true;
        else if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
                *row->flag = false;
        else
                return err_set(e, -EINVAL, "%s: \"%s\" is neither true nor false", from, value);
        return 0;
}

static int set(const struct option_row *row, const char *from, const char *value, struct err *e)
{
        if (row->number)
                return set_number(row, from, value, e);
        if (row->flag)
                return set_flag(row, from, value, e);
        *row->text = value;
        return 0;
}

static int from_environment(const struct option_row *rows, size_t n, struct err *e)
{
        for (size_t i = 0; i < n; i++) {
                const char *value = rows[i].env ? getenv(rows[i].env) : NULL;
                int rc = value && *value ? set(&rows[i], rows[i].env, value, e) : 0;

                if (rc < 0)
                        return rc;
        }
        return 0;
}

static int bad_word(int code, char **argv, const struct option *table, struct err *e)
{
        const char *word = optind > 0 ? argv[optind - 1] : "";

        if (code == ':')
                return err_set(e, -EINVAL, "%s: a value is missing", word);
        for (const struct option *o = table; o->name; o++)
                if (strncmp(word, "--", 2) == 0 && strncmp(word + 2, o->name, strlen(o->name)) == 0)
                        return err_set(e, -EINVAL, "%s: takes no value", word);
        return err_set(e, -EINVAL, "%s: no such flag, see --help", word);
}

/* Walks the words; with apply only after a walk without a complaint. */
static int from_words(int argc, char **argv, const struct option_row *rows,
                      const struct option *table, bool apply, struct err *e)
{
        optind = 0;
        opterr = 0;
        for (;;) {
                int at = -1, code = getopt_long(argc, argv, "+:", table, &at);

                if (code == -1)
                        return 0;
                if (code == HELP_VALUE)
                        return 1;
                if (code == '?' || code == ':')
                        return bad_word(code, argv, table, e);
                if (!apply)
                        continue;
                int rc = set(&rows[at], table[at].name, optarg ? optarg : "true", e);
                if (rc < 0)
                        return rc;
        }
}

int options_parse(int argc, char **argv, const struct option_row *rows, size_t n, int *operands,
                  struct err *e)
{
        struct option table[OPTIONS_MAX + 2] = {0};
        int rc;

        if (n > OPTIONS_MAX)
                return err_set(e, -EINVAL, "%zu flags, at most %d possible", n, OPTIONS_MAX);
        for (size_t i = 0; i < n; i++)
                table[i] = (struct option){rows[i].name,
                                           rows[i].flag ? no_argument : required_argument, NULL, 0};
        table[n] = (struct option){"help", no_argument, NULL, HELP_VALUE};
        rc = from_words(argc, argv, rows, table, false, e);
        if (rc == 0 && !operands && optind < argc)
                rc = err_set(e, -EINVAL, "%s: not expected, see --help", argv[optind]);
        if (rc == 0)
                rc = from_environment(rows, n, e);
        if (rc == 0)
                rc = from_words(argc, argv, rows, table, true, e);
        if (rc == 0 && operands)
                *operands = optind;
        return rc;
}

static void add_default(struct buf *b, const struct option_row *row)
{
        if (row->number)
                buf_addf(b, " (%" PRId64 ")", *row->number);
        else if (row->text && *row->text && **row->text)
                buf_addf(b, " (%s)", *row->text);
}

static void add_row(struct buf *b, const char *name, const char *value, const char *help)
{
        size_t mark = b->len;

        buf_addf(b, "  --%s%s%s ", name, value ? " " : "", value ? value : "");
        while (!b->failed && b->len - mark < HELP_COLUMN)
                buf_adds(b, " ");
        buf_adds(b, help);
}

int options_help(struct buf *b, const char *usage, const char *about, const struct option_row *rows,
                 size_t n)
{
        buf_addf(b, "Usage: %s\n\n%s\n\nFlags (with their defaults):\n", usage, about);
        for (size_t i = 0; i < n; i++) {
                add_row(b, rows[i].name, rows[i].flag ? NULL : rows[i].value, rows[i].help);
                add_default(b, &rows[i]);
                if (rows[i].env)
                        buf_addf(b, " [$%s]", rows[i].env);
                buf_adds(b, "\n");
        }
        add_row(b, "help", NULL, "this text\n");
        return b->failed ? b->error : 0;
}
