/*
 * The file of an imported image, POOL/imported/UID. It gets that name by link(2) when it is whole
 * and checked: the first importer to come so far wins, nothing is ever put in the place of a file
 * that a disk may stand on already, and a link that comes late, of a part that has been removed
 * since, fails. It is removed when no disk in any pool stands on it.
 *
 * These are verbs of agent/tool.h:
 *   place POOL UID EPOCH       the part of that epoch becomes the image; all parts go
 *   drop POOL UID EPOCH        the part of that epoch goes
 *   unplace POOL UID POOLS     the image and all its parts go, unless a disk in one of the pools
 *                              (paths, with commas between) stands on it: exits with PLACE_IN_USE
 */
#ifndef DROVER_AGENT_PLACE_H
#define DROVER_AGENT_PLACE_H

#define IMPORTED     "imported" /* the folder of imported images in a pool */
#define PLACE_IN_USE 4

int place_tool(char **argv);
int place_tool_drop(char **argv);
int place_tool_remove(char **argv);

#endif
