/*
 * The start as an EFI application: what the bzImage is to EFI firmware.
 *
 * The firmware loads the image anywhere, so this file is compiled to run anywhere (-fpie), has no variables, and calls nothing
 * but the C library's string functions. It gathers what boot/efi.c wants, copies the image into memory below 4 GiB, leaves the firmware's services, and goes on
 * there as a bzImage's loader would, at efi_entry, which moves the image to where it is linked. Problems go to the firmware's
 * console, as there is no other one yet, and back to the firmware as the application's status.
 */
#include "efi.h"

#include <string.h>

#include <base/util.h>

#define HIDDEN __attribute__((visibility("hidden")))
extern HIDDEN char image_start[], image_data_end[], image_end[], efi_entry[];

#define EFI_CALL __attribute__((ms_abi))
#define LINKED 0x100000u /* where the image is to run; `image_start` is where it is */

typedef uint64_t efi_status;
#define EFI_ERROR(n) (BIT64(63) | (n))
#define EFI_LOAD_ERROR EFI_ERROR(1)
#define EFI_BUFFER_TOO_SMALL EFI_ERROR(5)
#define EFI_OUT_OF_RESOURCES EFI_ERROR(9)
#define EFI_NOT_FOUND EFI_ERROR(14)

#define PAGE 4096u
#define PAGES(bytes) (((bytes) + PAGE - 1) / PAGE)
#define EXIT_TRIES 8
#define MAP_SLACK 4096u /* for entries that the allocation of the map's own memory adds */
#define CMDLINE_MAX 8192u
#define PATH_MAX 256u

enum { ALLOCATE_ANY, ALLOCATE_MAX, ALLOCATE_ADDRESS };
enum { LOADER_CODE = 1, LOADER_DATA, BOOT_DATA = 4, CONVENTIONAL = 7 };

/* Tables and protocols, named as in the UEFI specification; what is not used is a gap. */
struct efi_text_output {
	void *reset;
	EFI_CALL efi_status (*output_string)(struct efi_text_output *this, const uint16_t *text);
};

struct efi_boot_services {
	uint8_t gap0[40];
	EFI_CALL efi_status (*allocate_pages)(int how, int type, uint64_t pages, uint64_t *address);
	void *free_pages;
	EFI_CALL efi_status (*get_memory_map)(uint64_t *size, void *map, uint64_t *key, uint64_t *stride, uint32_t *version);
	uint8_t gap1[152 - 64];
	EFI_CALL efi_status (*handle_protocol)(void *handle, const struct efi_guid *protocol, void *interface);
	uint8_t gap2[184 - 160];
	EFI_CALL efi_status (*locate_device_path)(const struct efi_guid *protocol, const void **path, void **handle);
	uint8_t gap3[232 - 192];
	EFI_CALL efi_status (*exit_boot_services)(void *image, uint64_t key);
};
_Static_assert(offsetof(struct efi_boot_services, exit_boot_services) == 232, "EFI_BOOT_SERVICES");

struct efi_time {
	uint16_t year;
	uint8_t month, day, hour, minute, second, pad1;
	uint32_t nanosecond;
	int16_t zone; /* minutes to UTC */
	uint8_t daylight, pad2;
};
#define EFI_UNSPECIFIED_TIMEZONE 0x7ff

struct efi_runtime_services {
	uint8_t gap0[24];
	EFI_CALL efi_status (*get_time)(struct efi_time *time, void *capabilities);
};

struct efi_configuration {
	struct efi_guid guid;
	uint64_t table;
};

struct efi_system_table {
	uint8_t gap0[64];
	struct efi_text_output *out;
	uint8_t gap1[88 - 72];
	struct efi_runtime_services *runtime;
	struct efi_boot_services *boot;
	uint64_t configuration_count;
	struct efi_configuration *configuration;
};
_Static_assert(offsetof(struct efi_system_table, configuration) == 112, "EFI_SYSTEM_TABLE");

struct efi_loaded_image {
	uint8_t gap0[24];
	void *device;
	uint8_t gap1[48 - 32];
	uint32_t options_size;
	const uint16_t *options;
};

struct efi_load_file {
	EFI_CALL efi_status (*load)(struct efi_load_file *this, const void *path, bool policy, uint64_t *size, void *buffer);
};

struct efi_file {
	uint64_t revision;
	EFI_CALL efi_status (*open)(struct efi_file *this, struct efi_file **file, const uint16_t *name, uint64_t mode,
	                            uint64_t attributes);
	void *close, *delete;
	EFI_CALL efi_status (*read)(struct efi_file *this, uint64_t *size, void *buffer);
	void *write;
	EFI_CALL efi_status (*get_position)(struct efi_file *this, uint64_t *position);
	EFI_CALL efi_status (*set_position)(struct efi_file *this, uint64_t position);
};

struct efi_file_system {
	uint64_t revision;
	EFI_CALL efi_status (*open_volume)(struct efi_file_system *this, struct efi_file **root);
};

static const struct efi_guid loaded_image_guid = {0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}},
			     load_file2_guid = {0x4006c0c1, 0xfcb3, 0x403e, {0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d}},
			     file_system_guid = {0x964e5b22, 0x6459, 0x11d2, {0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}},
			     acpi1_guid = EFI_ACPI1_GUID, acpi2_guid = EFI_ACPI2_GUID,
			     dtb_guid = {0xb1b621d5, 0xf19c, 0x41a5, {0x83, 0x0b, 0xd9, 0x15, 0x2c, 0x69, 0xaa, 0xe0}};

/* The device path under which loaders offer an initrd: a vendor's media node, and the end. */
static const struct {
	uint8_t type, subtype, length[2];
	struct efi_guid vendor;
	uint8_t end[4];
} __attribute__((packed))
initrd_path = {4, 3, {20, 0}, {0x5568e427, 0x68fc, 0x4f3d, {0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68}}, {0x7f, 0xff, 4, 0}};

struct stub {
	struct efi_system_table *system;
	struct efi_boot_services *boot;
	struct efi_loaded_image *image;
	struct efi_handoff *handoff;
};

EFI_CALL efi_status efi_stub(void *handle, struct efi_system_table *system);

static efi_status complain(struct efi_system_table *system, const uint16_t *text, efi_status status)
{
	system->out->output_string(system->out, u"vireo: ");
	system->out->output_string(system->out, text);
	system->out->output_string(system->out, u"\r\n");
	return status;
}

/* NULL: none. */
static void *allocate(const struct stub *stub, int type, uint64_t bytes)
{
	uint64_t address = UINT32_MAX;

	return stub->boot->allocate_pages(ALLOCATE_MAX, type, PAGES(bytes), &address) ? NULL : (void *)address;
}

static bool same(const struct efi_guid *a, const struct efi_guid *b) { return memcmp(a, b, sizeof(*a)) == 0; }

static void find_tables(const struct stub *stub)
{
	bool acpi2 = false;

	for (uint64_t i = 0; i < stub->system->configuration_count; i++) {
		const struct efi_configuration *entry = &stub->system->configuration[i];

		if (same(&entry->guid, &acpi2_guid) || (!acpi2 && same(&entry->guid, &acpi1_guid))) {
			stub->handoff->rsdp = entry->table;
			acpi2 |= same(&entry->guid, &acpi2_guid);
		} else if (same(&entry->guid, &dtb_guid)) {
			stub->handoff->dtb = entry->table;
		}
	}
}

/* Seconds since 1970, by the days of a year that starts in March: leap days are then at its end. */
static void read_time(const struct stub *stub)
{
	struct efi_time time;

	if (stub->system->runtime->get_time(&time, NULL) || time.year < 1970 || time.month < 1 || time.month > 12)
		return;

	uint64_t months = (time.month + 9u) % 12, year = (uint64_t)time.year - (time.month < 3);
	uint64_t days = year * 365 + year / 4 - year / 100 + year / 400 + (months * 306 + 5) / 10 + time.day - 1 - 719468;
	int64_t zone = time.zone == EFI_UNSPECIFIED_TIMEZONE ? 0 : time.zone;

	stub->handoff->epoch = days * 86400 + time.hour * 3600u + time.minute * 60u + time.second + (uint64_t)(zone * 60);
}

/* The load options are UCS-2, of which the command line takes ASCII. */
static void convert_options(const struct stub *stub, char *text)
{
	uint32_t length = stub->image->options ? stub->image->options_size / 2 : 0, n = 0;

	for (; n < length && n < CMDLINE_MAX - 1 && stub->image->options[n]; n++)
		text[n] = stub->image->options[n] < 0x80 ? (char)stub->image->options[n] : '?';
	text[n] = '\0';
	stub->handoff->cmdline = (uintptr_t)text;
}

static efi_status take_initrd(const struct stub *stub, uint64_t size, void **memory)
{
	*memory = allocate(stub, LOADER_DATA, size);
	if (!*memory)
		return EFI_OUT_OF_RESOURCES;
	stub->handoff->initrd = (uintptr_t)*memory;
	stub->handoff->initrd_size = size;
	return 0;
}

/* As a loader offers it: QEMU's firmware, systemd-boot, GRUB. EFI_NOT_FOUND: none does. */
static efi_status load_offered_initrd(const struct stub *stub)
{
	const void *path = &initrd_path;
	struct efi_load_file *loader;
	uint64_t size = 0;
	void *handle, *memory;
	efi_status status;

	if (stub->boot->locate_device_path(&load_file2_guid, &path, &handle) ||
	    stub->boot->handle_protocol(handle, &load_file2_guid, &loader))
		return EFI_NOT_FOUND;
	status = loader->load(loader, path, false, &size, NULL);
	if (status != EFI_BUFFER_TOO_SMALL)
		return size ? status : EFI_NOT_FOUND;
	status = take_initrd(stub, size, &memory);
	return status ? status : loader->load(loader, path, false, &size, memory);
}

/* The path behind "initrd=", as a file's name. False: there is no such word. */
static bool initrd_name(const char *cmdline, uint16_t *name)
{
	static const char key[] = "initrd=";
	uint32_t n = 0;

	while (strncmp(cmdline, key, sizeof(key) - 1) != 0) {
		cmdline += strcspn(cmdline, " ");
		cmdline += strspn(cmdline, " ");
		if (!*cmdline)
			return false;
	}
	for (const char *at = cmdline + sizeof(key) - 1; *at && *at != ' ' && n < PATH_MAX - 1; at++)
		name[n++] = *at == '/' ? '\\' : (uint8_t)*at;
	name[n] = 0;
	return true;
}

/* From the file system that the image was started from. */
static efi_status load_named_initrd(const struct stub *stub)
{
	struct efi_file_system *system;
	struct efi_file *root, *file;
	uint16_t name[PATH_MAX];
	uint64_t size = 0;
	void *memory;
	efi_status status;

	if (!initrd_name((const char *)(uintptr_t)stub->handoff->cmdline, name))
		return 0;
	if ((status = stub->boot->handle_protocol(stub->image->device, &file_system_guid, &system)) ||
	    (status = system->open_volume(system, &root)) || (status = root->open(root, &file, name, 1, 0)) ||
	    (status = file->set_position(file, UINT64_MAX)) || (status = file->get_position(file, &size)) ||
	    (status = file->set_position(file, 0)) || (status = take_initrd(stub, size, &memory)))
		return status;
	return file->read(file, &size, memory);
}

/* Whether the image may have the memory that it is linked for, once the firmware's services have ended. */
static bool target_is_free(const uint8_t *map, uint64_t size, uint64_t stride, uint64_t end)
{
	for (uint64_t at = 0; at + stride <= size; at += stride) {
		uint32_t type;
		uint64_t base, pages;

		memcpy(&type, map + at, sizeof(type));
		memcpy(&base, map + at + 8, sizeof(base));
		memcpy(&pages, map + at + 24, sizeof(pages));
		if (base < end && base + pages * PAGE > LINKED && !(type >= LOADER_CODE && type <= BOOT_DATA) &&
		    type != CONVENTIONAL)
			return false;
	}
	return true;
}

/* The memory map, and the end of the services; the map may have to be read again for that. */
static efi_status leave_services(const struct stub *stub, void *handle, uint64_t image_bytes)
{
	struct efi_handoff *handoff = stub->handoff;
	uint64_t room = 0, key, size;
	uint32_t version;
	void *map;

	stub->boot->get_memory_map(&room, NULL, &key, &handoff->map_stride, &version);
	room += MAP_SLACK;
	map = allocate(stub, LOADER_DATA, room);
	if (!map)
		return EFI_OUT_OF_RESOURCES;
	handoff->map = (uintptr_t)map;
	for (unsigned tries = 0; tries < EXIT_TRIES; tries++) {
		size = room;

		efi_status status = stub->boot->get_memory_map(&size, map, &key, &handoff->map_stride, &version);

		if (status)
			return status;
		handoff->map_size = size;
		if (!tries && !target_is_free(map, size, handoff->map_stride, LINKED + image_bytes))
			return complain(stub->system, u"the memory at 1 MiB is not free", EFI_OUT_OF_RESOURCES);
		if (!stub->boot->exit_boot_services(handle, key))
			return 0;
	}
	return EFI_LOAD_ERROR;
}

EFI_CALL efi_status efi_stub(void *handle, struct efi_system_table *system)
{
	const uint64_t flat_bytes = (uint64_t)(image_data_end - image_start), image_bytes = (uint64_t)(image_end - image_start);
	struct stub stub = {.system = system, .boot = system->boot};
	uint64_t target = LINKED;
	char *memory;
	efi_status status;

	if (stub.boot->handle_protocol(handle, &loaded_image_guid, &stub.image))
		return complain(system, u"no loaded image protocol", EFI_LOAD_ERROR);
	/* Ours, so that nothing else comes to lie there; a part may be the firmware's own, until its end. */
	stub.boot->allocate_pages(ALLOCATE_ADDRESS, LOADER_DATA, PAGES(image_bytes), &target);
	memory = allocate(&stub, LOADER_CODE, EFI_HANDOFF_BYTES + CMDLINE_MAX + flat_bytes);
	if (!memory || (uintptr_t)memory < LINKED + image_bytes)
		return complain(system, u"no memory", EFI_OUT_OF_RESOURCES);
	stub.handoff = memset(memory, 0, EFI_HANDOFF_BYTES);
	find_tables(&stub);
	read_time(&stub);
	convert_options(&stub, memory + EFI_HANDOFF_BYTES);
	status = load_offered_initrd(&stub);
	if (status == EFI_NOT_FOUND)
		status = load_named_initrd(&stub);
	if (status) {
		complain(system, u"the initrd cannot be read", status);
		stub.handoff->initrd_size = 0;
	}
	memory += EFI_HANDOFF_BYTES + CMDLINE_MAX;
	memcpy(memory, image_start, flat_bytes);
	system->out->output_string(system->out, u"\r\n"); /* firmware clears screens; lines of ours begin at a line's start */
	status = leave_services(&stub, handle, image_bytes);
	if (status)
		return status;
	__asm__ volatile("jmp *%0" : : "r"(memory + (efi_entry - image_start)), "S"(stub.handoff) : "memory");
	__builtin_unreachable();
}
