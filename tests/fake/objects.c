#include "tests/fake/objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fake_objects_init(struct fake_objects *o)
{
        *o = (struct fake_objects){.by_path = json_new_object(), .rv = 1};
        pthread_mutex_init(&o->lock, NULL);
}

void fake_objects_free(struct fake_objects *o)
{
        json_free(o->by_path);
        pthread_mutex_destroy(&o->lock);
}

struct json *fake_objects_get(struct fake_objects *o, const char *path)
{
        pthread_mutex_lock(&o->lock);
        struct json *j = json_get(o->by_path, path) ? json_clone(json_get(o->by_path, path)) : NULL;
        pthread_mutex_unlock(&o->lock);
        return j;
}

static void say_status(struct fake_conn *c, int code, const char *message)
{
        char body[512];

        snprintf(body, sizeof(body),
                 "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\","
                 "\"message\":\"%s\",\"code\":%d}",
                 message, code);
        fake_answer(c, code, "", body);
}

static void say_missing(struct fake_conn *c, const char *path)
{
        char body[1024];

        fake_missing(path, body, sizeof(body));
        fake_answer(c, 404, "", body);
}

static void say(struct fake_conn *c, int code, const struct json *object)
{
        struct buf b = buf_new(1 << 20);

        json_print(object, &b);
        fake_answer(c, code, "", buf_str(&b));
        buf_free(&b);
}

/* RFC 7386. */
static void merge(struct json *to, const struct json *patch)
{
        for (const struct json *p = json_first(patch); p; p = json_next(p)) {
                const char *key = json_key(p);

                if (json_type(p) == JSON_NULL)
                        json_remove(to, key);
                else if (json_type(p) == JSON_OBJECT)
                        merge(json_object_at(to, key), p);
                else
                        json_set(to, key, json_clone(p));
        }
}

static const char *version(const struct json *object)
{
        return json_str(json_get(object, "metadata"), "resourceVersion", "");
}

static void store(struct fake_objects *o, struct fake_conn *c, const char *path,
                  struct json *object, int code)
{
        char rv[24];

        snprintf(rv, sizeof(rv), "%d", (int)++o->rv);
        json_set_str(json_object_at(object, "metadata"), "resourceVersion", rv);
        o->writes++;
        object = json_set(o->by_path, path, object);
        if (!o->mute)
                say(c, code, object);
        o->mute = false;
}

static void create(struct fake_objects *o, struct fake_conn *c, const char *collection,
                   struct json *object)
{
        char path[1024];

        snprintf(path, sizeof(path), "%s/%s", collection,
                 json_str(json_get(object, "metadata"), "name", "?"));
        if (!json_get(o->by_path, path)) {
                store(o, c, path, object, 201);
                return;
        }
        say_status(c, 409, "already exists");
        json_free(object);
}

static void write_object(struct fake_objects *o, struct fake_conn *c, const char *method,
                         const char *path, struct json *body)
{
        const struct json *old = json_get(o->by_path, path);

        if (!old) {
                say_missing(c, path);
        } else if (*version(body) && strcmp(version(body), version(old)) != 0) {
                say_status(c, 409, "the object has been modified");
        } else if (strcmp(method, "PUT") == 0) {
                store(o, c, path, body, 200);
                return;
        } else {
                struct json *merged = json_clone(old);
                merge(merged, body);
                store(o, c, path, merged, 200);
        }
        json_free(body);
}

static void run(struct fake_objects *o, struct fake_conn *c, const struct fake_request *r,
                const char *path)
{
        const struct json *old = json_get(o->by_path, path);
        struct json *body = NULL;

        if (o->refuse > 0) {
                o->refuse--;
                say_status(c, 500, "refused");
        } else if (strcmp(r->method, "GET") == 0) {
                if (old)
                        say(c, 200, old);
                else
                        say_missing(c, path);
        } else if (strcmp(r->method, "DELETE") == 0) {
                if (old)
                        say_status(c, 200, "deleted");
                else
                        say_missing(c, path);
                json_remove(o->by_path, path);
        } else if (json_parse(r->body, r->body_len, 1 << 20, &body, NULL) < 0) {
                say_status(c, 400, "the body is not JSON");
        } else if (strcmp(r->method, "POST") == 0) {
                create(o, c, path, body);
        } else {
                write_object(o, c, r->method, path, body);
        }
}

void fake_objects_script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        struct fake_objects *o = ctx;
        char *path = strdup(r->target);

        path[strcspn(path, "?")] = 0;
        size_t len = strlen(path);
        if (len > 7 && !strcmp(path + len - 7, "/status"))
                path[len - 7] = 0;
        pthread_mutex_lock(&o->lock);
        run(o, c, r, path);
        pthread_mutex_unlock(&o->lock);
        free(path);
}
