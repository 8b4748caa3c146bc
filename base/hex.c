#include "base/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/types.h>

#define RANDOM_MAX 256 /* getrandom gives so many at once */

void hex_encode(char *out, const unsigned char *bytes, size_t n)
{
        *out = '\0';
        for (size_t i = 0; i < n; i++)
                snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

void hex_random(char *out, size_t n)
{
        unsigned char r[RANDOM_MAX];

        if (n > sizeof(r) || getrandom(r, n, 0) != (ssize_t)n)
                abort();
        hex_encode(out, r, n);
}
