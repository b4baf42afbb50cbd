/*
 * Wire types. A field of type le32 holds little-endian bytes; it is read and written through these functions only.
 */
#ifndef BASE_ENDIAN_H
#define BASE_ENDIAN_H

#include <stdint.h>

typedef uint16_t le16;
typedef uint32_t le32;
typedef uint64_t le64;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LE_CONVERT(bits, x) (x)
#else
#define LE_CONVERT(bits, x) __builtin_bswap##bits(x)
#endif

static inline le16 cpu_to_le16(uint16_t x) { return LE_CONVERT(16, x); }
static inline le32 cpu_to_le32(uint32_t x) { return LE_CONVERT(32, x); }
static inline le64 cpu_to_le64(uint64_t x) { return LE_CONVERT(64, x); }
static inline uint16_t le16_to_cpu(le16 x) { return LE_CONVERT(16, x); }
static inline uint32_t le32_to_cpu(le32 x) { return LE_CONVERT(32, x); }
static inline uint64_t le64_to_cpu(le64 x) { return LE_CONVERT(64, x); }

#endif
