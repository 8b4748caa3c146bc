#include "agent/import.h"

#include "agent/child.h"
#include "agent/fetch.h"
#include "agent/place.h"
#include "agent/tool.h"
#include "api/codec.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mono.h"
#include "kube/queue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define NOT_YET_MS    1000
#define LOOK_AGAIN_MS 5000
#define IN_USE_MS     10000
#define STEP_MS       1000
#define REPORT_MS     3000   /* between reports of mere progress */
#define CONTACT_MS    20000  /* so often at least: whoever is cut off must come to know it */
#define CUT_OFF_MS    60000  /* without an answer to a report: another may be the importer by now */
#define QUIET_MS      300000 /* a child that says nothing for so long after a stall hangs */
#define PLACE_MS      60000

static struct metric *results;
static atomic_int running;

/* --- what is to be done */

static bool ours(const struct agent *a, const struct image *i)
{
        return !strcmp(i->importer.node, a->config.node) && i->importer.epoch > 0 && *i->url;
}

static bool said(const struct image *i, enum import_state s)
{
        return i->progress.epoch == i->importer.epoch && i->progress.state == s;
}

static bool to_fetch(const struct agent *a, const struct image *i)
{
        return ours(a, i) && i->importer.task == IMPORT_FETCH && !i->meta.deleting &&
               !said(i, IMPORT_DONE) && !said(i, IMPORT_REFUSED);
}

static bool to_remove(const struct agent *a, const struct image *i)
{
        return ours(a, i) && i->importer.task == IMPORT_REMOVE && i->meta.deleting &&
               !said(i, IMPORT_REMOVED);
}

/* --- status.progress */

static int report(struct agent *a, const struct image *i, enum import_state state, int64_t done,
                  int64_t total, const char *message, struct err *e)
{
        autojson struct json *patch = json_new_object();
        const struct image_progress p = {i->importer.epoch, state, done, total, message};

        if (!json_set(json_object_at(patch, "status"), "progress", image_progress_encode(&p)))
                return err_set(e, -ENOMEM, "out of memory");
        return kube_patch(a->kube, &KUBE_IMAGES, i->meta.ns, i->meta.name, "status", patch, NULL,
                          e);
}

/* That it cannot be told is for the log; the work is tried again, and tells it then. */
static int64_t end(struct agent *a, const struct image *i, enum import_state state,
                   const char *message, int64_t next)
{
        struct err e = {0};
        int rc = report(a, i, state, i->progress.bytes_done, i->progress.bytes_total, message, &e);

        log_msg(state == IMPORT_DONE || state == IMPORT_REMOVED ? LOG_INFO : LOG_WARN, "image",
                "namespace", i->meta.ns, "image", i->meta.name, "state", import_state_name(state),
                "message", message, NULL);
        if (!rc || rc == -ENOENT)
                return next;
        log_err(&e, "cannot report on an image", "image", i->meta.name, NULL);
        return WORK_RETRY;
}

/* --- a fetch */

struct importing {
        struct agent *a;
        struct image *i;
        const struct agent_pool *pool;
        char epoch[24], key[KUBE_KEY_MAX];
        struct child child;
        bool checking, told_checking;
        int64_t done, total, told_done;
        struct mono told, answered, heard;
};

static void spell(struct importing *m)
{
        snprintf(m->epoch, sizeof(m->epoch), "%" PRId64, m->i->importer.epoch);
        snprintf(m->key, sizeof(m->key), "%s/%s", m->i->meta.ns, m->i->meta.name);
}

static int start_fetch(struct importing *m, struct err *e)
{
        const struct agent_config *c = &m->a->config;
        char limits[128];

        snprintf(limits, sizeof(limits), "%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%d",
                 c->image_max, c->image_virtual_max, c->image_reserve, c->image_stall_s,
                 c->image_local);
        const char *const argv[] = {AGENT_SELF,     "tool",      "fetch",   m->pool->path,
                                    m->i->meta.uid, m->epoch,    m->i->url, m->i->sha256,
                                    limits,         c->image_ca, NULL};
        return child_start(&m->child, argv, e);
}

/* Takes the whole lines out of what the child has said; what is no progress is its last word. */
static void take_lines(struct importing *m)
{
        struct buf *b = &m->child.text;
        const char *s = buf_str(b), *nl;

        while ((nl = strchr(s, '\n')) && fetch_line(s, &m->checking, &m->done, &m->total)) {
                buf_drop(b, (size_t)(nl + 1 - s));
                s = buf_str(b);
                m->heard = mono_now();
        }
}

static void tell_progress(struct importing *m)
{
        struct mono now = mono_now();
        int64_t since = mono_ms_between(m->told, now);
        bool news = m->done != m->told_done || m->checking != m->told_checking;
        struct err e;

        if (since < (news ? REPORT_MS : CONTACT_MS))
                return;
        m->told = now;
        if (report(m->a, m->i, m->checking ? IMPORT_CHECKING : IMPORT_FETCHING, m->done, m->total,
                   "", &e)) {
                log_err(&e, "cannot report on an image", "image", m->key, NULL);
                return;
        }
        m->answered = mono_now();
        m->told_done = m->done;
        m->told_checking = m->checking;
}

/* By the cache: what is ours to do is read fresh before it counts. */
static bool still_ours(struct importing *m)
{
        autoref struct kube_ref *ref = kube_store_get(m->a->images, m->key);
        const struct image *now = ref ? kube_ref_object(ref) : NULL;

        return now && !strcmp(now->meta.uid, m->i->meta.uid) &&
               now->importer.epoch == m->i->importer.epoch && to_fetch(m->a, now);
}

/* Until the child has ended; false when it was stopped because the import is not ours any more. */
static bool follow(struct importing *m)
{
        int64_t quiet = m->a->config.image_stall_s * 1000 + QUIET_MS;

        m->told = m->answered = m->heard = mono_now();
        while (!child_wait(&m->child, STEP_MS)) {
                struct mono now = mono_now();
                take_lines(m);
                tell_progress(m);
                if (m->a->ending || !still_ours(m) ||
                    mono_ms_between(m->answered, now) > CUT_OFF_MS ||
                    mono_ms_between(m->heard, now) > quiet) {
                        child_kill(&m->child);
                        return false;
                }
        }
        take_lines(m);
        return true;
}

static void last_word(struct importing *m, char out[512])
{
        const char *s = buf_str(&m->child.text);
        size_t n = m->child.text.len;

        while (n && s[n - 1] == '\n')
                n--;
        size_t from = n;
        while (from && s[from - 1] != '\n')
                from--;
        if (n > from)
                snprintf(out, 512, "%.*s", (int)(n - from), s + from);
        else
                snprintf(out, 512, "the fetch ended without a word");
}

/* Read fresh; -EAGAIN when it is not what it was. */
static int read_again(struct importing *m, struct err *e)
{
        autojson struct json *j = NULL;
        struct image *now;
        int rc = kube_get(m->a->kube, &KUBE_IMAGES, m->i->meta.ns, m->i->meta.name, &j, e);

        if (!rc)
                rc = image_decode(j, &now, e);
        if (rc)
                return rc;
        if (strcmp(now->meta.uid, m->i->meta.uid) != 0 || !to_fetch(m->a, now) ||
            now->importer.epoch != m->i->importer.epoch)
                rc = err_set(e, -EAGAIN, "the image is no longer ours to import");
        image_free(now);
        return rc;
}

/* The part is whole and good: it becomes the image, if that is still wanted. */
static int64_t place(struct importing *m)
{
        const char *const argv[] = {AGENT_SELF,     "tool",   "place", m->pool->path,
                                    m->i->meta.uid, m->epoch, NULL};
        struct err e = {0};
        int rc = read_again(m, &e);

        if (!rc)
                rc = child_run(argv, PLACE_MS, NULL, &e);
        if (rc == -EAGAIN || rc == -ENOENT)
                return WORK_RETRY;
        if (rc)
                return end(m->a, m->i, IMPORT_WAITING, e.msg, WORK_RETRY);
        metric_add(results, "done", 1);
        return end(m->a, m->i, IMPORT_DONE, "", WORK_DONE);
}

/*
 * What a fetch that hung does last it may do after all has been tidied up by the next importer: so
 * what is ours is looked for again when that one is done.
 */
static int64_t stopped(struct importing *m)
{
        agent_poke(m->a, LOOK_AGAIN_MS, "leftover/%s/%s/%s", m->key, m->i->meta.uid, m->epoch);
        return WORK_RETRY; /* it may be ours still, or to be removed */
}

static int64_t ended(struct importing *m)
{
        char word[512];
        int status = m->child.status;

        m->i->progress.bytes_done = m->done;
        m->i->progress.bytes_total = m->total;
        if (WIFEXITED(status) && !WEXITSTATUS(status))
                return place(m);
        last_word(m, word);
        if (WIFEXITED(status) && WEXITSTATUS(status) == FETCH_REFUSED) {
                metric_add(results, "refused", 1);
                return end(m->a, m->i, IMPORT_REFUSED, word, WORK_DONE);
        }
        metric_add(results, "interrupted", 1);
        return end(m->a, m->i, IMPORT_WAITING, word, WORK_RETRY);
}

static int64_t fetch(struct importing *m)
{
        struct err e = {0};
        int64_t next;

        if (start_fetch(m, &e))
                return end(m->a, m->i, IMPORT_WAITING, e.msg, WORK_RETRY);
        log_msg(LOG_INFO, "importing an image", "image", m->key, "epoch", m->epoch, NULL);
        if (follow(m)) {
                next = ended(m);
                child_free(&m->child);
        } else {
                child_free(&m->child); /* it is dead then, or hangs and can do no more by itself */
                next = stopped(m);
        }
        return next;
}

/* --- what a fetch that was stopped has left */

/* 1 when nobody will take our part over any more, 0 when somebody may. */
static int is_over(struct agent *a, const char *ns, const char *name, const char *uid,
                   struct err *e)
{
        autojson struct json *j = NULL;
        struct image *i;
        int rc = kube_get(a->kube, &KUBE_IMAGES, ns, name, &j, e);

        if (rc == -ENOENT)
                return 1;
        if (!rc)
                rc = image_decode(j, &i, e);
        if (rc)
                return rc;
        rc = strcmp(i->meta.uid, uid) != 0 || i->meta.deleting || !strcmp(i->phase, "Ready") ||
             !strcmp(i->phase, "Failed");
        image_free(i);
        return rc;
}

int64_t leftover_work(struct agent *a, const char *rest)
{
        char ns[64], name[254], uid[64], epoch[24], why[320];
        struct err e = {0};

        if (sscanf(rest, "%63[^/]/%253[^/]/%63[^/]/%23[0-9]", ns, name, uid, epoch) != 4)
                return WORK_DONE;
        int rc = is_over(a, ns, name, uid, &e);
        if (rc <= 0)
                return rc ? WORK_RETRY : LOOK_AGAIN_MS;
        for (size_t i = 0; i < a->config.npools; i++) {
                const struct agent_pool *pool = &a->config.pools[i];
                if (!mounts_usable(a->mounts, pool->name, why))
                        return LOOK_AGAIN_MS;
                const char *const argv[] = {AGENT_SELF, "tool", "drop", pool->path,
                                            uid,        epoch,  NULL};
                if (child_run(argv, PLACE_MS, NULL, &e)) {
                        log_err(&e, "cannot remove what was fetched", "image", name, NULL);
                        return WORK_RETRY;
                }
        }
        return WORK_DONE;
}

/* --- a removal */

static int64_t remove_file(struct importing *m)
{
        const struct agent_config *c = &m->a->config;
        autobuf struct buf pools = buf_new(65536);
        struct err e = {0};
        struct child child;
        char why[320];

        for (size_t i = 0; i < c->npools; i++) {
                if (!mounts_usable(m->a->mounts, c->pools[i].name, why))
                        return end(m->a, m->i, IMPORT_WAITING, why, LOOK_AGAIN_MS);
                buf_addf(&pools, "%s%s", i ? "," : "", c->pools[i].path);
        }
        const char *const argv[] = {AGENT_SELF,     "tool",          "unplace", m->pool->path,
                                    m->i->meta.uid, buf_str(&pools), NULL};
        if (pools.failed || child_start(&child, argv, &e))
                return WORK_RETRY;
        bool ended_by_itself = child_wait(&child, c->disk_deadline_s * 1000);
        char word[512] = "no answer in time";
        m->child = child;
        int code = ended_by_itself && WIFEXITED(child.status) ? WEXITSTATUS(child.status) : -1;
        if (code > 0)
                last_word(m, word);
        child_free(&m->child);
        if (!code)
                return end(m->a, m->i, IMPORT_REMOVED, "", WORK_DONE);
        return code == PLACE_IN_USE ? end(m->a, m->i, IMPORT_IN_USE, word, IN_USE_MS)
                                    : end(m->a, m->i, IMPORT_WAITING, word, WORK_RETRY);
}

/* --- the work */

static int64_t work_on(struct agent *a, struct image *i)
{
        struct importing m = {.a = a, .i = i, .pool = agent_pool_of(&a->config, i->pool)};
        char why[320];

        if (!to_fetch(a, i) && !to_remove(a, i))
                return WORK_DONE;
        if (strchr(i->meta.uid, '/') || !*i->meta.uid)
                return WORK_DONE;
        if (!mounts_usable(a->mounts, i->pool, why))
                return end(a, i, IMPORT_WAITING, why, LOOK_AGAIN_MS);
        spell(&m);
        return to_fetch(a, i) ? fetch(&m) : remove_file(&m);
}

static int64_t read_and_work(struct agent *a, const char *ns, const char *name)
{
        autojson struct json *j = NULL;
        struct image *i;
        struct err e = {0};
        int rc = kube_get(a->kube, &KUBE_IMAGES, ns, name, &j, &e);

        if (rc == -ENOENT)
                return WORK_DONE;
        if (!rc)
                rc = image_decode(j, &i, &e);
        if (rc) {
                log_err(&e, "cannot read an image", "namespace", ns, "image", name, NULL);
                return WORK_RETRY;
        }
        int64_t next = work_on(a, i);
        image_free(i);
        return next;
}

int64_t image_work(struct agent *a, const char *rest)
{
        autoref struct kube_ref *ref = kube_store_get(a->images, rest);
        const struct image *i = ref ? kube_ref_object(ref) : NULL;
        char ns[64], name[254];

        if (!i || (!to_fetch(a, i) && !to_remove(a, i)) || !agent_split(rest, ns, name) ||
            a->ending)
                return WORK_DONE;
        if (atomic_fetch_add(&running, 1) >= IMPORTS_MAX) {
                atomic_fetch_sub(&running, 1);
                return NOT_YET_MS;
        }
        int64_t next = read_and_work(a, ns, name);
        atomic_fetch_sub(&running, 1);
        return next;
}

/* --- the cache */

/* Our own progress is no news, and least of all a failure, which is tried again in its own time. */
static void changed(void *ctx, const void *before, const void *after)
{
        const struct image *i = after, *old = before;
        bool news = !i || !old || old->importer.epoch != i->importer.epoch ||
                    old->meta.deleting != i->meta.deleting;

        if (news && i && (to_fetch(ctx, i) || to_remove(ctx, i)))
                agent_poke(ctx, 0, "image/%s/%s", i->meta.ns, i->meta.name);
}

static void undecodable(void *ctx, const char *key, const struct err *e)
{
        (void)ctx;
        log_err(e, "image is not understood", "image", key, NULL);
}

static void watch_error(void *ctx, const struct err *e)
{
        (void)ctx;
        log_err(e, "watch of images", NULL);
}

int imports_start(struct agent *a, struct kube_watch **out, struct err *e)
{
        static const struct kube_store_type TYPE = {.decode = image_decode_any, .free = image_free};
        const struct kube_store_hooks hooks = {changed, undecodable, a};
        char selector[300];

        results = metric_counter("drover_agent_imports", "Ends of fetches of images.", "result");
        metric_add(results, "done", 0);
        metric_add(results, "refused", 0);
        metric_add(results, "interrupted", 0);
        a->images = kube_store_new(&TYPE, &hooks);
        if (!a->images)
                return err_set(e, -ENOMEM, "out of memory");
        snprintf(selector, sizeof(selector), "status.importer.node=%s", a->config.node);
        struct kube_watch_config cfg = kube_store_feed(&KUBE_IMAGES, a->images);
        cfg.field_selector = selector;
        cfg.error = watch_error;
        return kube_watch_start(a->kube, &cfg, out, e);
}
