#include "extender/entries.h"
#include "kube/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PREEMPT_ARENA_MAX ((size_t)1 << 20)
#define CACHE_LINE        64
#define LISTS             8 /* of CPU models that are remembered in a call: as many as kinds of hosts */

/* The facts of the pod's VM; to be used under the lock. */
static int find_vm(struct fleet *f, const struct pod *pod, const struct vm_facts **out,
                   struct err *e)
{
        char key[KUBE_KEY_MAX];
        const struct vm_entry *vm;

        snprintf(key, sizeof(key), "%s/%s", pod->meta.ns, pod->vm);
        vm = vm_find(f, key);
        if (!vm || !vm->known)
                return err_set(e, -ENOENT, "VirtualMachine %s is not known to drover-extender yet",
                               key);
        if (*pod->vm_uid && !uid_same(uid_of(pod->vm_uid), vm->facts.uid))
                return err_set(e, -ENOENT,
                               "pod %s was made for an earlier VirtualMachine %s, of uid %s",
                               pod->meta.name, key, pod->vm_uid);
        *out = &vm->facts;
        return 0;
}

static int64_t silent_ms(const struct host_entry *h, struct mono now)
{
        int64_t ms = h->heard ? mono_ms_between(h->heard_at, now) : -1;

        return h->heard && ms < 0 ? 0 : ms;
}

/* One VM held against many hosts, under the lock. */
struct judge {
        const struct fleet *fleet;
        struct mono now;
        const struct vm_facts *vm;
        struct capacity_demand demand;
        struct host_sight sight; /* of the host at hand */
        struct host_sight from;  /* where the guest is, when it is to be moved */
        bool moves;
        struct capacity_view view;
        size_t nlists;
        const struct shared_strs *lists[LISTS];
        enum capacity_answer answers[LISTS];
};

/* The pod of a move: where its guest is now, as far as that is known. */
static void look_at_source(struct judge *j, const struct pod *pod)
{
        const char *owner = vm_facts_owner(j->vm);
        const struct host_entry *h = *pod->migration ? host_find(j->fleet, owner) : NULL;

        j->moves = h && h->facts;
        if (j->moves)
                host_facts_show(h->facts, h->name, &j->demand, &j->from);
}

/* pod without a VM: vm stays NULL. */
static int judge_begin(struct judge *j, struct fleet *f, const struct pod *pod, struct mono now,
                       struct arena *a, struct err *e)
{
        int rc = *pod->vm ? find_vm(f, pod, &j->vm, e) : 0;

        if (rc < 0 || !j->vm)
                return rc;
        j->fleet = f;
        j->now = now;
        j->demand = vm_facts_demand(j->vm);
        j->sight.mounts = arena_array(a, j->demand.pools.n, sizeof(*j->sight.mounts));
        j->from.mounts = arena_array(a, j->demand.pools.n, sizeof(*j->from.mounts));
        if (!j->sight.mounts || !j->from.mounts)
                return err_sys(e, -ENOMEM, "judge a host");
        look_at_source(j, pod);
        return 0;
}

/* Many hosts share a list of a hundred models: it is searched once. */
static enum capacity_answer has_model(struct judge *j, const struct shared_strs *list)
{
        enum capacity_answer answer;

        for (size_t i = 0; i < j->nlists; i++)
                if (j->lists[i] == list)
                        return j->answers[i];
        answer = strs_has(shared_strs(list), j->demand.cpu_model) ? CAPACITY_HAS : CAPACITY_LACKS;
        if (j->nlists < LISTS) {
                j->lists[j->nlists] = list;
                j->answers[j->nlists++] = answer;
        }
        return answer;
}

/*
 * The hosts of all nodes asked about, NULL for those that are not known. Hundreds out of thousands
 * are in no cache: they are fetched side by side before the first is looked at.
 */
static const struct host_entry **find_hosts(const struct fleet *f, const struct strs *nodes,
                                            struct arena *a, struct err *e)
{
        const struct host_entry **hosts = arena_array(a, nodes->n, sizeof(*hosts));

        if (!hosts)
                err_sys(e, -ENOMEM, "judge %zu nodes", nodes->n);
        for (size_t i = 0; hosts && i < nodes->n; i++) {
                hosts[i] = host_find(f, nodes->v[i]);
                const char *facts = hosts[i] ? (const char *)hosts[i]->facts : NULL;
                for (size_t at = 0; facts && at < sizeof(struct host_facts); at += CACHE_LINE)
                        __builtin_prefetch(facts + at);
        }
        return hosts;
}

static const struct capacity_view *look_at(struct judge *j, const char *node,
                                           const struct host_entry *h)
{
        j->view = (struct capacity_view){.node = node, .silent_ms = -1};
        if (!h)
                return &j->view;
        j->view.silent_ms = silent_ms(h, j->now);
        j->view.promised = h->promised;
        j->view.holds = host_holds(h, j->vm->uid);
        if (!h->facts)
                return &j->view;
        host_facts_show(h->facts, node, &j->demand, &j->sight);
        j->view.host = &j->sight.host;
        j->view.guest_at = j->moves ? &j->from.host : NULL;
        j->view.cpu_model = has_model(j, h->facts->cpu_models);
        return &j->view;
}

static enum capacity_rule refusal(struct judge *j, const char *node, const struct host_entry *h,
                                  char *message)
{
        return capacity_check(look_at(j, node, h), &j->demand, j->fleet->cfg.silent_ms, message);
}

/* --- filter */

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

static int filter_node(struct filter *w, struct judge *j, size_t i, const char *node,
                       const struct host_entry *h, struct err *e)
{
        char message[CAPACITY_MESSAGE_MAX];
        enum capacity_rule rule = j->vm ? refusal(j, node, h, message) : CAPACITY_FITS;
        struct extender_filter_result *r = &w->out->result;

        w->out->refused[rule] += j->vm != NULL;
        if (rule == CAPACITY_FITS) {
                w->fit[r->nfit++] = i;
                return 0;
        }
        char *kept = arena_strdup(w->a, message);
        if (!kept)
                return err_sys(e, -ENOMEM, "judge node %s", node);
        w->failures[r->nfailures++] = (struct extender_failure){i, kept};
        return 0;
}

int fleet_filter(struct fleet *f, const struct pod *pod, const struct strs *names, struct mono now,
                 struct arena *a, struct fleet_verdict *out, struct err *e)
{
        struct fleet_verdict verdict = {0};
        struct filter w = {.a = a, .out = &verdict};
        const struct host_entry **hosts = NULL;
        struct judge j = {0};
        int rc = filter_begin(&w, names->n, e);

        if (rc < 0)
                return rc;
        pthread_rwlock_rdlock(&f->lock);
        rc = judge_begin(&j, f, pod, now, a, e);
        if (rc == 0 && !(hosts = find_hosts(f, names, a, e)))
                rc = -ENOMEM;
        for (size_t i = 0; rc == 0 && i < names->n; i++)
                rc = filter_node(&w, &j, i, names->v[i], hosts[i], e);
        pthread_rwlock_unlock(&f->lock);
        if (rc < 0)
                return rc;
        verdict.result.fit = w.fit;
        verdict.result.failures = w.failures;
        *out = verdict;
        return 0;
}

/* --- prioritize */

int fleet_scores(struct fleet *f, const struct pod *pod, const struct strs *names, struct mono now,
                 struct arena *a, int *scores, struct err *e)
{
        struct capacity_grade *grades = arena_array(a, names->n, sizeof(*grades));
        const struct host_entry **hosts = NULL;
        struct judge j = {0};
        int64_t most = 0;

        if (!grades)
                return err_sys(e, -ENOMEM, "judge %zu nodes", names->n);
        pthread_rwlock_rdlock(&f->lock);
        int rc = judge_begin(&j, f, pod, now, a, e);
        if (rc == 0 && !(hosts = find_hosts(f, names, a, e)))
                rc = -ENOMEM;
        for (size_t i = 0; j.vm && rc == 0 && i < names->n; i++) {
                grades[i] = capacity_grade(look_at(&j, names->v[i], hosts[i]), &j.demand,
                                           f->cfg.policy, f->cfg.migration_slots);
                most = grades[i].free_bytes > most ? grades[i].free_bytes : most;
        }
        pthread_rwlock_unlock(&f->lock);
        for (size_t i = 0; rc == 0 && i < names->n; i++)
                scores[i] = capacity_score(&grades[i], most);
        return rc;
}

/* --- preempt */

static bool is_handle(const struct pod_entry *list, struct uid uid)
{
        for (const struct pod_entry *p = list; p; p = p->next_at_host)
                if (uid_same(p->uid, uid))
                        return true;
        return false;
}

/*
 * Deleting a handle ends no guest, and the next handle takes its place at once: that would gain no
 * room. A pod that the scheduler has bound but whose binding has not been seen here is among those
 * that are not bound.
 */
static bool would_end_a_handle(const struct fleet *f, const struct extender_candidate *c)
{
        const struct host_entry *h = host_find(f, c->name);

        for (size_t i = 0; i < c->nvictims; i++) {
                struct uid uid = uid_of(c->victims[i].uid);

                if (c->victims[i].handle || (h && is_handle(h->pods, uid)) ||
                    is_handle(f->unbound, uid))
                        return true;
        }
        return false;
}

int fleet_preempt(struct fleet *f, const struct extender_preemption *p, struct mono now, bool *keep,
                  struct err *e)
{
        autoarena struct arena *a = arena_new(PREEMPT_ARENA_MAX);
        struct judge j = {0};

        if (!a)
                return err_sys(e, -ENOMEM, "judge a preemption");
        pthread_rwlock_rdlock(&f->lock);
        int rc = judge_begin(&j, f, p->pod, now, a, e);
        for (size_t i = 0; rc == 0 && i < p->n; i++) {
                const struct extender_candidate *c = &p->v[i];

                keep[i] = c->nvictims && !would_end_a_handle(f, c) &&
                          (!j.vm ||
                           refusal(&j, c->name, host_find(f, c->name), NULL) == CAPACITY_FITS);
        }
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
