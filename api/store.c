/* The same two functions for each kind: release, and decoding into a void pointer. */
#include "api/codec.h"

#define KIND(kind)                                                                                 \
        void kind##_free(void *object)                                                             \
        {                                                                                          \
                struct kind *it = object;                                                          \
                                                                                                   \
                if (it)                                                                            \
                        arena_free(it->arena);                                                     \
        }                                                                                          \
                                                                                                   \
        int kind##_decode_any(const struct json *j, void **out, struct err *e)                     \
        {                                                                                          \
                struct kind *it;                                                                   \
                int rc = kind##_decode(j, &it, e);                                                 \
                                                                                                   \
                if (rc == 0)                                                                       \
                        *out = it;                                                                 \
                return rc;                                                                         \
        }

KIND(vm)
KIND(node)
KIND(pod)
KIND(host)
KIND(migration)
KIND(image)
KIND(claim)
KIND(snapshot)
