/*
 * The version of the image, as its boot record tells it.
 */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define VIREO_VERSION "0.1.0"

#endif
