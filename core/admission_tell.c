/* How what is wrong, or unwise, is told. */
#include "core/admission_rules.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 512

static const char *keep(struct admit *c, const char *text)
{
        const char *copy = arena_strdup(c->a, text);

        if (!copy)
                c->out->rc = -ENOMEM;
        return copy ? copy : "";
}

static void tell(struct admit *c, const char *path, const char *fmt, va_list ap) printf_like(3, 0);

static void tell(struct admit *c, const char *path, const char *fmt, va_list ap)
{
        char text[TEXT_MAX];

        vsnprintf(text, sizeof(text), fmt, ap);
        c->out->v[c->out->n++] = (struct admission_problem){c->rule, path, keep(c, text)};
}

void admit_tell(struct admit *c, const char *path, const char *fmt, ...)
{
        va_list ap;

        if (c->out->n == ADMISSION_PROBLEMS_MAX)
                return;
        va_start(ap, fmt);
        tell(c, path, fmt, ap);
        va_end(ap);
}

/* "spec.disks[1].name"; what does not fit is cut. */
static size_t write_path(const struct spot *at, char *to, size_t room)
{
        size_t n = at->up ? write_path(at->up, to, room) : 0;
        char *end = to + n;

        room -= n;
        if (at->kind == SPOT_MEMBER)
                snprintf(end, room, "%s%s", n ? "." : "", at->name);
        else if (at->kind == SPOT_ELEMENT)
                snprintf(end, room, "%s%s[%zu]", n ? "." : "", at->name, at->index);
        else
                snprintf(end, room, "%s%s[%s]", n ? "." : "", at->name, at->key);
        return n + strlen(end);
}

void admit_tell_at(struct admit *c, const struct spot *at, const char *fmt, ...)
{
        char path[TEXT_MAX];
        va_list ap;

        if (c->out->n == ADMISSION_PROBLEMS_MAX)
                return;
        write_path(at, path, sizeof(path));
        va_start(ap, fmt);
        tell(c, keep(c, path), fmt, ap);
        va_end(ap);
}

void admit_warn(struct admit *c, const char *fmt, ...)
{
        char text[ADMISSION_WARNING_TEXT];
        va_list ap;

        if (c->out->nwarnings == ADMISSION_WARNINGS_MAX) {
                c->more_warnings++;
                return;
        }
        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        c->out->warnings[c->out->nwarnings++] = keep(c, text);
}

void admit_count_warnings(struct admit *c)
{
        size_t more = c->more_warnings;

        if (!more)
                return;
        c->out->nwarnings--;
        c->more_warnings = 0;
        admit_warn(c, "%zu more warnings are not shown", more + 1);
}

void admit_count(struct admit *c, const struct spot *at, size_t n, size_t most)
{
        if (n > most)
                admit_tell_at(c, at, "has %zu members, at most %zu are allowed", n, most);
}

void admit_between(struct admit *c, const struct spot *at, int64_t v, int64_t min, int64_t max)
{
        if (v < min || v > max)
                admit_tell_at(c, at, "%lld is not between %lld and %lld", (long long)v,
                              (long long)min, (long long)max);
}

void admit_one_of(struct admit *c, const struct spot *at, const char *s, const char *const *words)
{
        char all[128] = "";
        size_t n = 0;

        for (const char *const *w = words; *w; w++)
                if (!strcmp(s, *w))
                        return;
        for (const char *const *w = words; *w && n < sizeof(all); w++)
                if (**w)
                        n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", n ? ", " : "", *w);
        admit_tell_at(c, at, "\"%s\" is none of %s", s, all);
}
