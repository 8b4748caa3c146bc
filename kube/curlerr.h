/* curl's ways to fail as errno values. */
#ifndef DROVER_KUBE_CURLERR_H
#define DROVER_KUBE_CURLERR_H

#include "base/err.h"

#include <curl/curl.h>

/* Fills e; text is the handle's error buffer, which may be empty. */
int kube_curl_error(struct err *e, CURL *h, CURLcode rc, const char *text);

#endif
