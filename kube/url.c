#include "kube/url.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static void escaped(struct buf *b, const char *s)
{
        for (; *s; s++) {
                unsigned char c = (unsigned char)*s;

                if (isascii(c) && (isalnum(c) || strchr("-._~", c)))
                        buf_add(b, s, 1);
                else
                        buf_addf(b, "%%%02X", c);
        }
}

/* Path segments go out as they are (CURLOPT_PATH_AS_IS), so what could climb out is refused. */
static int segment(struct buf *b, const char *what, const char *s, struct err *e)
{
        if (!*s || strchr(s, '/') || strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
                return err_set(e, -EINVAL, "%s \"%s\" is not a name", what, s);
        buf_add(b, "/", 1);
        escaped(b, s);
        return 0;
}

int kube_url_check(const struct buf *b, struct err *e)
{
        return b->failed ? err_sys(e, b->error, "build URL") : 0;
}

int kube_url(struct buf *b, const char *server, const struct kube_resource *r, const char *ns,
             const char *name, const char *subresource, struct err *e)
{
        int rc = 0;

        buf_addf(b, "%s/%s/%s", server, strchr(r->group_version, '/') ? "apis" : "api",
                 r->group_version);
        if (r->namespaced && !ns && name)
                return err_set(e, -EINVAL, "%s %s: no namespace given", r->plural, name);
        if (r->namespaced && ns) {
                buf_adds(b, "/namespaces");
                rc = segment(b, "namespace", ns, e);
        }
        buf_addf(b, "/%s", r->plural);
        if (rc == 0 && name)
                rc = segment(b, "name", name, e);
        if (rc == 0 && name && subresource)
                rc = segment(b, "subresource", subresource, e);
        return rc < 0 ? rc : kube_url_check(b, e);
}

void kube_url_param(struct buf *b, const char *key, const char *value)
{
        if (!value || !*value)
                return;
        buf_addf(b, "%c%s=", strchr(buf_str(b), '?') ? '&' : '?', key);
        escaped(b, value);
}
