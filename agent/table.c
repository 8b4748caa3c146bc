#include "agent/table.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct table {
        pthread_mutex_t lock;
        struct table_entry *v; /* sorted by uuid */
        size_t n, cap;
};

struct table *table_new(void)
{
        struct table *t = calloc(1, sizeof(*t));

        if (t)
                pthread_mutex_init(&t->lock, NULL);
        return t;
}

void table_free(struct table *t)
{
        if (!t)
                return;
        pthread_mutex_destroy(&t->lock);
        free(t->v);
        free(t);
}

/* Index of the uuid, or where it belongs. */
static size_t position(const struct table *t, const char *uuid, bool *found)
{
        size_t lo = 0, hi = t->n;

        while (lo < hi) {
                size_t mid = lo + (hi - lo) / 2;
                if (strcmp(t->v[mid].facts.uuid, uuid) < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        *found = lo < t->n && !strcmp(t->v[lo].facts.uuid, uuid);
        return lo;
}

static struct table_entry *find(struct table *t, const char *uuid)
{
        bool found;
        size_t i = position(t, uuid, &found);

        return found ? &t->v[i] : NULL;
}

static struct table_entry *find_or_add(struct table *t, const char *uuid)
{
        bool found;
        size_t i = position(t, uuid, &found);

        if (found)
                return &t->v[i];
        if (t->n == t->cap) {
                size_t cap = t->cap ? t->cap * 2 : 16;
                struct table_entry *v = realloc(t->v, cap * sizeof(*v));
                if (!v)
                        return NULL;
                t->v = v;
                t->cap = cap;
        }
        memmove(&t->v[i + 1], &t->v[i], (t->n - i) * sizeof(*t->v));
        t->n++;
        memset(&t->v[i], 0, sizeof(t->v[i]));
        snprintf(t->v[i].facts.uuid, sizeof(t->v[i].facts.uuid), "%s", uuid);
        return &t->v[i];
}

/* An entry without a domain and without a notice says nothing: away with it. */
static void prune(struct table *t, struct table_entry *x)
{
        if (x->known || *x->notice)
                return;
        size_t i = (size_t)(x - t->v);
        memmove(&t->v[i], &t->v[i + 1], (t->n - i - 1) * sizeof(*t->v));
        t->n--;
}

bool table_put(struct table *t, const struct domain_facts *f)
{
        bool changed = false;

        pthread_mutex_lock(&t->lock);
        struct table_entry *x = find_or_add(t, f->uuid);
        if (x) {
                changed = !x->known || memcmp(&x->facts, f, sizeof(*f)) != 0;
                x->facts = *f;
                x->known = true;
                if (!f->active && x->naddresses) {
                        x->naddresses = 0;
                        changed = true;
                }
                if (f->active && *x->notice) {
                        x->notice[0] = '\0';
                        changed = true;
                }
        }
        pthread_mutex_unlock(&t->lock);
        return changed;
}

bool table_drop(struct table *t, const char *uuid)
{
        pthread_mutex_lock(&t->lock);
        struct table_entry *x = find(t, uuid);
        bool changed = x && x->known;
        if (changed) {
                x->known = false;
                x->naddresses = 0;
                x->claims = SHARING_UNKNOWN;
                x->claims_reason[0] = '\0';
                prune(t, x);
        }
        pthread_mutex_unlock(&t->lock);
        return changed;
}

bool table_notice(struct table *t, const char *uuid, const char *ns, const char *name,
                  int64_t epoch, const char *text)
{
        bool changed = false;

        pthread_mutex_lock(&t->lock);
        struct table_entry *x = *text ? find_or_add(t, uuid) : find(t, uuid);
        if (x) {
                struct table_entry old = *x;
                snprintf(x->notice, sizeof(x->notice), "%s", text);
                if (!x->known) {
                        x->facts.ours = true;
                        snprintf(x->facts.meta.ns, sizeof(x->facts.meta.ns), "%s", ns);
                        snprintf(x->facts.meta.name, sizeof(x->facts.meta.name), "%s", name);
                        x->facts.meta.epoch = epoch;
                }
                changed = memcmp(&old, x, sizeof(old)) != 0;
                prune(t, x);
        }
        pthread_mutex_unlock(&t->lock);
        return changed;
}

bool table_addresses(struct table *t, const char *uuid,
                     char addresses[DOMAIN_ADDRESSES_MAX][DOMAIN_ADDRESS_SIZE], size_t n)
{
        bool changed = false;

        pthread_mutex_lock(&t->lock);
        struct table_entry *x = find(t, uuid);
        if (x && x->known) {
                changed = x->naddresses != n;
                for (size_t i = 0; i < n; i++) {
                        changed |= strcmp(x->addresses[i], addresses[i]) != 0;
                        memcpy(x->addresses[i], addresses[i], DOMAIN_ADDRESS_SIZE);
                }
                x->naddresses = n;
        }
        pthread_mutex_unlock(&t->lock);
        return changed;
}

bool table_claims(struct table *t, const char *uuid, enum sharing claims, const char *reason)
{
        bool changed = false;

        pthread_mutex_lock(&t->lock);
        struct table_entry *x = find(t, uuid);
        if (x && x->known) {
                changed = x->claims != claims || strcmp(x->claims_reason, reason) != 0;
                x->claims = claims;
                snprintf(x->claims_reason, sizeof(x->claims_reason), "%s", reason);
        }
        pthread_mutex_unlock(&t->lock);
        return changed;
}

bool table_get(struct table *t, const char *uuid, struct table_entry *out)
{
        pthread_mutex_lock(&t->lock);
        struct table_entry *x = find(t, uuid);
        if (x)
                *out = *x;
        pthread_mutex_unlock(&t->lock);
        return x;
}

static bool named(const struct table_entry *x, const char *ns, const char *name)
{
        return x->facts.ours && !strcmp(x->facts.meta.ns, ns) && !strcmp(x->facts.meta.name, name);
}

struct table_entry *table_of(struct table *t, const char *ns, const char *name, size_t *n)
{
        struct table_entry *out = NULL;

        *n = 0;
        pthread_mutex_lock(&t->lock);
        size_t want = 0;
        for (size_t i = 0; i < t->n; i++)
                want += !ns || named(&t->v[i], ns, name);
        if (want && (out = malloc(want * sizeof(*out))))
                for (size_t i = 0; i < t->n; i++)
                        if (!ns || named(&t->v[i], ns, name))
                                out[(*n)++] = t->v[i];
        pthread_mutex_unlock(&t->lock);
        return out;
}

struct table_entry *table_all(struct table *t, size_t *n)
{
        return table_of(t, NULL, NULL, n);
}
