#include "tests/unit/oom.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);

static __thread struct {
        unsigned long nth, count;
        bool on, hence, failed;
} oom;

static bool fails(void)
{
        if (!oom.on)
                return false;
        oom.count++;
        if (oom.count != oom.nth && !(oom.hence && oom.count > oom.nth))
                return false;
        oom.failed = true;
        errno = ENOMEM;
        return true;
}

void *__wrap_malloc(size_t size)
{
        return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
        return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
        return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s)
{
        size_t n = strlen(s) + 1;
        char *p = malloc(n);

        return p ? memcpy(p, s, n) : NULL;
}

static void arm(unsigned long nth, bool hence)
{
        oom.nth = nth;
        oom.count = 0;
        oom.hence = hence;
        oom.failed = false;
        oom.on = true;
}

void oom_arm(unsigned long nth)
{
        arm(nth, false);
}

void oom_arm_from(unsigned long nth)
{
        arm(nth, true);
}

bool oom_disarm(void)
{
        oom.on = false;
        return oom.failed;
}

unsigned long oom_count(void)
{
        return oom.count;
}

/* A shared library's own calls are not wrapped; cJSON can be given ours. */
__attribute__((constructor)) static void hook_cjson(void)
{
        cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = malloc, .free_fn = free});
}
