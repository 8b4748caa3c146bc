/* Words of the API for the values of an enum: an array indexed by it. */
#ifndef DROVER_CORE_NAMES_H
#define DROVER_CORE_NAMES_H

/* names[i], "?" past the end. */
const char *name_at(const char *const *names, unsigned n, unsigned i);
/* The index of name, dflt when it is none of them. */
unsigned name_index(const char *const *names, unsigned n, const char *name, unsigned dflt);

#endif
