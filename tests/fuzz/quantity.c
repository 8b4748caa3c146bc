/* Any text as a Quantity; what it means, written as a number, means the same. */
#include "api/codec.h"
#include "tests/fuzz/fuzz.h"

#include <inttypes.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *text = strndup((const char *)data, size), number[32];
        int64_t value = -1, again = -1;

        must(text);
        if (quantity_parse(text, &value) == 0) {
                snprintf(number, sizeof(number), "%" PRId64, value);
                must(quantity_parse(number, &again) == 0 && again == value);
        } else {
                must(value == -1); /* untouched on failure */
        }
        free(text);
        return 0;
}
