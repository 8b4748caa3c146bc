/* The verbs of kube/client.h. */
#include "kube/request.h"

#include <errno.h>

static int context(int rc, const char *verb, const struct kube_resource *r, const char *ns,
                   const char *name, struct err *e)
{
        if (rc == 0 || !e)
                return rc;
        bool with_ns = r->namespaced && ns;
        return err_wrap(e, "%s %s %s%s%s", verb, r->plural, with_ns ? ns : "",
                        with_ns && name ? "/" : "", name ? name : "");
}

int kube_get(struct kube_client *c, const struct kube_resource *r, const char *ns, const char *name,
             struct json **out, struct err *e)
{
        struct kube_call call = {.method = "GET", .resource = r, .ns = ns, .name = name};

        return context(kube_call_run(c, &call, out, e), "get", r, ns, name, e);
}

int kube_create(struct kube_client *c, const struct kube_resource *r, const char *ns,
                const struct json *object, struct json **out, struct err *e)
{
        struct kube_call call = {.method = "POST",
                                 .resource = r,
                                 .ns = ns,
                                 .content_type = "application/json",
                                 .body = object};
        const char *name = json_str(json_get(object, "metadata"), "name", NULL);

        if (r->namespaced && !ns)
                return err_set(e, -EINVAL, "create %s: no namespace given", r->plural);
        return context(kube_call_run(c, &call, out, e), "create", r, ns, name, e);
}

static int patch(struct kube_client *c, const char *type, struct mono until,
                 const struct kube_resource *r, const char *ns, const char *name,
                 const char *subresource, const struct json *object, struct json **out,
                 struct err *e)
{
        struct kube_call call = {.method = "PATCH",
                                 .resource = r,
                                 .ns = ns,
                                 .name = name,
                                 .subresource = subresource,
                                 .content_type = type,
                                 .until = until,
                                 .body = object};

        return context(kube_call_run(c, &call, out, e), "patch", r, ns, name, e);
}

int kube_patch(struct kube_client *c, const struct kube_resource *r, const char *ns,
               const char *name, const char *subresource, const struct json *object,
               struct json **out, struct err *e)
{
        return kube_patch_until(c, (struct mono){0}, r, ns, name, subresource, object, out, e);
}

int kube_patch_until(struct kube_client *c, struct mono until, const struct kube_resource *r,
                     const char *ns, const char *name, const char *subresource,
                     const struct json *object, struct json **out, struct err *e)
{
        return patch(c, "application/merge-patch+json", until, r, ns, name, subresource, object,
                     out, e);
}

int kube_patch_strategic(struct kube_client *c, const struct kube_resource *r, const char *ns,
                         const char *name, const char *subresource, const struct json *object,
                         struct json **out, struct err *e)
{
        return patch(c, "application/strategic-merge-patch+json", (struct mono){0}, r, ns, name,
                     subresource, object, out, e);
}

int kube_update(struct kube_client *c, const struct kube_resource *r, const char *ns,
                const char *name, const struct json *object, struct json **out, struct err *e)
{
        struct kube_call call = {.method = "PUT",
                                 .resource = r,
                                 .ns = ns,
                                 .name = name,
                                 .content_type = "application/json",
                                 .body = object};

        return context(kube_call_run(c, &call, out, e), "update", r, ns, name, e);
}

static struct json *delete_options(const char *uid, int grace_s)
{
        struct json *o = json_new_object();
        bool ok = json_set_str(o, "kind", "DeleteOptions") && json_set_str(o, "apiVersion", "v1");

        if (ok && uid)
                ok = json_set_str(json_object_at(o, "preconditions"), "uid", uid);
        if (ok && grace_s >= 0)
                ok = json_set_int(o, "gracePeriodSeconds", grace_s);
        if (ok)
                return o;
        json_free(o);
        return NULL;
}

int kube_delete(struct kube_client *c, const struct kube_resource *r, const char *ns,
                const char *name, const char *uid, int grace_s, struct err *e)
{
        autojson struct json *options = delete_options(uid, grace_s);
        struct kube_call call = {.method = "DELETE",
                                 .resource = r,
                                 .ns = ns,
                                 .name = name,
                                 .content_type = "application/json",
                                 .body = options};
        int rc;

        if (!options)
                return err_sys(e, -ENOMEM, "delete %s %s", r->plural, name);
        rc = kube_call_run(c, &call, NULL, e);
        return rc == -ENOENT ? 0 : context(rc, "delete", r, ns, name, e);
}
