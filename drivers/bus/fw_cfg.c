/*
 * Files that QEMU gives its guests: fw_cfg, by ports on x86. Its DMA interface reads a whole file for one exit.
 */
#include <string.h>

#include <arch/mmio.h>
#include <arch/mmu.h>
#include <base/log.h>
#include <base/page.h>
#include <base/util.h>
#include <drivers/bus/fw_cfg.h>

#define SELECTOR 0x510
#define DATA 0x511
#define DMA_HIGH 0x514 /* big-endian; writing the low half starts */
#define DMA_LOW 0x518

#define ITEM_SIGNATURE 0x0000
#define ITEM_FEATURES 0x0001
#define ITEM_DIRECTORY 0x0019
#define FEATURE_DMA 0x2u

#define DMA_ERROR_BIT 0x1u
#define DMA_READ 0x2u
#define DMA_SELECT 0x8u
#define POLLS_MAX 1000000u

#define FILES_MAX 256u
#define FILE_MAX 0x200000u /* bytes */

/* All fields are big-endian. */
struct dma_command {
	uint32_t control, length;
	uint64_t address;
};

struct file {
	uint32_t size;
	uint16_t item, reserved;
	char name[56];
};
_Static_assert(sizeof(struct file) == 64, "fw_cfg: FWCfgFile");

struct directory {
	uint32_t count;
	struct file files[FILES_MAX];
};

static uint32_t read32(uint16_t item)
{
	uint32_t value = 0;

	pio_write16(SELECTOR, item);
	for (unsigned i = 0; i < sizeof(value); i++)
		value |= (uint32_t)pio_read8(DATA) << 8 * i;
	return value;
}

static bool read_item(uint16_t item, void *to, uint32_t length)
{
	static volatile struct dma_command command __attribute__((aligned(16)));
	uint64_t at = mmu_virt_to_phys((const void *)(uintptr_t)&command);

	command.length = __builtin_bswap32(length);
	command.address = __builtin_bswap64(mmu_virt_to_phys(to));
	command.control = __builtin_bswap32((uint32_t)item << 16 | DMA_SELECT | DMA_READ);
	pio_write32(DMA_HIGH, __builtin_bswap32((uint32_t)(at >> 32)));
	pio_write32(DMA_LOW, __builtin_bswap32((uint32_t)at));
	for (unsigned i = 0; i < POLLS_MAX; i++) {
		uint32_t control = __builtin_bswap32(command.control);

		if (!(control & ~DMA_ERROR_BIT))
			return !control;
	}
	return false;
}

static bool present(void)
{
	return pio_present() && read32(ITEM_SIGNATURE) == 0x554d4551 /* "QEMU" */ && read32(ITEM_FEATURES) & FEATURE_DMA;
}

static bool find(const struct directory *directory, const char *name, struct file *found)
{
	unsigned count = MIN(__builtin_bswap32(directory->count), FILES_MAX);

	for (unsigned i = 0; i < count; i++)
		if (strncmp(directory->files[i].name, name, sizeof(found->name)) == 0) {
			*found = directory->files[i];
			return true;
		}
	return false;
}

void *fw_cfg_file(const char *name, uint32_t *size)
{
	struct directory *directory;
	struct file file;
	void *content = NULL;
	bool found;

	if (!present())
		return NULL;
	directory = page_alloc(sizeof(*directory), PAGE_SIZE);
	found = directory && read_item(ITEM_DIRECTORY, directory, sizeof(*directory)) && find(directory, name, &file);
	page_free(directory, sizeof(*directory));
	if (!found)
		return NULL;
	*size = __builtin_bswap32(file.size);
	if (*size && *size <= FILE_MAX)
		content = page_alloc(*size, PAGE_SIZE);
	if (content && !read_item(__builtin_bswap16(file.item), content, *size)) {
		page_free(content, *size);
		content = NULL;
	}
	if (!content)
		log_warn("fw_cfg: %s, %u bytes, cannot be read", name, *size);
	return content;
}
