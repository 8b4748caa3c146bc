#include "kube/reflect.h"

#include "kube/status.h"
#include "kube/url.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAMES_MAX 512 /* namespace/name and its NUL */

/* A key that was reported and not yet deleted. */
struct known {
        struct ktable_node node;
        unsigned generation; /* of the last list, or the watch after it, that showed it */
        size_t ns_len;       /* 0: cluster-scoped */
        char key[];          /* "namespace/name" or "name" */
};

static struct known *known_of(struct ktable_node *n)
{
        return n ? ktable_entry(n, struct known, node) : NULL;
}

static int on_item(void *ctx, const char *text, size_t len, struct err *e);
static int on_metadata(void *ctx, const char *text, size_t len, struct err *e);

void kube_reflect_init(struct kube_reflect *r, const struct kube_watch_config *cfg,
                       struct backoff backoff, int64_t healthy_ms)
{
        *r = (struct kube_reflect){.cfg = cfg,
                                   .phase = KUBE_LISTING,
                                   .page = buf_new(KUBE_CONTINUE_MAX),
                                   .page_after = buf_new(KUBE_CONTINUE_MAX),
                                   .lines = kube_lines_new(KUBE_OBJECT_MAX),
                                   .known = ktable_new(),
                                   .backoff = backoff,
                                   .healthy_ms = healthy_ms};
}

void kube_reflect_free(struct kube_reflect *r)
{
        for (struct ktable_node *n = ktable_first(&r->known), *next; n; n = next) {
                next = ktable_after(&r->known, n);
                free(known_of(n));
        }
        ktable_free(&r->known);
        buf_free(&r->page);
        buf_free(&r->page_after);
        kube_items_free(&r->items);
        kube_lines_free(&r->lines);
}

int kube_reflect_url(struct kube_reflect *r, const char *server, uint64_t random, struct buf *url,
                     struct err *e)
{
        const struct kube_watch_config *cfg = r->cfg;
        char seconds[24];
        int rc = kube_url(url, server, cfg->resource, cfg->ns, NULL, NULL, e);

        if (rc < 0)
                return rc;
        kube_url_param(url, "labelSelector", cfg->label_selector);
        kube_url_param(url, "fieldSelector", cfg->field_selector);
        if (r->phase == KUBE_LISTING) {
                kube_url_param(url, "limit", KUBE_LIST_PAGE_TEXT);
                kube_url_param(url, "continue", buf_str(&r->page));
                kube_items_free(&r->items);
                r->items = kube_items_new(KUBE_OBJECT_MAX, on_item, on_metadata, r);
                r->page_first = r->page.len == 0;
                r->page_last = false;
                buf_reset(&r->page_after);
                if (r->page_first)
                        r->generation++;
                if (r->page_first && cfg->listing)
                        cfg->listing(cfg->ctx);
        } else {
                snprintf(seconds, sizeof(seconds), "%" PRIu64, 300 + random % 301);
                kube_url_param(url, "watch", "1");
                kube_url_param(url, "allowWatchBookmarks", "true");
                kube_url_param(url, "timeoutSeconds", seconds);
                kube_url_param(url, "resourceVersion", r->rv);
        }
        return kube_url_check(url, e);
}

/* --- objects */

static int unreadable(struct err *e, const char *what)
{
        return err_set(e, -EBADMSG, "%s cannot be read", what);
}

static int set_rv(struct kube_reflect *r, const char *rv, struct err *e)
{
        size_t n = strlen(rv);

        if (n == 0 || n >= sizeof(r->rv))
                return unreadable(e, "a resourceVersion");
        memcpy(r->rv, rv, n + 1);
        return 0;
}

static void join(char *key, const char *ns, const char *name)
{
        if (*ns)
                key = stpcpy(stpcpy(key, ns), "/");
        strcpy(key, name);
}

/* Notes the key; *seen tells whether it was known. */
static int note(struct kube_reflect *r, const char *ns, const char *name, bool *seen, struct err *e)
{
        size_t ns_len = strlen(ns), size = ns_len + strlen(name) + 2;
        struct known *k = malloc(sizeof(*k) + size);
        struct known *old;

        if (!k)
                return err_sys(e, -ENOMEM, "note an object");
        join(k->key, ns, name);
        old = known_of(ktable_find(&r->known, k->key));
        *seen = old;
        if (old) {
                old->generation = r->generation;
                free(k);
                return 0;
        }
        k->node.key = k->key;
        k->ns_len = ns_len;
        k->generation = r->generation;
        if (ktable_add(&r->known, &k->node) < 0) {
                free(k);
                return err_sys(e, -ENOMEM, "note an object");
        }
        return 0;
}

static void forget(struct kube_reflect *r, const char *ns, const char *name)
{
        char key[NAMES_MAX];
        struct known *k;

        join(key, ns, name);
        k = known_of(ktable_find(&r->known, key));
        if (!k)
                return;
        ktable_remove(&r->known, &k->node);
        free(k);
}

/* Names are at most 253 bytes long; what is longer is not from an API server. */
static bool names_of(const struct json *object, const char **ns, const char **name)
{
        const struct json *meta = json_get(object, "metadata");

        *ns = json_str(meta, "namespace", "");
        *name = json_str(meta, "name", "");
        return **name && strlen(*name) + strlen(*ns) + 2 <= NAMES_MAX;
}

static int report(struct kube_reflect *r, enum kube_event type, const struct json *object,
                  struct err *e)
{
        const char *ns, *name;
        bool seen;
        int rc;

        if (!names_of(object, &ns, &name))
                return unreadable(e, "an object without a name");
        if (r->cfg->listing) {
                type = type == KUBE_DELETED ? type : KUBE_MODIFIED;
        } else if (type == KUBE_DELETED) {
                forget(r, ns, name);
        } else {
                rc = note(r, ns, name, &seen, e);
                if (rc < 0)
                        return rc;
                type = seen ? KUBE_MODIFIED : KUBE_ADDED;
        }
        r->cfg->event(r->cfg->ctx, type, object);
        return 0;
}

/* --- the list */

static int on_item(void *ctx, const char *text, size_t len, struct err *e)
{
        struct kube_reflect *r = ctx;
        autojson struct json *object = NULL;
        int rc = json_parse(text, len, KUBE_OBJECT_MAX, &object, e);

        r->heard++;
        if (rc < 0)
                return rc == -ENOMEM ? rc : unreadable(e, "an object of the list");
        return report(r, KUBE_ADDED, object, e);
}

static int on_metadata(void *ctx, const char *text, size_t len, struct err *e)
{
        struct kube_reflect *r = ctx;
        autojson struct json *meta = NULL;
        int rc = json_parse(text, len, KUBE_OBJECT_MAX, &meta, e);

        if (rc < 0)
                return rc == -ENOMEM ? rc : unreadable(e, "the list's metadata");
        const char *next = json_str(meta, "continue", "");
        buf_reset(&r->page_after);
        r->page_last = !*next;
        if (buf_adds(&r->page_after, next) < 0)
                return unreadable(e, "the list's continue token");
        return r->page_first ? set_rv(r, json_str(meta, "resourceVersion", ""), e) : 0;
}

static struct json *tombstone(const struct known *k, const char *rv)
{
        struct json *o = json_new_object(), *meta = json_object_at(o, "metadata");
        bool ok = json_set_str(meta, "name", k->key + (k->ns_len ? k->ns_len + 1 : 0)) &&
                  json_set_str(meta, "resourceVersion", rv);

        if (ok && k->ns_len) {
                char ns[NAMES_MAX];
                snprintf(ns, sizeof(ns), "%.*s", (int)k->ns_len, k->key);
                ok = json_set_str(meta, "namespace", ns);
        }
        if (ok)
                return o;
        json_free(o);
        return NULL;
}

/* Reports what the list did not show. */
static int vanish(struct kube_reflect *r, struct err *e)
{
        for (struct ktable_node *n = ktable_first(&r->known), *next; n; n = next) {
                struct known *k = known_of(n);

                next = ktable_after(&r->known, n);
                if (k->generation == r->generation)
                        continue;
                autojson struct json *o = tombstone(k, r->rv);
                if (!o)
                        return err_sys(e, -ENOMEM, "report a vanished object");
                ktable_remove(&r->known, n);
                free(k);
                r->cfg->event(r->cfg->ctx, KUBE_DELETED, o);
        }
        return 0;
}

static void restart(struct kube_reflect *r)
{
        r->phase = KUBE_LISTING;
        buf_reset(&r->page);
        r->failed_watches = 0;
}

/* After the last byte of a page. */
static int page_end(struct kube_reflect *r, struct err *e)
{
        struct buf done = r->page;
        int rc;

        if (!kube_items_done(&r->items))
                return err_set(e, -EBADMSG, "the list ends before its end");
        if (!r->page_last && !r->page_after.len)
                return unreadable(e, "a list without metadata");
        r->heard++;
        if (!r->page_last) {
                r->page = r->page_after;
                r->page_after = done;
                return 0;
        }
        rc = vanish(r, e);
        if (rc < 0)
                return rc;
        buf_free(&r->page);
        buf_free(&r->page_after);
        r->phase = KUBE_WATCHING;
        if (r->cfg->synced)
                r->cfg->synced(r->cfg->ctx, r->rv);
        atomic_store(&r->synced, true); /* only now is what the list does not show gone */
        return 0;
}

/* --- the watch */

static int on_event(struct kube_reflect *r, const struct json *event, struct err *e)
{
        const char *type = json_str(event, "type", "");
        const struct json *object = json_get(event, "object");
        const char *rv = json_str(json_get(object, "metadata"), "resourceVersion", "");
        int rc = 0;

        if (strcmp(type, "ERROR") == 0)
                return kube_status_object(e, object);
        if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
                rc = report(r, KUBE_MODIFIED, object, e);
        else if (strcmp(type, "DELETED") == 0)
                rc = report(r, KUBE_DELETED, object, e);
        else if (strcmp(type, "BOOKMARK") != 0)
                return unreadable(e, "an event of unknown type");
        return rc < 0 ? rc : set_rv(r, rv, e);
}

static int on_line(void *ctx, const char *text, size_t len, struct err *e)
{
        struct kube_reflect *r = ctx;
        autojson struct json *event = NULL;
        int rc = json_parse(text, len, KUBE_OBJECT_MAX, &event, e);

        r->heard++;
        if (rc < 0)
                return rc == -ENOMEM ? rc : unreadable(e, "an event");
        return on_event(r, event, e);
}

int kube_reflect_data(struct kube_reflect *r, const char *data, size_t len, struct err *e)
{
        if (r->phase == KUBE_LISTING)
                return kube_items_feed(&r->items, data, len, e);
        return kube_lines_feed(&r->lines, data, len, on_line, r, e);
}

/* --- the end of a request */

/* The shell lost patience with a watch that was accepted and then silent. */
static bool quiet(const struct kube_reflect *r, const struct kube_reflect_end *end)
{
        return r->phase == KUBE_WATCHING && end->http == 200 && end->code == -ETIMEDOUT;
}

static bool success(const struct kube_reflect_end *end)
{
        return end->code == 0 && end->http >= 200 && end->http < 300;
}

/* Where a failure leads: to the same page or the same place of the watch, or to a new list. */
static void redirect(struct kube_reflect *r, const struct kube_reflect_end *end, int code)
{
        bool unreadable_or_gone = code == -EBADMSG || code == -E2BIG || code == -ESTALE;
        bool refused = end->code == 0 && end->http >= 400 && end->http < 500 && end->http != 429 &&
                       end->http != 401;

        if (r->phase == KUBE_WATCHING &&
            end->http) /* a server out of reach says nothing of our place */
                r->failed_watches++;
        if (unreadable_or_gone || refused || r->failed_watches >= KUBE_WATCH_RETRIES)
                restart(r);
}

int64_t kube_reflect_end(struct kube_reflect *r, const struct kube_reflect_end *end,
                         uint64_t random)
{
        bool watching = r->phase == KUBE_WATCHING;
        bool healthy = watching && end->http == 200 && end->lived_ms >= r->healthy_ms;
        struct err e = {0};
        int64_t wait;

        kube_lines_free(&r->lines);
        if (healthy) {
                backoff_reset(&r->backoff);
                r->failed_watches = 0;
        }
        if (quiet(r, end))
                return 0;
        if (!success(end)) {
                e = *end->err;
        } else if (!watching) {
                if (page_end(r, &e) == 0)
                        return 0;
        } else if (healthy) {
                return 0; /* its time was over */
        } else {
                err_set(&e, -ECONNRESET, "the watch ended after %" PRId64 " ms", end->lived_ms);
        }
        redirect(r, end, e.code);
        if (r->cfg->error)
                r->cfg->error(r->cfg->ctx, &e);
        wait = backoff_next(&r->backoff, random);
        return wait > end->retry_after_ms ? wait : end->retry_after_ms;
}
