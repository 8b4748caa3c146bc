#include "kubectl/report.h"

#include "api/finding.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NODES_TOLD 8

/* What is alike stands together; beyond that, node by node. */
static int compare(const void *x, const void *y)
{
        const struct finding *a = x, *b = y;
        int rc = 0;

        if (a->check != b->check)
                return a->check < b->check ? -1 : 1;
        if (a->verdict != b->verdict)
                return a->verdict > b->verdict ? -1 : 1;
        if (a->verdict != DOCTOR_OK)
                rc = strcmp(a->subject, b->subject);
        if (!rc && a->verdict != DOCTOR_OK)
                rc = strcmp(a->says, b->says);
        if (!rc)
                rc = strcmp(a->node, b->node);
        return rc ? rc : strcmp(a->subject, b->subject);
}

void report_sort(struct findings *f)
{
        qsort(f->v, f->n, sizeof(*f->v), compare);
}

static void add_clean(struct buf *b, const char *s)
{
        for (; *s; s++)
                buf_addf(b, "%c", (unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s);
}

static bool alike(const struct finding *a, const struct finding *b)
{
        if (a->check != b->check || a->verdict != b->verdict)
                return false;
        return a->verdict == DOCTOR_OK || (!strcmp(a->says, b->says) && !strcmp(a->mend, b->mend) &&
                                           !strcmp(a->subject, b->subject));
}

static void add_verdict(struct buf *b, enum doctor_verdict v, bool colour)
{
        static const char *const COLOURS[DOCTOR_VERDICTS] = {"\033[32m", "\033[33m", "\033[1;31m"};

        buf_addf(b, "%s%-8s%s", colour ? COLOURS[v] : "", doctor_verdict_name(v),
                 colour ? "\033[0m" : "");
}

/* The nodes of the alike ones from i on that are bad; of those that are right the first alone. */
static void add_where(const struct findings *f, size_t i, size_t n, struct buf *b)
{
        size_t told = 0;

        for (size_t k = i; k < i + n && (f->v[i].verdict != DOCTOR_OK || k == i); k++) {
                if (!*f->v[k].node || told == NODES_TOLD)
                        continue;
                buf_adds(b, told++ ? ", " : "");
                add_clean(b, f->v[k].node);
        }
        if (told == NODES_TOLD && n > told)
                buf_addf(b, " and %zu more", n - told);
        if (*f->v[i].subject && *f->v[i].node) {
                buf_adds(b, " ");
                add_clean(b, f->v[i].subject);
        }
        buf_adds(b, told ? ": " : "");
}

static void add_row(const struct findings *f, size_t i, size_t n, bool colour, struct buf *b)
{
        const struct finding *x = &f->v[i];

        buf_addf(b, "%2u %-21s", x->check, doctor_check_name(x->check));
        add_verdict(b, x->verdict, colour);
        add_where(f, i, n, b);
        add_clean(b, x->says);
        if (x->verdict == DOCTOR_OK && n > 1)
                buf_addf(b, " (and %zu more)", n - 1);
        buf_adds(b, "\n");
        if (*x->mend) {
                buf_addf(b, "%32s", "");
                add_clean(b, x->mend);
                buf_adds(b, "\n");
        }
}

int report_table(const struct findings *f, bool colour, struct buf *b)
{
        size_t count[DOCTOR_VERDICTS] = {0}, n;

        for (size_t i = 0; i < f->n; i += n) {
                for (n = 1; i + n < f->n && alike(&f->v[i], &f->v[i + n]); n++)
                        ;
                add_row(f, i, n, colour, b);
        }
        for (size_t i = 0; i < f->n; i++)
                count[f->v[i].verdict]++;
        buf_addf(b, "%zu fault%s, %zu warning%s, %zu ok\n", count[DOCTOR_FAULT],
                 count[DOCTOR_FAULT] == 1 ? "" : "s", count[DOCTOR_WARNING],
                 count[DOCTOR_WARNING] == 1 ? "" : "s", count[DOCTOR_OK]);
        return b->failed ? b->error : 0;
}

int report_json(const struct findings *f, struct buf *b)
{
        int64_t count[DOCTOR_VERDICTS] = {0};
        autojson struct json *j = json_new_object();
        struct json *list = json_new_array();
        bool ok = list;

        for (size_t i = 0; i < f->n; i++) {
                count[f->v[i].verdict]++;
                ok = ok && json_add(list, finding_encode(&f->v[i]));
        }
        ok = json_set_str(j, "verdict", doctor_verdict_name(findings_worst(f))) && ok;
        ok = json_set_int(j, "faults", count[DOCTOR_FAULT]) && ok;
        ok = json_set_int(j, "warnings", count[DOCTOR_WARNING]) && ok;
        ok = json_set(j, "findings", list) && ok;
        if (!ok)
                return -ENOMEM;
        int rc = json_print(j, b);
        return rc ? rc : buf_adds(b, "\n");
}
