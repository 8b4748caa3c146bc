#include "extender/entries.h"
#include "kube/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The facts of the pod's VM; to be used under the lock. */
static int find_vm(struct fleet *f, const struct pod *pod, const struct vm_facts **out,
                   struct err *e)
{
        char key[KUBE_KEY_MAX];
        const struct vm_entry *vm;

        snprintf(key, sizeof(key), "%s/%s", pod->meta.ns, pod->vm);
        vm = vm_find(f, key);
        if (!vm || !vm->facts)
                return err_set(e, -ENOENT, "VirtualMachine %s is not known to drover-extender yet",
                               key);
        if (*pod->vm_uid && strcmp(pod->vm_uid, vm->facts->uid) != 0)
                return err_set(e, -ENOENT,
                               "pod %s was made for an earlier VirtualMachine %s (uid %s, now %s)",
                               pod->meta.name, key, pod->vm_uid, vm->facts->uid);
        *out = vm->facts;
        return 0;
}

static int64_t silent_ms(const struct host_entry *h, struct mono now)
{
        int64_t ms = h->heard ? mono_ms_between(h->heard_at, now) : -1;

        return h->heard && ms < 0 ? 0 : ms;
}

static struct capacity_view view_of(const struct fleet *f, const char *name,
                                    const struct vm_facts *vm, struct mono now)
{
        const struct host_entry *h = host_find(f, name);
        struct capacity_view v = {.node = name, .silent_ms = -1};

        if (!h)
                return v;
        v.host = h->facts ? &h->facts->host : NULL;
        v.silent_ms = silent_ms(h, now);
        v.promised = h->promised;
        v.holds = host_holds(h, vm->uid);
        return v;
}

struct filter {
        struct arena *a;
        size_t *fit;
        struct extender_failure *failures;
        struct fleet_verdict *out;
};

static int filter_begin(struct filter *w, size_t n, struct err *e)
{
        w->fit = arena_array(w->a, n, sizeof(*w->fit));
        w->failures = arena_array(w->a, n, sizeof(*w->failures));
        if (!w->fit || !w->failures)
                return err_sys(e, -ENOMEM, "judge %zu nodes", n);
        return 0;
}

static int filter_name(struct filter *w, size_t i, const struct capacity_view *v,
                       const struct vm_facts *vm, int64_t limit_ms, struct err *e)
{
        char message[CAPACITY_MESSAGE_MAX];
        enum capacity_rule rule = capacity_check(v, &vm->demand, limit_ms, message);
        struct extender_filter_result *r = &w->out->result;

        w->out->refused[rule]++;
        if (rule == CAPACITY_FITS) {
                w->fit[r->nfit++] = i;
                return 0;
        }
        char *kept = arena_strdup(w->a, message);
        if (!kept)
                return err_sys(e, -ENOMEM, "judge node %s", v->node);
        w->failures[r->nfailures++] =
                (struct extender_failure){v->node, kept, capacity_unresolvable(rule)};
        return 0;
}

int fleet_filter(struct fleet *f, const struct pod *pod, const struct strs *names, struct mono now,
                 struct arena *a, struct fleet_verdict *out, struct err *e)
{
        struct fleet_verdict verdict = {0};
        struct filter w = {.a = a, .out = &verdict};
        const struct vm_facts *vm = NULL;
        int rc = filter_begin(&w, names->n, e);

        if (rc < 0)
                return rc;
        pthread_rwlock_rdlock(&f->lock);
        if (*pod->vm)
                rc = find_vm(f, pod, &vm, e);
        for (size_t i = 0; rc == 0 && i < names->n; i++) {
                if (!vm) {
                        w.fit[verdict.result.nfit++] = i;
                        continue;
                }
                struct capacity_view v = view_of(f, names->v[i], vm, now);
                rc = filter_name(&w, i, &v, vm, f->cfg.silent_ms, e);
        }
        pthread_rwlock_unlock(&f->lock);
        if (rc < 0)
                return rc;
        verdict.result.fit = w.fit;
        verdict.result.failures = w.failures;
        *out = verdict;
        return 0;
}

static void score_all(const struct fleet *f, const struct vm_facts *vm, const struct strs *names,
                      struct mono now, int *scores)
{
        int64_t most = 0;

        for (size_t i = 0; i < names->n; i++) {
                const struct host_entry *h = host_find(f, names->v[i]);
                int64_t bytes =
                        h && h->facts ? capacity_free_bytes(&h->facts->host, &vm->demand) : 0;

                most = bytes > most ? bytes : most;
        }
        for (size_t i = 0; i < names->n; i++) {
                struct capacity_view v = view_of(f, names->v[i], vm, now);

                scores[i] = capacity_score(&v, &vm->demand, f->cfg.policy, f->cfg.migration_slots,
                                           most);
        }
}

int fleet_scores(struct fleet *f, const struct pod *pod, const struct strs *names, struct mono now,
                 int *scores, struct err *e)
{
        const struct vm_facts *vm = NULL;
        int rc = 0;

        pthread_rwlock_rdlock(&f->lock);
        if (*pod->vm)
                rc = find_vm(f, pod, &vm, e);
        if (vm)
                score_all(f, vm, names, now, scores);
        else if (rc == 0)
                memset(scores, 0, names->n * sizeof(*scores));
        pthread_rwlock_unlock(&f->lock);
        return rc;
}

struct fleet_count fleet_count(struct fleet *f, struct mono now)
{
        struct fleet_count c = {0};

        pthread_rwlock_rdlock(&f->lock);
        c.hosts = f->nhosts;
        c.vms = f->nvms;
        c.handles = f->pods.count;
        for (struct ktable_node *n = ktable_first(&f->hosts); n; n = ktable_after(&f->hosts, n)) {
                const struct host_entry *h = ktable_entry(n, struct host_entry, node);
                int64_t ms = silent_ms(h, now);

                c.silent += h->facts && (ms < 0 || ms > f->cfg.silent_ms);
        }
        pthread_rwlock_unlock(&f->lock);
        return c;
}
