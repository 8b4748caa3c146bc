/*
 * What the agent's tools (agent/tool.h) do to files, each in a child of its own: they print what
 * goes wrong and return it as an exit code, 0 or 1.
 */
#ifndef DROVER_AGENT_FILES_H
#define DROVER_AGENT_FILES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define IDENTITY_BYTES 16
#define IDENTITY_SIZE  (2 * IDENTITY_BYTES + 1) /* as hex digits */

/* Prints "WHAT PATH: " and what errno says; 1. */
int complain(const char *what, const char *path);
/* Creates a folder and those above it, as far as they are missing. -1 with errno. */
int make_folders(const char *path);
/* A change of names in it is on disk then, where the file system can tell. */
void sync_folder(const char *folder);
/* The folder of a file's path; false when it has none. */
bool folder_of(const char *file, char folder[PATH_MAX]);
/* Removes the files of a folder whose names begin and end so. -1 with errno; a folder or a file
 * that is not there is fine. */
int remove_matching(const char *folder, const char *begin, const char *end);
/* For a new process: it does not outlive that parent. */
void die_with(pid_t parent);
/* Runs a program to its end; it does not outlive us. */
int run_program(const char *const argv[]);

#endif
