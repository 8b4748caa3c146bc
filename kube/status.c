#include "kube/status.h"

#include <errno.h>
#include <string.h>

static int code_of(int http, bool create)
{
        switch (http) {
        case 401:
                return -EPERM;
        case 403:
                return -EACCES;
        case 404:
                return -ENXIO;
        case 409:
                return create ? -EEXIST : -EAGAIN;
        case 410:
                return -ESTALE;
        case 413:
                return -E2BIG;
        default:
                if (kube_status_transient(http))
                        return -EBUSY;
                return http >= 400 && http < 500 ? -EINVAL : -EPROTO;
        }
}

bool kube_status_transient(int http)
{
        return http == 429 || (http >= 500 && http <= 599);
}

static int fill(struct err *e, int code, int http, const struct json *status)
{
        const char *message = json_str(status, "message", "");

        if (*message)
                err_set(e, code, "%s", message);
        else
                err_set(e, code, "the API server answered HTTP %d", http);
        if (e)
                e->http = http;
        return code;
}

/* The Status says of the very object that was asked for that it does not exist. */
static bool object_missing(const struct json *status, const struct kube_asked *asked)
{
        const struct json *details = json_get(status, "details");

        return asked->name && !strcmp(json_str(status, "kind", ""), "Status") &&
               !strcmp(json_str(status, "reason", ""), "NotFound") &&
               !strcmp(json_str(details, "name", ""), asked->name) &&
               !strcmp(json_str(details, "kind", ""), asked->plural);
}

int kube_status_error(struct err *e, int http, const struct kube_asked *asked, const char *body,
                      size_t len)
{
        autojson struct json *status = NULL;
        int code = code_of(http, asked->create);

        if (json_parse(body, len, len, &status, NULL) < 0)
                status = NULL;
        if (code == -ENXIO && object_missing(status, asked))
                code = -ENOENT;
        /* A create meets this where a quota was being counted: the object is not there. */
        if (code == -EEXIST && strcmp(json_str(status, "reason", ""), "Conflict") == 0)
                code = -EAGAIN;
        return fill(e, code, http, status);
}

int kube_status_object(struct err *e, const struct json *status)
{
        int64_t http = json_int(status, "code", 500);

        if (http < 300 || http > 599)
                http = 500;
        return fill(e, code_of((int)http, false), (int)http, status);
}
