/*
 * Files that QEMU gives its guests.
 */
#ifndef DRIVERS_BUS_FW_CFG_H
#define DRIVERS_BUS_FW_CFG_H

#include <stdint.h>

/* A file as whole pages, for page_free(); NULL: there is none of that name, or no fw_cfg, or (and a line) it cannot be read. */
void *fw_cfg_file(const char *name, uint32_t *size);

#endif
