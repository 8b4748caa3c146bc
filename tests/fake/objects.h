/*
 * The part of an API server that keeps objects, as a script for tests/fake/apiserver.h: GET, POST,
 * PUT, merge PATCH and DELETE with resourceVersions, conflicts and Status answers. One collection
 * of names whatever the path before the last segments; a status is a part of its object; no watch.
 */
#ifndef DROVER_TESTS_FAKE_OBJECTS_H
#define DROVER_TESTS_FAKE_OBJECTS_H

#include "base/json.h"
#include "tests/fake/apiserver.h"

#include <pthread.h>

struct fake_objects {
        pthread_mutex_t lock;
        struct json *by_path; /* path -> object */
        int64_t rv;
        int writes;
        int refuse; /* answer so many requests with 500 first */
        bool mute;  /* do the next write without an answer, which is the script's caller's then */
};
void fake_objects_init(struct fake_objects *o);
void fake_objects_free(struct fake_objects *o);
fake_script fake_objects_script; /* ctx is a struct fake_objects */
/* A copy of the object at a path, or NULL; the caller frees it. */
struct json *fake_objects_get(struct fake_objects *o, const char *path);

#endif
