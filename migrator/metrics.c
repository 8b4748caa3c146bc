#include "migrator/metrics.h"

#include "base/metrics.h"

static struct metric *phases, *results, *downtime, *total, *images, *snapshots;

void metrics_register(void)
{
        static const double pause[] = {0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 5, 30};
        static const double whole[] = {0.5, 1, 2, 5, 10, 30, 60, 300, 1800};

        phases = metric_gauge("drover_vm_phase", "Virtual machines by phase.", "phase");
        results = metric_counter("drover_migrations", "Migrations by result.", "result");
        downtime = metric_histogram("drover_migration_downtime_seconds",
                                    "How long guests were paused for a migration.", NULL, pause,
                                    countof(pause));
        total = metric_histogram("drover_migration_seconds",
                                 "Successful migrations from wish to end.", NULL, whole,
                                 countof(whole));
        /* a counter that is there from the start can be watched for its first step */
        metric_add(results, "succeeded", 0);
        metric_add(results, "failed", 0);
        metric_add(results, "cancelled", 0);
        images = metric_counter("drover_image_imports", "Imports of images by result.", "result");
        metric_add(images, "ready", 0);
        metric_add(images, "refused", 0);
        snapshots = metric_counter("drover_snapshots", "Snapshots of VMs by result.", "result");
        metric_add(snapshots, "ready", 0);
        metric_add(snapshots, "failed", 0);
}

void metrics_vm_phase(const struct vm *before, const struct vm *after)
{
        if (before)
                metric_add(phases, vm_phase_name(before->status.phase), -1);
        if (after)
                metric_add(phases, vm_phase_name(after->status.phase), 1);
}

void metrics_image(bool ready)
{
        metric_add(images, ready ? "ready" : "refused", 1);
}

void metrics_snapshot(bool ready)
{
        metric_add(snapshots, ready ? "ready" : "failed", 1);
}

void metrics_migration(const struct migration *m)
{
        switch (m->status.phase) {
        case MIG_SUCCEEDED:
                metric_add(results, "succeeded", 1);
                metric_observe(downtime, NULL, (double)m->status.downtime_ms / 1000);
                metric_observe(total, NULL, (double)m->status.total_ms / 1000);
                break;
        case MIG_FAILED:
                metric_add(results, "failed", 1);
                break;
        case MIG_CANCELLED:
                metric_add(results, "cancelled", 1);
                break;
        default:
                break;
        }
}
