/*
 * The verbs of agent/tool.h for the files of a VM. A disk is made under a name that nobody else
 * makes, and gets its own by link(2) when it is whole and on disk: never half of one, never another
 * one in its place. What a killed run has left under such names the next one removes.
 *
 *   have POOL FILE             says "there" or "absent"; removes what was left beside it
 *   blank POOL FILE SIZE       an empty qcow2, unless FILE is there
 *   new POOL FILE SIZE         the same, but FILE must not be there
 *   folders POOL FOLDER        says which folders are in it, a line each; none when it is not there
 *   clone POOL FILE SIZE IMAGE_POOL IMAGE MAX
 *                              a qcow2 on top of IMAGE, unless FILE is there; SIZE 0: the image's.
 *                              IMAGE is checked each time (agent/format.h), since it may have been
 *                              replaced; its disk has MAX bytes at most
 *   copy ...                   likewise, with all of IMAGE in it
 *   claim FOLDER SIZE CAPACITY
 *                              a raw disk.img in the claim that is mounted at FOLDER, unless it is
 *                              there, which must be a regular file; SIZE 0: what the claim has room
 *                              for, which has CAPACITY bytes (0: not known)
 *   seed POOL FILE FOLDER      an ISO 9660 volume "cidata" with FOLDER's files, written anew;
 *                              FOLDER is the node's own, by its full path
 *   remove POOL FOLDER         the folder with the files in it; not there is fine
 *   sweep POOL FOLDER          the same, but only what lies in the pool's very file system: neither
 *                              behind a link nor behind another mount in it
 *   retain POOL FILE FOLDER    the file goes into FOLDER, which is made; done already is fine
 */
#ifndef DROVER_AGENT_DISKTOOL_H
#define DROVER_AGENT_DISKTOOL_H

int disk_tool_have(char **argv);
int disk_tool_blank(char **argv);
int disk_tool_new(char **argv);
int disk_tool_folders(char **argv);
int disk_tool_clone(char **argv);
int disk_tool_copy(char **argv);
int disk_tool_claim(char **argv);
int disk_tool_seed(char **argv);
int disk_tool_remove(char **argv);
int disk_tool_sweep(char **argv);
int disk_tool_retain(char **argv);

#endif
