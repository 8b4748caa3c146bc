/* Base64 as kubeconfig files and Secrets hold it (RFC 4648, padded, white space allowed). */
#ifndef DROVER_KUBE_BASE64_H
#define DROVER_KUBE_BASE64_H

#include "base/buf.h"

/* Appends what text stands for. 0, -EINVAL, or the buffer's error. */
must_check int kube_base64_decode(const char *text, struct buf *b);

#endif
