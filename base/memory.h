/* What a process that has started may give back. */
#ifndef DROVER_BASE_MEMORY_H
#define DROVER_BASE_MEMORY_H

/*
 * Freed heap goes back to the system, and pages of code and constants are unmapped: most of them
 * were looked at once, by the loader and by libraries that set themselves up. What is used again
 * comes back from the page cache.
 */
void memory_settle(void);

#endif
