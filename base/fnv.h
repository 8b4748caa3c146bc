/* FNV-1a (draft-eastlake-fnv), 32 and 64 bits: quick, stable, and no match for who means harm. */
#ifndef DROVER_BASE_FNV_H
#define DROVER_BASE_FNV_H

#include <stdint.h>

#define FNV32_START 0x811c9dc5u
#define FNV64_START 0xcbf29ce484222325u
#define FNV64_PRIME 0x100000001b3u

static inline uint32_t fnv32_byte(uint32_t h, unsigned char c)
{
        return (h ^ c) * 0x01000193u;
}

static inline uint64_t fnv64_byte(uint64_t h, unsigned char c)
{
        return (h ^ c) * FNV64_PRIME;
}

/* Continued from h over the string, without its NUL. */
static inline uint32_t fnv32(uint32_t h, const char *s)
{
        for (; *s; s++)
                h = fnv32_byte(h, (unsigned char)*s);
        return h;
}

static inline uint64_t fnv64(uint64_t h, const char *s)
{
        for (; *s; s++)
                h = fnv64_byte(h, (unsigned char)*s);
        return h;
}

#endif
