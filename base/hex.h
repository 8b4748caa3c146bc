/* Bytes as hexadecimal digits, in lower case. */
#ifndef DROVER_BASE_HEX_H
#define DROVER_BASE_HEX_H

#include <stddef.h>

/* out has room for 2 * n + 1 bytes. */
void hex_encode(char *out, const unsigned char *bytes, size_t n);
/* The digits of n <= 256 random bytes, fit for names that nobody guesses. Aborts without any. */
void hex_random(char *out, size_t n);

#endif
