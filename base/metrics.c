/*
 * A metric's series hang in a small hash table of chains that only grow: readers follow them
 * without a lock, a new series is put in front of its chain under the one lock. Values are atomic.
 */
#include "base/metrics.h"

#include "base/fnv.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define BUCKETS    64
#define BOUNDS_MAX 16

enum kind { COUNTER, GAUGE, HISTOGRAM };

struct series {
        struct series *next;
        char *label;               /* its value, "" for a metric without a label */
        _Atomic double v;          /* of a histogram the sum */
        _Atomic uint64_t counts[]; /* per bound and one for +Inf, not cumulated */
};

struct metric {
        struct metric *next;
        enum kind kind;
        char *name, *help, *label;
        double bounds[BOUNDS_MAX];
        size_t nbounds;
        size_t nseries; /* under lock */
        struct series *_Atomic table[BUCKETS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *metrics, **last = &metrics;

static size_t hash(const char *s)
{
        return fnv32(FNV32_START, s) % BUCKETS;
}

static struct series *find(struct metric *m, const char *label)
{
        struct series *s = atomic_load_explicit(&m->table[hash(label)], memory_order_acquire);

        while (s && strcmp(s->label, label) != 0)
                s = s->next;
        return s;
}

static struct series *series_new(struct metric *m, const char *label)
{
        size_t n = m->kind == HISTOGRAM ? m->nbounds + 1 : 0;
        struct series *s = calloc(1, sizeof(*s) + n * sizeof(s->counts[0]));

        if (!s)
                return NULL;
        s->label = strdup(label);
        if (!s->label) {
                free(s);
                return NULL;
        }
        struct series *_Atomic *chain = &m->table[hash(label)];
        s->next = atomic_load_explicit(chain, memory_order_relaxed);
        atomic_store_explicit(chain, s, memory_order_release);
        m->nseries++;
        return s;
}

/* The series of a label's value; NULL when memory is out: a sample is lost, nothing else. */
static struct series *series(struct metric *m, const char *value)
{
        const char *label = m->label && value ? value : "";
        struct series *s = find(m, label);

        if (s)
                return s;
        pthread_mutex_lock(&lock);
        if (m->nseries >= METRIC_SERIES_MAX - 1)
                label = "other";
        s = find(m, label);
        if (!s)
                s = series_new(m, label);
        pthread_mutex_unlock(&lock);
        return s;
}

static void metric_free(struct metric *m)
{
        free(m->name);
        free(m->help);
        free(m->label);
        free(m);
}

static struct metric *metric_new(enum kind kind, const char *name, const char *help,
                                 const char *label)
{
        struct metric *m = calloc(1, sizeof(*m));

        if (!m)
                return NULL;
        m->kind = kind;
        m->name = strdup(name);
        m->help = strdup(help);
        m->label = label ? strdup(label) : NULL;
        if (m->name && m->help && (m->label || !label))
                return m;
        metric_free(m);
        return NULL;
}

/* Into the list, unless one of that name is there: then that one, provided it is of the same kind.
 */
static struct metric *registered(struct metric *m)
{
        struct metric *old;

        if (!m)
                return NULL;
        pthread_mutex_lock(&lock);
        for (old = metrics; old && strcmp(old->name, m->name) != 0; old = old->next)
                ;
        if (!old) {
                if (!m->label) /* so that it shows before its first sample */
                        series_new(m, "");
                *last = m;
                last = &m->next;
        }
        pthread_mutex_unlock(&lock);
        if (!old)
                return m;
        if (old->kind != m->kind || !old->label != !m->label)
                old = NULL;
        metric_free(m);
        return old;
}

struct metric *metric_counter(const char *name, const char *help, const char *label)
{
        return registered(metric_new(COUNTER, name, help, label));
}

struct metric *metric_gauge(const char *name, const char *help, const char *label)
{
        return registered(metric_new(GAUGE, name, help, label));
}

struct metric *metric_histogram(const char *name, const char *help, const char *label,
                                const double *bounds, size_t n)
{
        struct metric *m = n <= BOUNDS_MAX ? metric_new(HISTOGRAM, name, help, label) : NULL;

        if (!m)
                return NULL;
        m->nbounds = n;
        if (n)
                memcpy(m->bounds, bounds, n * sizeof(*bounds));
        return registered(m);
}

static void add(_Atomic double *to, double v)
{
        double old = atomic_load_explicit(to, memory_order_relaxed);

        while (!atomic_compare_exchange_weak_explicit(to, &old, old + v, memory_order_relaxed,
                                                      memory_order_relaxed))
                ;
}

void metric_add(struct metric *m, const char *value, double v)
{
        if (!m || m->kind == HISTOGRAM || (m->kind == COUNTER && !(v >= 0)))
                return;
        struct series *s = series(m, value);
        if (s)
                add(&s->v, v);
}

void metric_set(struct metric *m, const char *value, double v)
{
        if (!m || m->kind != GAUGE)
                return;
        struct series *s = series(m, value);
        if (s)
                atomic_store_explicit(&s->v, v, memory_order_relaxed);
}

void metric_observe(struct metric *m, const char *value, double seconds)
{
        size_t i = 0;

        if (!m || m->kind != HISTOGRAM)
                return;
        struct series *s = series(m, value);
        if (!s)
                return;
        while (i < m->nbounds && seconds > m->bounds[i])
                i++;
        atomic_fetch_add_explicit(&s->counts[i], 1, memory_order_relaxed);
        add(&s->v, seconds);
}

double metric_get(struct metric *m, const char *value)
{
        struct series *s = m ? find(m, m->label && value ? value : "") : NULL;

        return s ? atomic_load_explicit(&s->v, memory_order_relaxed) : 0;
}

/* Text with what OpenMetrics escapes. */
static void add_text(struct buf *b, const char *s)
{
        for (; *s; s++) {
                if (*s == '\n')
                        buf_adds(b, "\\n");
                else if (*s == '"' || *s == '\\')
                        buf_add(b, (char[]){'\\', *s}, 2);
                else
                        buf_add(b, s, 1);
        }
}

/* NAMEsuffix{label="value",le="bound"} , each part of the braces only where there is one. */
static void add_name(struct buf *b, const struct metric *m, const struct series *s,
                     const char *suffix, const char *le)
{
        buf_addf(b, "%s%s", m->name, suffix);
        if (m->label || le)
                buf_adds(b, "{");
        if (m->label) {
                buf_addf(b, "%s=\"", m->label);
                add_text(b, s->label);
                buf_adds(b, "\"");
        }
        if (le)
                buf_addf(b, "%sle=\"%s\"", m->label ? "," : "", le);
        buf_adds(b, m->label || le ? "} " : " ");
}

static void add_value(struct buf *b, double v)
{
        if (v != v)
                buf_adds(b, "NaN");
        else if (v - v != 0)
                buf_adds(b, v > 0 ? "+Inf" : "-Inf");
        else
                buf_add_num(b, v);
        buf_adds(b, "\n");
}

/* The canonical form has a point: "1.0". */
static void bound_text(double v, char out[32])
{
        struct buf b = {.data = out, .cap = 32, .limit = 31};

        buf_add_num(&b, v);
        if (!strpbrk(out, ".e"))
                buf_adds(&b, ".0");
}

static void add_histogram(struct buf *b, const struct metric *m, struct series *s)
{
        uint64_t total = 0;
        char le[32] = "+Inf";

        for (size_t i = 0; i <= m->nbounds; i++) {
                total += atomic_load_explicit(&s->counts[i], memory_order_relaxed);
                if (i < m->nbounds)
                        bound_text(m->bounds[i], le);
                else
                        strcpy(le, "+Inf");
                add_name(b, m, s, "_bucket", le);
                buf_addf(b, "%ju\n", (uintmax_t)total);
        }
        add_name(b, m, s, "_count", NULL);
        buf_addf(b, "%ju\n", (uintmax_t)total);
        add_name(b, m, s, "_sum", NULL);
        add_value(b, atomic_load_explicit(&s->v, memory_order_relaxed));
}

static void add_metric(struct buf *b, struct metric *m)
{
        static const char *const KINDS[] = {"counter", "gauge", "histogram"};

        buf_addf(b, "# TYPE %s %s\n# HELP %s ", m->name, KINDS[m->kind], m->name);
        add_text(b, m->help);
        buf_adds(b, "\n");
        for (size_t i = 0; i < BUCKETS; i++) {
                struct series *s = atomic_load_explicit(&m->table[i], memory_order_acquire);
                for (; s; s = s->next) {
                        if (m->kind == HISTOGRAM) {
                                add_histogram(b, m, s);
                                continue;
                        }
                        add_name(b, m, s, m->kind == COUNTER ? "_total" : "", NULL);
                        add_value(b, atomic_load_explicit(&s->v, memory_order_relaxed));
                }
        }
}

static void add_memory(struct buf *b)
{
        FILE *f = fopen("/proc/self/statm", "re");
        long pages;

        if (!f)
                return;
        if (fscanf(f, "%*s %ld", &pages) == 1)
                buf_addf(b,
                         "# TYPE process_resident_memory_bytes gauge\n"
                         "# HELP process_resident_memory_bytes Resident memory.\n"
                         "process_resident_memory_bytes %ld\n",
                         pages * sysconf(_SC_PAGESIZE));
        fclose(f);
}

int metrics_print(struct buf *b)
{
        pthread_mutex_lock(&lock);
        for (struct metric *m = metrics; m; m = m->next)
                add_metric(b, m);
        pthread_mutex_unlock(&lock);
        add_memory(b);
        return buf_adds(b, "# EOF\n");
}
