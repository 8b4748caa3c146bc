#include "api/decode.h"

#include "base/mono.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define PATH_MAX_BYTES 320
#define PATH_KEY_MAX   80 /* of a member's name, which may be anything */

/* "spec.disks[1].name" */
static void add_path(struct buf *b, const struct at *at)
{
        if (at->up)
                add_path(b, at->up);
        if (!at->key)
                buf_addf(b, "[%zu]", at->index);
        else if (*at->key)
                buf_addf(b, "%s%.*s", b->len ? "." : "", at->up ? PATH_KEY_MAX : PATH_MAX_BYTES,
                         at->key);
}

void dec_fail(struct dec *d, const struct at *at, const char *what)
{
        if (d->rc < 0)
                return;
        autobuf struct buf path = buf_new(PATH_MAX_BYTES);
        add_path(&path, at);
        d->rc = err_set(d->e, -EINVAL, "%s%s%s%s", buf_str(&path), path.failed ? "..." : "",
                        path.len ? ": " : "", what);
}

static void no_memory(struct dec *d, size_t wanted)
{
        if (d->rc < 0)
                return;
        size_t taken = arena_size(d->a);
        if (d->limit && (taken >= d->limit || wanted > d->limit - taken))
                d->rc = err_set(d->e, -E2BIG, "the object takes more than %zu MiB", d->limit >> 20);
        else
                d->rc = err_set(d->e, -ENOMEM, "out of memory");
}

void *dec_alloc(struct dec *d, size_t n, size_t size)
{
        if (d->rc < 0 || n == 0)
                return NULL;
        void *p = arena_array(d->a, n, size);
        if (!p)
                no_memory(d, n * size);
        return p;
}

static struct at member(const struct at *up, const char *key)
{
        const struct json *j = json_get(up->j, key);

        return (struct at){json_type(j) == JSON_NULL ? NULL : j, up, key, 0};
}

static struct at typed(struct dec *d, const struct at *up, const char *key, enum json_type type,
                       const char *what)
{
        struct at at = member(up, key);

        if (at.j && json_type(at.j) != type) {
                dec_fail(d, &at, what);
                at.j = NULL;
        }
        if (d->rc < 0)
                at.j = NULL;
        return at;
}

struct at dec_object(struct dec *d, const struct at *up, const char *key)
{
        return typed(d, up, key, JSON_OBJECT, "not an object");
}

struct at dec_array(struct dec *d, const struct at *up, const char *key)
{
        return typed(d, up, key, JSON_ARRAY, "not a list");
}

void dec_element(struct dec *d, const struct at *element)
{
        if (json_type(element->j) != JSON_OBJECT)
                dec_fail(d, element, "not an object");
}

/* What nearly every object says need not be stored with each. */
static const char *shared(const char *s)
{
        static const char *const COMMON[] = {
                "",
                "default",
                "br0",
                "virtio",
                "root",
                "true",
                "True",
                "False",
                "Unknown",
                "Ready",
                "Equal",
                "Exists",
                "Running",
                "NoSchedule",
                "NoExecute",
                "root0",
                "net0",
                "kvm",
                "StorageHealthy",
                "LiveMigratable",
                "MemoryPressure",
                "DiskPressure",
                "PIDPressure",
                "AgentConnected",
                "PlacementSatisfied",
                "RestartRequired",
                DROVER_FINALIZER,
                "kubernetes.io/hostname",
                "kubernetes.io/os",
                "kubernetes.io/arch",
                "beta.kubernetes.io/os",
                "beta.kubernetes.io/arch",
                "linux",
                "InternalIP",
                "Hostname",
                "amd64",
                DROVER_HYPERVISOR_LABEL,
                DROVER_VM_LABEL,
                DROVER_UID_ANNOTATION,
                DROVER_GUEST_LABEL,
                DROVER_EPOCH_ANNOTATION,
                DROVER_MIGRATION_ANNOTATION,
                DROVER_PLACEMENT_ANNOTATION,
        };

        for (size_t i = 0; i < countof(COMMON); i++)
                if (*s == *COMMON[i] && strcmp(s, COMMON[i]) == 0)
                        return COMMON[i];
        return NULL;
}

static const char *keep(struct dec *d, const char *s)
{
        const char *copy = shared(s);

        if (copy || d->rc < 0)
                return copy;
        copy = arena_strdup(d->a, s);
        if (!copy)
                no_memory(d, strlen(s) + 1);
        return copy;
}

/* The string at a place, "" after a failure. */
static const char *string_at(struct dec *d, const struct at *at)
{
        const char *s = json_string(at->j);

        if (!s)
                dec_fail(d, at, "not a string");
        s = s ? keep(d, s) : NULL;
        return s ? s : "";
}

const char *dec_str(struct dec *d, const struct at *up, const char *key, const char *dflt)
{
        struct at at = member(up, key);

        return at.j ? string_at(d, &at) : dflt;
}

int64_t dec_int(struct dec *d, const struct at *up, const char *key, int64_t dflt)
{
        struct at at = member(up, key);
        int64_t v = dflt;

        if (at.j && !json_to_int(at.j, &v))
                dec_fail(d, &at, "not an integer");
        return v;
}

bool dec_bool(struct dec *d, const struct at *up, const char *key, bool dflt)
{
        struct at at = typed(d, up, key, JSON_BOOL, "not true or false");

        return at.j ? json_is_true(at.j) : dflt;
}

int64_t dec_quantity(struct dec *d, const struct at *up, const char *key)
{
        struct at at = member(up, key);
        const char *text = json_string(at.j);
        int64_t v = 0;

        if (!at.j || (!text && json_to_int(at.j, &v)))
                return v;
        int rc = text ? quantity_parse(text, &v) : -EINVAL;
        if (rc < 0)
                dec_fail(d, &at, rc == -ERANGE ? "quantity out of range" : "not a quantity");
        return v;
}

int64_t dec_time(struct dec *d, const struct at *up, const char *key)
{
        struct at at = member(up, key);
        const char *text = json_string(at.j);
        int64_t us = 0;

        if (at.j && !text)
                dec_fail(d, &at, "not a string");
        return text && rfc3339_parse(text, &us) == 0 ? us : 0;
}

struct strs dec_strs(struct dec *d, const struct at *up, const char *key)
{
        struct at arr = dec_array(d, up, key);
        struct strs out = {.v = dec_alloc(d, json_count(arr.j), sizeof(*out.v))};

        if (out.v)
                dec_each(d, &arr, el) out.v[out.n++] = string_at(d, &el);
        return out;
}

/* A copy of the whole object that kubectl leaves behind; nobody here reads it. */
static bool bulk(const char *key)
{
        return strcmp(key, "kubectl.kubernetes.io/last-applied-configuration") == 0;
}

struct kvs dec_kvs(struct dec *d, const struct at *up, const char *key)
{
        struct at map = dec_object(d, up, key);
        size_t n = 0;
        struct kvs out = {0};

        for (const struct json *c = json_first(map.j); c; c = json_next(c))
                n += !bulk(json_key(c));
        out.v = dec_alloc(d, n, sizeof(*out.v));
        for (const struct json *c = json_first(map.j); c && out.v && d->rc == 0; c = json_next(c)) {
                struct at at = {c, &map, json_key(c), 0};
                if (bulk(at.key))
                        continue;
                struct kv *kv = &out.v[out.n++];
                kv->value = string_at(d, &at);
                kv->key = keep(d, at.key);
        }
        return out;
}

const char *dec_text(struct dec *d, const struct at *up, const char *key)
{
        struct at at = member(up, key);

        if (!at.j || d->rc < 0)
                return "";
        const char *text = json_text(at.j, d->a);
        if (!text)
                no_memory(d, 0);
        return text ? text : "";
}

void *dec_begin(struct dec *d, const struct json *j, size_t size, struct at *root, struct err *e)
{
        *d = (struct dec){.limit = API_ARENA_MAX, .e = e};
        *root = (struct at){.j = j, .key = ""};
        if (json_type(j) != JSON_OBJECT) {
                dec_fail(d, root, "not an object");
                return NULL;
        }
        d->a = arena_new(API_ARENA_MAX);
        if (!d->a) {
                d->rc = err_set(e, -ENOMEM, "out of memory");
                return NULL;
        }
        return dec_alloc(d, 1, size);
}

int dec_finish(struct dec *d)
{
        if (d->rc < 0)
                arena_free(d->a);
        return d->rc;
}
