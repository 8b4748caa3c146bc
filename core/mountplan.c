#include "core/mountplan.h"

#include "base/cleanup.h"
#include "core/mountopts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FIRST_MS   1000
#define BLANK      " \t"
#define NAME_CHARS "abcdefghijklmnopqrstuvwxyz0123456789-"

/*
 * hard: a slow server makes a guest wait, not fail. retry=0: mount(8) gives up at once, and is
 * tried again from here. nosuid, nodev: nothing in a pool is ever run.
 */
static const struct mountopt SAFE[] = {
        {"hard", ""},    {"vers", "4.2"}, {"proto", "tcp"}, {"timeo", "600"}, {"retrans", "2"},
        {"noatime", ""}, {"nosuid", ""},  {"nodev", ""},    {"retry", "0"},
};

/* --- the configuration */

/* The next word of a line, cut off at its end; -1 when it does not fit. *p moves on. */
static int word(const char **p, char *out, size_t size)
{
        *p += strspn(*p, BLANK);
        size_t len = strcspn(*p, BLANK "\n");
        if (len >= size)
                return -1;
        memcpy(out, *p, len);
        out[len] = '\0';
        *p += len;
        return 0;
}

static const char *flaw(const struct mountplan_entry *x)
{
        const char *colon = strstr(x->source, ":/");

        if (!*x->pool || x->pool[strspn(x->pool, NAME_CHARS)] != '\0')
                return "the pool's name must be of a-z, 0-9 and -";
        if (!colon || colon == x->source || *x->source == '-')
                return "the second word must be SERVER:/EXPORT";
        if (*x->path != '/' || !x->path[1] || strstr(x->path, "/.."))
                return "the third word must be an absolute path";
        return NULL;
}

static const char *parse_line(const char *line, struct mountplan_entry *x)
{
        char rest[2];

        if (word(&line, x->pool, sizeof(x->pool)) || word(&line, x->source, sizeof(x->source)) ||
            word(&line, x->path, sizeof(x->path)) || word(&line, x->options, sizeof(x->options)))
                return "a word is too long";
        if (word(&line, rest, sizeof(rest)) || *rest)
                return "more than four words";
        for (size_t n = strlen(x->path); n > 1 && x->path[n - 1] == '/'; n--)
                x->path[n - 1] = '\0';
        return flaw(x);
}

int mountplan_parse(const char *text, struct mountplan_entry *out, size_t max, size_t *n,
                    struct err *e)
{
        char options[MOUNTPLAN_OPTIONS_MAX];
        size_t count = 0, number = 1;

        for (const char *line = text; *line; number++) {
                const char *begin = line + strspn(line, BLANK);

                line += strcspn(line, "\n");
                line += *line == '\n';
                if (*begin == '\n' || *begin == '#' || !*begin)
                        continue;
                if (count == max)
                        return err_set(e, -EINVAL, "line %zu: more than %zu pools", number, max);
                const char *why = parse_line(begin, &out[count]);
                for (size_t i = 0; i < count && !why; i++)
                        if (!strcmp(out[i].path, out[count].path) ||
                            !strcmp(out[i].pool, out[count].pool))
                                why = "this pool or path was there before";
                if (why)
                        return err_set(e, -EINVAL, "line %zu: %s", number, why);
                if (mountplan_options(out[count].options, options, e))
                        return err_wrap(e, "line %zu", number);
                count++;
        }
        *n = count;
        return 0;
}

/* --- options */

static bool add(char out[MOUNTPLAN_OPTIONS_MAX], const struct mountopt *o)
{
        size_t len = strlen(out);
        int n = snprintf(out + len, MOUNTPLAN_OPTIONS_MAX - len, "%s%s%s%s", len ? "," : "", o->key,
                         *o->value ? "=" : "", o->value);

        return n >= 0 && (size_t)n < MOUNTPLAN_OPTIONS_MAX - len;
}

int mountplan_options(const char *given, char out[MOUNTPLAN_OPTIONS_MAX], struct err *e)
{
        char text[MOUNTPLAN_OPTIONS_MAX] = "";
        bool fits = true;
        struct mountopt o;

        for (const char *p = given; *p;) {
                int rc = mountopts_next(&p, &o, e);
                const char *why;

                if (rc)
                        return rc;
                if (mountopts_judge(&o, &why) != MOUNTOPTS_FINE)
                        return err_set(e, -EINVAL, "option %s: %s", o.key, why);
        }
        for (size_t i = 0; i < countof(SAFE); i++)
                if (!mountopts_get(given, SAFE[i].key, &o))
                        fits = fits && add(text, &SAFE[i]);
        for (const char *p = given; *p && !mountopts_next(&p, &o, NULL);)
                fits = fits && add(text, &o);
        if (!fits)
                return err_set(e, -EINVAL, "more options than fit");
        memcpy(out, text, sizeof(text));
        return 0;
}

/* --- what to do */

/* "nas:/x/" is "nas:/x". */
static size_t source_len(const char *s)
{
        size_t len = strlen(s);

        while (len > 1 && s[len - 1] == '/' && s[len - 2] != ':')
                len--;
        return len;
}

enum mountplan_do mountplan_decide(const char *want, const char *mounted)
{
        if (!mounted)
                return MOUNTPLAN_MOUNT;
        size_t len = source_len(mounted);
        return len == source_len(want) && !memcmp(mounted, want, len) ? MOUNTPLAN_LEAVE
                                                                      : MOUNTPLAN_REFUSE;
}

long mountplan_wait_ms(unsigned failures)
{
        if (!failures)
                return MOUNTPLAN_PERIOD_MS;
        if (failures > 6)
                return MOUNTPLAN_BACKOFF_MS;
        long ms = (long)FIRST_MS << (failures - 1);
        return ms < MOUNTPLAN_BACKOFF_MS ? ms : MOUNTPLAN_BACKOFF_MS;
}
