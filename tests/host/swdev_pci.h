/*
 * Between the two files of the PCI front.
 */
#ifndef SWDEV_PCI_H
#define SWDEV_PCI_H

#include <drivers/bus/pci.h>
#include <host.h>

#include "swdev_impl.h"

enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4, CAP_PCI_CFG = 5, CAP_SHARED_MEMORY = 8 };
enum { COMMON_AT = 0, ISR_AT = 0x1000, DEVICE_AT = 0x2000, NOTIFY_AT = 0x3000, NOTIFY_BYTES = 0x1000, NOTIFY_MULTIPLIER = 4 };
enum { PCI_COMMAND_REG = 4, MSIX_MAX = 2048 };

/* queue_notif_config_data: anything but the index itself */
static inline uint16_t swdev_pci_notify_name(const struct swdev *dev, uint16_t queue)
{
	return swdev_has(dev, F_NOTIF_CONFIG_DATA) ? (uint16_t)(queue + 0x140) : queue;
}

struct swdev_pci_bar {
	uint64_t base, size;
	uint32_t flags;
	bool is_64;
	struct swdev *dev;
	unsigned index;
	struct host_region region;
};

struct swdev_pci {
	struct pci_function function;
	unsigned slot;
	uint8_t config[256] __attribute__((aligned(8)));
	struct swdev_pci_bar bars[6];
	uint8_t msix_cap, common_cap, notify_cap, isr_cap, device_cap, cfg_cap, last_link, next_cap;
	uint8_t line;
	uint32_t feature_select, driver_feature_select;
	uint16_t queue_select;
	struct {
		uint64_t address;
		uint32_t data, control;
	} table[MSIX_MAX];
	bool pending[MSIX_MAX];
};

static inline struct swdev_pci *swdev_pci_of(struct swdev *dev) { return dev->front_state; }

bool swdev_pci_msix_on(const struct swdev *dev);
void swdev_pci_update_line(struct swdev *dev);
uint64_t swdev_pci_bar_read(void *bar, uint64_t offset, unsigned width);
void swdev_pci_bar_write(void *bar, uint64_t offset, unsigned width, uint64_t value);
uint32_t swdev_pci_window_read(struct swdev *dev);
void swdev_pci_window_write(struct swdev *dev, uint16_t offset, unsigned width, uint32_t value);

#endif
