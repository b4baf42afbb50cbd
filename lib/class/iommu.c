/*
 * The list of IOMMUs. All else is their drivers'.
 */
#include <class/iommu.h>

#include <base/util.h>

struct class_list iommu_devices;

struct iommu_device *iommu_find(const char *name)
{
	struct class_node *node = class_find(&iommu_devices, name);

	return node ? container_of(node, struct iommu_device, node) : NULL;
}
