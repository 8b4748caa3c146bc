#include "core/import.h"

#include "base/cleanup.h"
#include "base/fnv.h"
#include "core/names.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *const TASKS[] = {"Fetch", "Remove"};
static const char *const STATES[] = {"",     "Fetching", "Checking", "Waiting",
                                     "Done", "Refused",  "InUse",    "Removed"};

_Static_assert(countof(TASKS) == IMPORT_REMOVE + 1, "a name each");
_Static_assert(countof(STATES) == IMPORT_REMOVED + 1, "a name each");

const char *import_task_name(enum import_task t)
{
        return name_at(TASKS, countof(TASKS), t);
}

enum import_task import_task_parse(const char *s)
{
        return name_index(TASKS, countof(TASKS), s, IMPORT_FETCH);
}

const char *import_state_name(enum import_state s)
{
        return name_at(STATES, countof(STATES), s);
}

enum import_state import_state_parse(const char *s)
{
        return name_index(STATES, countof(STATES), s, IMPORT_UNSAID);
}

struct plan_of {
        struct arena *a;
        const struct import_input *in;
        const struct image *image;
        struct image *next;
        bool failed;
};

static void say(struct plan_of *p, const char *phase, const char *text)
{
        if (!text)
                p->failed = true;
        else
                p->next->message = text;
        p->next->phase = phase;
}

/* What the importer of this epoch says, and not one before. */
static enum import_state state_of(const struct image *i)
{
        return i->importer.epoch && i->progress.epoch == i->importer.epoch ? i->progress.state
                                                                           : IMPORT_UNSAID;
}

/* --- nodes */

bool import_ready(const struct import_node *n, const char *pool)
{
        const struct condition *ready =
                n->alive && n->host ? condition_get(&n->host->conditions, "Ready") : NULL;
        const struct host_mount *m = ready ? host_mount_of(n->host, pool) : NULL;

        return m && !strcmp(ready->status, "True") && m->health == MOUNT_HEALTHY;
}

bool import_suits(const struct import_node *n, const char *pool)
{
        return import_ready(n, pool) && !host_mount_of(n->host, pool)->local;
}

const struct import_node *import_node_of(const struct import_node *nodes, size_t n,
                                         const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (!strcmp(nodes[i].name, name))
                        return &nodes[i];
        return NULL;
}

/* Who is at it, or was last. */
static const struct import_node *importer(const struct plan_of *p)
{
        return import_node_of(p->in->nodes, p->in->nnodes, p->image->importer.node);
}

static bool importer_suits(const struct plan_of *p)
{
        const struct import_node *n = importer(p);

        return p->image->importer.epoch && n && import_suits(n, p->image->pool);
}

uint32_t import_weight(const char *uid, const char *node)
{
        return fnv32(fnv32(FNV32_START, uid), node);
}

static const struct import_node *choose(const struct plan_of *p)
{
        const struct import_node *best = NULL;
        const char *uid = p->image->meta.uid;

        for (size_t i = 0; i < p->in->nnodes; i++) {
                const struct import_node *n = &p->in->nodes[i];

                if (import_suits(n, p->image->pool) &&
                    (!best || import_weight(uid, n->name) < import_weight(uid, best->name)))
                        best = n;
        }
        return best;
}

/* False when there is nobody; then the last one, should it still be at it, stays. */
static bool appoint(struct plan_of *p, const struct import_node *n, enum import_task task)
{
        if (!n)
                return false;
        p->next->importer = (struct image_importer){n->name, p->image->importer.epoch + 1, task};
        return true;
}

static const char *nobody(const struct plan_of *p)
{
        return arena_printf(p->a,
                            "waits for a node that has the pool %s, healthy and not its own alone, "
                            "and whose agent speaks",
                            p->image->pool);
}

/* --- import */

static void plan_importing(struct plan_of *p)
{
        const struct image *i = p->image;
        const char *said = i->progress.message;

        if (!importer_suits(p)) {
                if (appoint(p, choose(p), IMPORT_FETCH))
                        say(p, "Importing",
                            arena_printf(p->a, "%s imports it", p->next->importer.node));
                else
                        say(p, "Importing", nobody(p));
        } else if (state_of(i) == IMPORT_WAITING) {
                say(p, "Importing", arena_printf(p->a, "%s: %s", i->importer.node, said));
        } else {
                say(p, "Importing", arena_printf(p->a, "%s imports it", i->importer.node));
        }
}

static void plan_import(struct plan_of *p)
{
        switch (state_of(p->image)) {
        case IMPORT_DONE:
                say(p, "Ready", "");
                break;
        case IMPORT_REFUSED:
                say(p, "Failed", p->image->progress.message);
                break;
        default:
                plan_importing(p);
        }
}

/* --- removal */

static void plan_removal(struct plan_of *p)
{
        const struct image *i = p->image;
        bool removing = i->importer.task == IMPORT_REMOVE;
        const struct import_node *last = importer(p);

        /* nobody clones it any more: who named it before it was deleted is seen here */
        if (!removing && *p->in->user) {
                say(p, i->phase,
                    arena_printf(p->a, "deleted, and kept while the VM %s names it", p->in->user));
        } else if (!removing || !importer_suits(p)) {
                /* whoever is at it ends it himself, one thing after the other */
                if (appoint(p, last && import_suits(last, i->pool) ? last : choose(p),
                            IMPORT_REMOVE))
                        say(p, i->phase,
                            arena_printf(p->a, "deleted: %s removes its file",
                                         p->next->importer.node));
                else
                        say(p, i->phase, nobody(p));
        } else if (state_of(i) == IMPORT_IN_USE || state_of(i) == IMPORT_WAITING) {
                say(p, i->phase,
                    arena_printf(p->a, "deleted: %s: %s", i->importer.node, i->progress.message));
        }
}

static bool removed(const struct image *i)
{
        return !i->importer.epoch ||
               (i->importer.task == IMPORT_REMOVE && state_of(i) == IMPORT_REMOVED);
}

bool import_settled(const struct image *i)
{
        if (!*i->url)
                return true;
        return !i->meta.deleting && (!strcmp(i->phase, "Ready") || !strcmp(i->phase, "Failed"));
}

static bool differs(const struct image *x, const struct image *y)
{
        return strcmp(x->phase, y->phase) != 0 || strcmp(x->message, y->message) != 0 ||
               strcmp(x->importer.node, y->importer.node) != 0 ||
               x->importer.epoch != y->importer.epoch || x->importer.task != y->importer.task;
}

int import_plan(struct arena *a, const struct import_input *in, struct import_plan *out)
{
        const struct image *i = in->image;
        struct plan_of p = {a, in, i, &out->next, false};
        bool held = strs_has(&i->meta.finalizers, DROVER_IMAGE_FINALIZER);

        *out = (struct import_plan){.next = *i};
        if (import_settled(i) || (i->meta.deleting && !held)) {
                out->settled = true;
                return 0;
        }
        if (!held || (i->meta.deleting && removed(i))) {
                out->kind = held ? IMPORT_FREE : IMPORT_HOLD;
                return 0;
        }
        if (i->meta.deleting)
                plan_removal(&p);
        else
                plan_import(&p);
        if (p.failed)
                return -ENOMEM;
        out->kind = differs(i, &out->next) ? IMPORT_SET : IMPORT_REST;
        return 0;
}
