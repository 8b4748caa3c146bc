/* Any file as a kubeconfig. */
#include "kube/config.h"
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct kube_config cfg = {0};
        struct err e = {0};
        char path[64];
        int fd = memfd_create("kubeconfig", MFD_CLOEXEC);

        must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (kube_config_file(path, NULL, &cfg, &e) == 0) {
                must(cfg.server && *cfg.server && cfg.ns);
                must(cfg.server[strlen(cfg.server) - 1] != '/');
                kube_config_free(&cfg);
        } else {
                must(*e.msg);
        }
        close(fd);
        return 0;
}
