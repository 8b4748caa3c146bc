/* Lists: page after page, each object parsed as it arrives. */
#include "kube/io.h"
#include "kube/request.h"
#include "kube/split.h"
#include "kube/url.h"

#include <errno.h>
#include <string.h>

#define LIST_MAX      ((size_t)256 << 20) /* bytes of all items */
#define METADATA_ONLY "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
#define RESTARTS      3 /* when the pages expire before they are read */

/* A page while it arrives. */
struct page {
        struct kube_items split;
        struct json *items; /* the array of all pages; NULL: each object is handed on */
        size_t bytes;       /* of all pages */
        int (*each)(void *ctx, const struct json *object, struct err *e);
        void *ctx;
        char *next; /* the token of the page after this one, or NULL */
};

/* Takes item. */
static int keep(struct page *p, struct json *item, size_t len, struct err *e)
{
        p->bytes += len;
        if (p->bytes <= LIST_MAX)
                return json_add(p->items, item) ? 0 : err_sys(e, -ENOMEM, "read the list");
        json_free(item);
        return err_set(e, -E2BIG, "the list is larger than %zu bytes", LIST_MAX);
}

static int on_item(void *ctx, const char *text, size_t len, struct err *e)
{
        struct page *p = ctx;
        struct json *item;
        int rc = json_parse(text, len, KUBE_OBJECT_MAX, &item, e);

        if (rc < 0)
                return rc == -ENOMEM ? rc
                                     : err_set(e, -EBADMSG, "an object of the list is not JSON");
        if (p->items)
                return keep(p, item, len, e);
        rc = p->each(p->ctx, item, e);
        json_free(item);
        return rc;
}

static int on_metadata(void *ctx, const char *text, size_t len, struct err *e)
{
        struct page *p = ctx;
        autojson struct json *meta = NULL;
        int rc = json_parse(text, len, KUBE_OBJECT_MAX, &meta, e);

        if (rc < 0)
                return rc == -ENOMEM ? rc : err_set(e, -EBADMSG, "the list's metadata is not JSON");
        const char *next = json_str(meta, "continue", "");
        free(p->next);
        p->next = NULL;
        if (!*next)
                return 0;
        p->next = strdup(next);
        return p->next ? 0 : err_sys(e, -ENOMEM, "read the list");
}

static int on_list(void *ctx, const char *data, size_t len, struct err *e)
{
        struct page *p = ctx;

        return kube_items_feed(&p->split, data, len, e);
}

static int page_url(struct buf *url, struct kube_client *c, const struct kube_resource *r,
                    const char *ns, const char *const selectors[2], const char *next, struct err *e)
{
        int rc = kube_url(url, c->cfg.server, r, ns, NULL, NULL, e);

        if (rc < 0)
                return rc;
        kube_url_param(url, "limit", KUBE_LIST_PAGE_TEXT);
        kube_url_param(url, "labelSelector", selectors[0]);
        kube_url_param(url, "fieldSelector", selectors[1]);
        kube_url_param(url, "continue", next);
        return kube_url_check(url, e);
}

/* Fetches the page that p->next names (NULL: the first) and leaves the next one's token there. */
static int fetch_page(struct kube_client *c, const struct kube_resource *r, const char *url,
                      struct page *p, struct err *e)
{
        int rc;

        free(p->next);
        p->next = NULL;
        p->split = kube_items_new(KUBE_OBJECT_MAX, on_item, on_metadata, p);
        rc = kube_fetch(c, url, r->metadata_only ? METADATA_ONLY : NULL, on_list, p, e);
        if (rc == 0 && !kube_items_done(&p->split))
                rc = err_set(e, -EBADMSG, "the list ends before its end");
        kube_items_free(&p->split);
        return rc;
}

static int all_pages(struct kube_client *c, const struct kube_resource *r, const char *ns,
                     const char *const selectors[2], struct page *p, struct err *e)
{
        int rc;

        do {
                autobuf struct buf url = buf_new(KUBE_URL_MAX);

                rc = page_url(&url, c, r, ns, selectors, p->next, e);
                if (rc == 0)
                        rc = fetch_page(c, r, buf_str(&url), p, e);
        } while (rc == 0 && p->next);
        return rc;
}

static int wrap(int rc, const struct kube_resource *r, struct err *e)
{
        return rc < 0 && e ? err_wrap(e, "list %s", r->plural) : rc;
}

int kube_list_each(struct kube_client *c, const struct kube_resource *r, const char *ns,
                   const char *label_selector,
                   int (*each)(void *ctx, const struct json *object, struct err *e), void *ctx,
                   struct err *e)
{
        const char *const selectors[2] = {label_selector, NULL};
        int rc = -ESTALE;

        for (int i = 0; rc == -ESTALE && i <= RESTARTS; i++) {
                struct page p = {.each = each, .ctx = ctx};

                rc = all_pages(c, r, ns, selectors, &p, e);
                free(p.next);
        }
        return wrap(rc, r, e);
}

int kube_list(struct kube_client *c, const struct kube_resource *r, const char *ns,
              const char *label_selector, const char *field_selector, struct json **out,
              struct err *e)
{
        const char *const selectors[2] = {label_selector, field_selector};
        int rc = -ESTALE;

        for (int i = 0; rc == -ESTALE && i <= RESTARTS; i++) {
                struct page p = {.items = json_new_array()};

                rc = p.items ? all_pages(c, r, ns, selectors, &p, e) : err_sys(e, -ENOMEM, "list");
                free(p.next);
                if (rc == 0)
                        *out = p.items;
                else
                        json_free(p.items);
        }
        return wrap(rc, r, e);
}
