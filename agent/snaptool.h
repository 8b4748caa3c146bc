/*
 * The verbs of agent/tool.h for snapshots, which are parts of a disk's own qcow2. qemu-img takes
 * QEMU's lock of the image: where a guest runs on it, wherever that is, it fails and changes
 * nothing.
 *
 *   snap-take POOL FILE TAG PREFIX  takes one of that name, after all whose names begin with PREFIX
 *                              have been removed; says the disk's size in bytes
 *   snap-drop POOL FILE PREFIX removes all whose names begin so; no file is fine
 *   snap-has POOL FILE TAG     says "there", "absent" or "no file"
 *   snap-apply POOL FILE TAG   sets the disk back to it, and gives back what killed runs have
 *                              reserved in the file; to be done again from the beginning when it
 *                              was killed
 *   marked POOL FOLDER         says the mark of the last wish to set the disks in that folder back
 *                              that was carried out, "-" for none
 *   mark POOL FOLDER MARK      leaves it, on disk when this has ended
 */
#ifndef DROVER_AGENT_SNAPTOOL_H
#define DROVER_AGENT_SNAPTOOL_H

int snap_tool_take(char **argv);
int snap_tool_drop(char **argv);
int snap_tool_has(char **argv);
int snap_tool_apply(char **argv);
int snap_tool_marked(char **argv);
int snap_tool_mark(char **argv);

#endif
