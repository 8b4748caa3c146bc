/* Random numbers for jitter and hash seeds. Thread safe, never fails. */
#ifndef DROVER_KUBE_RANDOM_H
#define DROVER_KUBE_RANDOM_H

#include <stdint.h>

uint64_t kube_random(void);

#endif
