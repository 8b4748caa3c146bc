#include "kube/base64.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static int digit(char c)
{
        static const char digits[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *p = c ? strchr(digits, c) : NULL;

        return p ? (int)(p - digits) : -1;
}

int kube_base64_decode(const char *text, struct buf *b)
{
        uint32_t bits = 0;
        int n = 0, pad = 0;

        for (; *text; text++) {
                if (strchr(" \t\r\n", *text))
                        continue;
                int v = digit(*text);
                if (*text == '=' && n >= 2)
                        v = 0, pad++;
                else if (v < 0 || pad)
                        return -EINVAL;
                bits = bits << 6 | (uint32_t)v;
                if (++n < 4)
                        continue;
                char out[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
                int rc = buf_add(b, out, (size_t)(3 - pad));
                if (rc < 0)
                        return rc;
                n = 0;
                bits = 0;
                if (pad)
                        return text[1 + strspn(text + 1, " \t\r\n")] ? -EINVAL : 0;
        }
        return n ? -EINVAL : 0;
}
