/*
 * Memory barriers between a driver and its device.
 *
 * Two families, chosen per device by VIRTIO_F_ORDER_PLATFORM:
 *
 *   virt_*  the device is another CPU of a coherent machine (a VMM thread): the ordering that CPUs give each other is
 *           enough ("smp" barriers, kept even on a single CPU, since the other side is a host thread);
 *   io_*    the device is hardware behind the platform's buses: the barriers that the architecture wants for DMA.
 *
 * *_mb orders all against all, *_rmb loads against loads, *_wmb stores against stores.
 * Each architecture gives them in <impl/barrier.h>, as macros or static inlines:
 *
 *   void barrier_compiler(void);
 *   void virt_mb(void);   void virt_rmb(void);   void virt_wmb(void);
 *   void io_mb(void);     void io_rmb(void);     void io_wmb(void);
 */
#ifndef ARCH_BARRIER_H
#define ARCH_BARRIER_H

#include <impl/barrier.h>

#endif
