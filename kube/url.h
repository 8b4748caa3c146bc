/* URLs of the API server. */
#ifndef DROVER_KUBE_URL_H
#define DROVER_KUBE_URL_H

#include "base/buf.h"
#include "kube/client.h"

#define KUBE_URL_MAX ((size_t)64 << 10)

#define KUBE_TEXT_(x)       #x
#define KUBE_TEXT(x)        KUBE_TEXT_(x)
#define KUBE_LIST_PAGE_TEXT KUBE_TEXT(KUBE_LIST_PAGE)

/*
 * Appends server + path. ns is ignored for cluster-scoped resources, and NULL means all namespaces
 * where name is NULL too; name and subresource may be NULL. -EINVAL for a name that cannot be one.
 */
must_check int kube_url(struct buf *b, const char *server, const struct kube_resource *r,
                        const char *ns, const char *name, const char *subresource, struct err *e);
/* Appends "?key=value" or "&key=value", escaped; NULL and "" are left out. */
void kube_url_param(struct buf *b, const char *key, const char *value);
/* 0, or the failure of an append. */
must_check int kube_url_check(const struct buf *b, struct err *e);

#endif
