/*
 * What the files of the software device's network card share.
 */
#ifndef SWDEV_NET_IMPL_H
#define SWDEV_NET_IMPL_H

#include "swdev_impl.h"
#include "swdev_types.h"

unsigned swdev_nic_pairs(const struct swdev *dev); /* as negotiated: the controlq is behind them */
bool swdev_nic_command(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written);

#endif
