/*
 * Names of feature bits, for people.
 */
#ifndef APPS_FEATURE_NAMES_H
#define APPS_FEATURE_NAMES_H

/* The name of feature `bit` of virtio device id `type`, without its prefix; NULL: none known. */
const char *feature_name(unsigned type, unsigned bit);

/* The name of a virtio device id: "block device". */
const char *device_type_name(unsigned type);

#endif
