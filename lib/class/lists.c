/*
 * The lists of devices, one for each class. A class that is no more than its list and its driver's operations has no other source.
 */
#include <class/device.h>

struct class_list block_devices, can_devices, char_devices, crypto_devices, entropy_devices, framebuffer_devices, gpio_devices,
	i2c_devices, input_devices, iommu_devices, net_devices, rpmb_devices, rtc_devices, socket_devices, sound_devices,
	spi_devices;
