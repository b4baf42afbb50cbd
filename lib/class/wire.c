/*
 * The lists of I2C adapters, SPI controllers and GPIO devices. All else is their drivers'.
 */
#include <class/wire.h>

struct class_list i2c_devices, spi_devices, gpio_devices;

#define FIND(kind)                                                                                                               \
	struct kind##_device *kind##_find(const char *name)                                                                      \
	{                                                                                                                        \
		struct class_node *node = class_find(&kind##_devices, name);                                                     \
                                                                                                                                 \
		return node ? container_of(node, struct kind##_device, node) : NULL;                                             \
	}

FIND(i2c)
FIND(spi)
FIND(gpio)
