#include "kube/event.h"

#include "base/fnv.h"
#include "base/mono.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 253
#define MESSAGE_MAX    1024
#define TRIES          4 /* against others who count the same event */

/* The NUL separates the parts. */
static uint64_t mix(uint64_t h, const char *s)
{
        return fnv64_byte(fnv64(h, s), '\0');
}

/* The object's name, cut where needed, and a hash: the same event has the same name. */
static void event_name(const struct kube_event_about *about, const char *component,
                       const char *type, const char *reason, const char *message,
                       char out[NAME_MAX_BYTES + 1])
{
        uint64_t h = mix(FNV64_START, about->uid ? about->uid : about->name);

        h = mix(mix(mix(mix(h, component), type), reason), message);
        snprintf(out, NAME_MAX_BYTES + 1, "%.*s.%016" PRIx64, NAME_MAX_BYTES - 17, about->name, h);
}

static bool fill_about(struct json *ref, const struct kube_event_about *about)
{
        return json_set_str(ref, "apiVersion", about->api_version) &&
               json_set_str(ref, "kind", about->kind) &&
               json_set_str(ref, "namespace", about->ns) &&
               json_set_str(ref, "name", about->name) && json_set_str(ref, "uid", about->uid);
}

static struct json *new_event(const struct kube_event_about *about, const char *component,
                              const char *type, const char *reason, const char *message,
                              const char *ns, const char *name, const char *now)
{
        struct json *o = json_new_object(), *meta = json_object_at(o, "metadata");
        struct json *source = json_object_at(o, "source");

        if (json_set_str(o, "apiVersion", "v1") && json_set_str(o, "kind", "Event") &&
            json_set_str(meta, "name", name) && json_set_str(meta, "namespace", ns) &&
            fill_about(json_object_at(o, "involvedObject"), about) &&
            json_set_str(source, "component", component) && json_set_str(o, "type", type) &&
            json_set_str(o, "reason", reason) && json_set_str(o, "message", message) &&
            json_set_str(o, "firstTimestamp", now) && json_set_str(o, "lastTimestamp", now) &&
            json_set_int(o, "count", 1) && json_set_str(o, "reportingComponent", component))
                return o;
        json_free(o);
        return NULL;
}

/* One more of an event that is there; -EAGAIN when another writer was faster. */
static int count_up(struct kube_client *c, const char *ns, const char *name, const char *now,
                    struct err *e)
{
        autojson struct json *old = NULL, *patch = json_new_object();
        struct json *meta = json_object_at(patch, "metadata");
        int rc = kube_get(c, &KUBE_EVENTS, ns, name, &old, e);

        if (rc < 0)
                return rc;
        if (!json_set_str(meta, "resourceVersion",
                          json_str(json_get(old, "metadata"), "resourceVersion", NULL)) ||
            !json_set_int(patch, "count", json_int(old, "count", 1) + 1) ||
            !json_set_str(patch, "lastTimestamp", now))
                return err_sys(e, -ENOMEM, "record an event");
        return kube_patch(c, &KUBE_EVENTS, ns, name, NULL, patch, NULL, e);
}

/* message cut to what the API server takes, at the start of a character. */
static void cut(const char *message, char out[MESSAGE_MAX])
{
        size_t n = strnlen(message, MESSAGE_MAX);

        if (n >= MESSAGE_MAX)
                for (n = MESSAGE_MAX - 1; n && ((unsigned char)message[n] & 0xc0) == 0x80; n--)
                        ;
        memcpy(out, message, n);
        out[n] = 0;
}

int kube_event_record(struct kube_client *c, const struct kube_event_about *about,
                      const char *component, const char *type, const char *reason,
                      const char *message, struct err *e)
{
        const char *ns = about->ns && *about->ns ? about->ns : "default";
        char name[NAME_MAX_BYTES + 1], now[RFC3339_MAX], text[MESSAGE_MAX];
        int rc = -EAGAIN;

        cut(message, text);
        event_name(about, component, type, reason, text, name);
        rfc3339_format(wall_us(), 0, now);
        autojson struct json *event =
                new_event(about, component, type, reason, text, ns, name, now);
        if (!event)
                return err_sys(e, -ENOMEM, "record an event");
        for (int i = 0; i < TRIES && (rc == -EAGAIN || rc == -ENOENT); i++) {
                rc = kube_create(c, &KUBE_EVENTS, ns, event, NULL, e);
                if (rc == -EEXIST)
                        rc = count_up(c, ns, name, now, e); /* -ENOENT: it has expired meanwhile */
        }
        return rc;
}
