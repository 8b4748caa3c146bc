#include "http/internal.h"

#include <string.h>

static void say(struct http_reply *rep, unsigned status, const char *text)
{
        rep->status = status;
        rep->content_type = "text/plain";
        buf_adds(&rep->body, text);
}

static void healthz(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx, (void)req;
        say(rep, MHD_HTTP_OK, "ok\n");
}

static void readyz(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        struct http_server *s = ctx;

        (void)req;
        if (atomic_load(&s->stopping))
                say(rep, MHD_HTTP_SERVICE_UNAVAILABLE, "stopping\n");
        else if (!atomic_load(&s->ready))
                say(rep, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready\n");
        else
                say(rep, MHD_HTTP_OK, "ok\n");
}

static void metrics(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx, (void)req;
        rep->content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        metrics_print(&rep->body);
}

static const struct http_route OWN[] = {
        {"GET", "/healthz", healthz},
        {"GET", "/readyz", readyz},
        {"GET", "/metrics", metrics},
};

/* True when the path is known; out says whether the method is too. HEAD is a GET without a body. */
static bool search(const struct http_route *routes, size_t n, void *ctx, const char *method,
                   const char *path, struct http_target *out)
{
        bool found = false;

        if (strcmp(method, "HEAD") == 0)
                method = "GET";
        for (size_t i = 0; i < n; i++) {
                if (strcmp(path, routes[i].path) != 0)
                        continue;
                found = true;
                out->label = routes[i].path;
                out->allow = routes[i].method;
                if (strcmp(method, routes[i].method) == 0) {
                        out->handle = routes[i].handle;
                        out->ctx = ctx;
                        return true;
                }
        }
        out->status = found ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND;
        out->why = found ? "method not allowed" : "no such path";
        return found;
}

struct http_target route_find(struct http_server *s, const char *method, const char *path)
{
        struct http_target t = {.label = "other"};

        if (!search(s->routes, s->nroutes, s->ctx, method, path, &t))
                search(OWN, countof(OWN), s, method, path, &t);
        return t;
}
