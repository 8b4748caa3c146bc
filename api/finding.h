/* A doctor's finding <-> JSON: what `drover-agent doctor` prints and `kubectl drover doctor` reads.
 */
#ifndef DROVER_API_FINDING_H
#define DROVER_API_FINDING_H

#include "base/json.h"
#include "core/doctor.h"

/* A new object, NULL when out of memory. */
struct json *finding_encode(const struct finding *x);
/* Adds what the object says; false, and nothing is added, when it is no finding. */
bool finding_decode(const struct json *j, struct findings *f);

#endif
