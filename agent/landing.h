/*
 * What a guest needs when it has landed after a move: the network is to learn at once where it is,
 * and its clock has stood still for as long as its CPUs.
 */
#ifndef DROVER_AGENT_LANDING_H
#define DROVER_AGENT_LANDING_H

#include "agent/agent.h"

#include <libvirt/libvirt.h>

/* QEMU sends announcements on every network card (QMP announce-self). Quick. */
void landing_announce(virConnectPtr c, const char *uuid);

#endif
