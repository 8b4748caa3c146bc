/* What the fuzzers share: what must hold for any input, and the input as JSON. */
#ifndef DROVER_TESTS_FUZZ_H
#define DROVER_TESTS_FUZZ_H

#include "base/json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_TEXT_MAX ((size_t)4 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                            \
        do {                                                                                       \
                if (!(condition)) {                                                                \
                        fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition); \
                        abort();                                                                   \
                }                                                                                  \
        } while (0)

/* NULL when it is no JSON. */
static inline struct json *fuzz_json(const uint8_t *data, size_t size)
{
        struct json *j = NULL;
        struct err e;

        return json_parse((const char *)data, size, FUZZ_TEXT_MAX, &j, &e) ? NULL : j;
}

#endif
